"""GBC: one text of a graph, as each variant joins it; JSON lines and Parquet; the real graphs beside the checkout."""

import json
from collections import Counter
from hashlib import sha256

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captioners.core.errors import UserError
from captioners.data.gbc_source import GbcOptions, pieces_of, runs_away
from captioners.data.source import Sample, sources
from captioners.data.texts import BadSampleError
from captioners.text.tokenizer import ClipTokenizer
from tests.data.annotated import picture, pictures, write_lines
from tests.data.real import PHOTOS, needs_photos
from tests.data.rows import bad, check_contract, good, rows

WHOLE = {"left": 0.0, "top": 0.0, "right": 1.0, "bottom": 1.0, "confidence": None}


def vertex(id_, label, descs=(), out=()):
    edges = [{"source": id_, "text": target, "target": target} for target in out]
    texts = [{"text": text, "label": kind} for kind, text in descs]
    return {"vertex_id": id_, "bbox": WHOLE, "label": label, "descs": texts, "in_edges": [], "out_edges": edges}


def graph(**fields):
    """Edges lead to c, then a; below c is the relation [a|b], below a the composition b and a relation of two texts."""
    vertices = [
        vertex("a", "entity", [("detail", "Never said.")], ["[a|c]", "b"]),
        vertex("", "image", [("detail", "The long caption."), ("short", "The short one.")], ["c", "a"]),
        vertex("b", "composition", [("hardcode", "b_0 is left."), ("composition", "Two b."), ("short", "b")]),
        vertex("c", "entity", [("detail", "Never said.")], ["[a|b]", "gone", ""]),
        vertex("[a|c]", "relation", [("relation", "a beside c."), ("relation", "c beside a.")]),
        vertex("[a|b]", "relation", [("relation", "a on b.")]),
        vertex("lost", "relation", [("relation", "Nothing leads here.")]),
    ]
    empty = {"img_url": None, "img_path": "data/wiki/x.jpg", "original_caption": "alt", "short_caption": None,
             "detail_caption": None}  # fmt: skip
    return {"vertices": vertices, **empty, **fields}


@pytest.fixture
def place(tmp_path):
    url = "http://x.org/y.png"
    named = sha256(url.encode()).hexdigest() + ".png"
    pictures(tmp_path / "images", "x.jpg", named, "data/wiki/z.jpg", "z.jpg")
    graphs = [
        graph(),
        graph(img_path=None, img_url=url, short_caption="Short by itself.", detail_caption="Long by itself."),
        graph(img_path="data/wiki/z.jpg"),
    ]
    write_lines(tmp_path / "graphs" / "a.jsonl", *graphs)
    pq.write_table(pa.Table.from_pylist(graphs), tmp_path / "graphs.parquet", row_group_size=2)
    return tmp_path


def source(place, file="graphs/a.jsonl", **options):
    return GbcOptions(inputs=[str(place / file)], images=str(place / "images"), **options).open()


def test_it_is_filed_under_its_name_and_has_its_card():
    assert sources.get("gbc") is GbcOptions
    assert GbcOptions(inputs=[], images="x").own_card() == "gbc1m"


@pytest.mark.parametrize("file", ["graphs/a.jsonl", "graphs.parquet"])
@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"variant": "short"}, "The short one."),
        ({"variant": "long"}, "The long caption."),
        ({"variant": "short_relation"}, "The short one. a on b. a beside c. c beside a."),
        (
            {"variant": "short_relation", "include_composition": True},
            "The short one. a on b. a beside c. c beside a. Two b.",
        ),
    ],
)
def test_variants_of_either_format(place, file, options, text):
    found = good(source(place, file, **options))
    assert found[0].captions == (text,)
    own = {"long": "Long by itself.", "short": "Short by itself."}.get(options["variant"])
    assert own is None or found[1].captions == (own,)  # a caption of the root that is told goes first
    check_contract(source(place, file, **options))


def test_pictures_are_found_by_path_by_name_and_by_address(place):
    found = good(source(place))
    url_named = sha256(b"http://x.org/y.png").hexdigest() + ".png"
    assert [s.image for s in found] == [picture("x.jpg"), picture(url_named), picture("data/wiki/z.jpg")]
    assert found[0].meta == {"img_path": "data/wiki/x.jpg", "original_caption": "alt"}
    assert [s.name for s in found] == ["a.jsonl line 1", "a.jsonl line 2", "a.jsonl line 3"]
    (place / "images/x.jpg").unlink()
    (row,) = [row for row in rows(source(place)) if not isinstance(row, Sample)]
    assert row.reason == "missing"
    assert f"neither 'data/wiki/x.jpg' or 'x.jpg' is in {place / 'images'}" in row.error


def test_the_root_is_found_by_its_label_whatever_its_id():
    named = graph()
    named["vertices"][1]["vertex_id"] = "image"
    assert pieces_of(named, "short") == pieces_of(graph(), "short") == ["The short one."]


def test_what_is_no_graph_says_why():
    for wrong, reason in [
        ({}, "bad_line"),
        ({"vertices": [3]}, "bad_line"),
        ({"vertices": [vertex("", "entity")]}, "bad_line"),
        ({"vertices": [vertex("", "image")]}, "bad_caption"),
        ({"vertices": [vertex("", "image", [("hardcode", "a program's")])]}, "bad_caption"),
    ]:
        with pytest.raises(BadSampleError) as raised:
            pieces_of(wrong, "short")
        assert raised.value.reason == reason


def test_texts_that_run_away_are_left_out_not_cut(place):
    loop = "a red car and " * 30
    bad_relation = graph()
    bad_relation["vertices"][5]["descs"][0]["text"] = loop
    write_lines(place / "graphs/a.jsonl", bad_relation, graph(short_caption=loop), graph(short_caption="x " * 30))
    found = good(source(place, variant="short_relation"))
    assert [s.captions for s in found] == [("The short one. a beside c. c beside a.",), (), ()]
    kept = good(source(place, variant="short_relation", loops="keep"))
    assert [s.captions[0][:14] for s in kept] == ["The short one.", loop[:14], "x x x x x x x "]
    assert good(source(place, variant="short", loops="keep", longest=100))[1].captions == ()


def test_a_text_that_enumerates_does_not_run_away():
    rows = " ".join(f"Bowl {n} is above and to the left of bowl {n + 1}." for n in range(9))
    assert not runs_away(rows)
    assert not runs_away("")
    assert runs_away(rows + " It is red." * 3)
    assert runs_away(
        "The image shows a dog. " + "There is a tree in the background of the image. " * 9 + "There is a tr"
    )


def test_broken_lines_and_graphs_become_rows(place):
    nowhere = graph(img_path=None)
    write_lines(place / "graphs/a.jsonl", "{", graph(), nowhere, {"vertices": None}, graph(img_path="../secret.jpg"))
    assert [reason for _, reason in bad(source(place))] == ["bad_line", "no_image", "bad_line", "unsafe_name"]
    check_contract(source(place))


def test_a_damaged_parquet_gives_what_can_be_read_and_says_where_it_breaks(place):
    path = place / "graphs.parquet"
    data = bytearray(path.read_bytes())
    where = pq.ParquetFile(path).metadata.row_group(1).column(0)
    begin = where.dictionary_page_offset or where.data_page_offset
    data[begin : begin + where.total_compressed_size] = b"\xff" * where.total_compressed_size
    path.write_bytes(data)
    found = rows(source(place, "graphs.parquet"))
    assert [isinstance(row, Sample) for row in found] == [True, True, False]
    assert (found[2].key, found[2].reason) == ("", "unreadable")
    assert "from row 2 on it cannot be decoded" in found[2].error
    check_contract(source(place, "graphs.parquet"))


def test_frozen_shards_stay_in_place_when_another_format_is_added(place):
    frozen = source(place, "graphs.parquet").shards()
    assert [(shard.path, shard.count) for shard in frozen] == [("graphs.parquet#00000", 2), ("graphs.parquet#00001", 1)]
    files = {"inputs": [str(place / "graphs.parquet"), str(place / "graphs")]}
    both = GbcOptions(images=str(place / "images"), **files).open()
    now = both.shards(frozen)
    assert now[:2] == frozen
    assert [shard.path for shard in now[2:]] == ["graphs/a.jsonl#00000"]
    with pytest.raises(UserError, match="is not a folder"):
        GbcOptions(images=str(place / "none"), **files).open().shards()


def _by_hand(file):
    """Read real graphs without the source: texts by label, breadth first along out_edges."""
    for line in file.read_text().splitlines():
        one = json.loads(line)
        by_id = {v["vertex_id"]: v for v in one["vertices"]}
        level = [next(id_ for id_, v in by_id.items() if v["label"] == "image")]
        order = list(level)
        while level:
            level = [e["target"] for id_ in level for e in by_id[id_]["out_edges"] if e["target"] in by_id]
            level = [id_ for id_ in dict.fromkeys(level) if id_ not in order]
            order += level
        descs = [(by_id[id_]["label"], d) for id_ in order for d in by_id[id_]["descs"]]
        yield one, descs


@pytest.mark.real
@needs_photos
@pytest.mark.parametrize("file", ["graphs_llava.jsonl", "graphs_llava.parquet"])
def test_the_nineteen_real_graphs_have_the_lengths_that_were_measured_before(file):
    """Means, longest and counts of CLIP tokens with start and end, as the reference study of these graphs states."""
    encode = ClipTokenizer().encode

    def lengths(**options):
        folder = PHOTOS.parent
        found = good(GbcOptions(inputs=[str(folder / file)], images=str(PHOTOS), **options).open())
        return [len(encode(s.captions[0])) + 2 for s in found]

    def about(several):
        return (len(several), round(sum(several) / len(several), 1), max(several), sum(n > 255 for n in several))

    assert about(lengths(variant="short")) == (19, 38.6, 60, 0)
    related = lengths(variant="short_relation")
    assert about(related) == (19, 92.6, 175, 0)
    assert sum(n > 77 for n in related) == 12
    assert about(lengths(variant="short_relation", include_composition=True)) == (19, 157.3, 318, 3)


@pytest.mark.real
@needs_photos
@pytest.mark.parametrize(("name", "count"), [("graphs_llava.jsonl", 19), ("graphs_pixtral.jsonl", 21)])
def test_real_graphs_are_joined_with_their_photos_as_by_hand(name, count):
    file = PHOTOS.parent / name
    options = {"inputs": [str(file)], "images": str(PHOTOS)}
    opened = GbcOptions(**options, variant="short_relation", include_composition=True).open()
    found = good(opened)
    assert len(found) == count
    assert bad(opened) == []
    assert Counter(s.image[:3] for s in found) == {b"\xff\xd8\xff": count}
    for sample, (one, descs) in zip(found, _by_hand(file), strict=True):
        # All of them: none of these texts runs away, though some enumerate.
        below = [
            d["text"].strip() for label, d in descs if d["label"] == label and label in ("relation", "composition")
        ]
        assert sample.captions == (" ".join([one["short_caption"].strip(), *below]),)
        assert sample.image == (PHOTOS / one["img_path"].rpartition("/")[2]).read_bytes()
    check_contract(opened)


@pytest.mark.real
@needs_photos
def test_real_graphs_say_the_same_as_json_lines_and_as_parquet():
    for variant in ("short", "long", "short_relation"):
        lines, table = (
            good(GbcOptions(inputs=[str(PHOTOS.parent / file)], images=str(PHOTOS), variant=variant).open())
            for file in ("graphs_llava.jsonl", "graphs_llava.parquet")
        )
        assert [(s.captions, s.image, s.meta) for s in lines] == [(s.captions, s.image, s.meta) for s in table]
