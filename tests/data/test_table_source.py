"""Tables: columns by name, rows of one image together, pictures inside Parquet, and what is wrong with a file."""

import csv
from base64 import b64encode

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captioners.core.errors import UserError
from captioners.data.source import sources
from captioners.data.table_source import TableOptions
from tests.data.annotated import JPEG, PNG, picture, pictures
from tests.data.rows import bad, check_contract, good, rows


def write(path, *lines, encoding="utf-8", delimiter=","):
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(lines)
    return path


def source(path, **options):
    return TableOptions(**{"inputs": [str(path)], "caption_column": "caption", **options}).open()


def test_it_is_filed_under_its_name():
    assert sources.get("table") is TableOptions


def test_rows_of_one_image_are_its_captions(tmp_path):
    pictures(tmp_path, "img/a.jpg", "img/b.png")
    path = write(
        tmp_path / "a.csv",
        ("image", "caption", "site"), ("img/a.jpg", "one", "x"), ("img/b.png", 'a, "quoted"\ntext', "y"),
        ("img/a.jpg", "two", "z"), ("img/a.jpg", "one", "again"), ("img/b.png", "", "y"),
    )  # fmt: skip
    found = good(source(path))
    assert [(s.key, s.captions) for s in found] == [("img/a", ("one", "two")), ("img/b", ('a, "quoted"\ntext',))]
    assert found[0].image == picture("img/a.jpg")
    assert found[0].meta == {"site": "x"}
    assert found[0].name == "a.csv row 1"
    check_contract(source(path))


@pytest.mark.parametrize(
    ("name", "delimiter", "encoding", "options"),
    [
        ("a.csv", ",", "utf-8", {}),
        ("a.csv", ",", "utf-8-sig", {}),
        ("a.tsv", "\t", "utf-8", {}),
        ("a.csv", ";", "latin-1", {"separator": ";", "encoding": "latin-1"}),
        ("a.csv", "|", "utf-16", {"separator": "|", "encoding": "utf-16"}),
    ],
)
def test_separators_and_encodings(tmp_path, name, delimiter, encoding, options):
    pictures(tmp_path, "a.jpg")
    lines = [("image", "caption"), ("a.jpg", "größer, weiter; |\t.")]
    path = write(tmp_path / name, *lines, encoding=encoding, delimiter=delimiter)
    assert [s.captions for s in good(source(path, **options))] == [("größer, weiter; |\t.",)]


def test_open_clip_s_csv_columns(tmp_path):
    pictures(tmp_path, "a.jpg")
    path = write(tmp_path / "a.csv", ("filepath", "title"), ("a.jpg", "x"), ("a.jpg", "y"), delimiter="\t")
    found = good(source(path, image_column="filepath", caption_column="title", separator="\t"))
    assert [s.captions for s in found] == [("x", "y")]


def test_a_wrong_name_lists_those_there_are(tmp_path):
    path = write(tmp_path / "a.csv", ("image", "text"), ("a.jpg", "x"))
    with pytest.raises(UserError, match=r"no column 'caption' \(caption_column\)\. It has: image, text"):
        source(path)
    with pytest.raises(UserError, match=r"no column 'imge' \(image_column\)\. Did you mean 'image'"):
        source(path, image_column="imge", caption_column="text")
    with pytest.raises(
        UserError, match=r"no column 'image' \(image_column\)\. Is the separator another one\? It has: image;text"
    ):
        source(write(tmp_path / "b.csv", ("image;text",)))


def test_a_wrong_encoding_is_said_with_the_way_out(tmp_path):
    path = write(tmp_path / "a.csv", ("image", "caption"), ("a.jpg", "café"), encoding="latin-1")
    with pytest.raises(UserError, match=r"a\.csv: not utf-8 .*say its encoding, as in encoding: latin-1"):
        rows(source(path))
    with pytest.raises(UserError, match="no encoding is named 'utf-9'"):
        source(path, encoding="utf-9")


def test_bad_rows_become_rows(tmp_path):
    pictures(tmp_path, "a.jpg")
    path = write(
        tmp_path / "a.csv", ("image", "caption"),
        ("a.jpg", "fine"), ("b.jpg", "missing"), ("../a.jpg", "x"), ("", "x"), ("c.jpg", "x", "too many"), (),
        ("http://x.org/a.jpg", "x"),
    )  # fmt: skip
    assert [reason for _, reason in bad(source(path))] == ["missing", "unsafe_name", "no_image", "no_image", "bad_line"]
    assert len(good(source(path))) == 1
    check_contract(source(path))
    named = source(path, key_column="caption")
    assert [s.key for s in good(named)] == ["fine"]
    assert bad(named)[0] == ("missing", "missing")
    check_contract(named)


def test_base64_in_a_table(tmp_path):
    path = write(tmp_path / "a.csv", ("image", "caption"), *((b64encode(JPEG * 99).decode(), n) for n in "xy"))
    found = good(source(path))
    assert [(s.key, s.captions) for s in found] == [("a.csv row 1", ("x",)), ("a.csv row 2", ("y",))]
    assert found[0].image == JPEG * 99
    check_contract(source(path))


def test_parquet_of_paths_is_grouped_like_a_csv(tmp_path):
    pictures(tmp_path / "photos", "a.jpg", "b.jpg")
    rows_ = [{"image": f"{name}.jpg", "caption": [text]} for name, text in (("a", "x"), ("b", "y"), ("a", "z"))]
    pq.write_table(pa.Table.from_pylist(rows_), tmp_path / "a.parquet")
    found = source(tmp_path / "a.parquet", image_root=str(tmp_path / "photos"))
    assert [(s.key, s.captions) for s in good(found)] == [("a", ("x", "z")), ("b", ("y",))]
    check_contract(found)


@pytest.mark.parametrize("kind", ["bytes", "struct"])
def test_parquet_with_pictures_inside_is_read_by_row_groups(tmp_path, kind):
    images = [JPEG, PNG, None, b"", JPEG]
    wrapped = [{"bytes": image, "path": None} if kind == "struct" else image for image in images]
    rows_ = [{"image": image, "caption": str(n), "n": n} for n, image in enumerate(wrapped)]
    schema = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if kind == "struct" else pa.binary()
    table = pa.Table.from_pylist(
        rows_, schema=pa.schema([("image", schema), ("caption", pa.string()), ("n", pa.int64())])
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    found = source(tmp_path / "a.parquet")
    assert [(s.key, s.image, s.captions) for s in good(found)] == [
        ("00000000", JPEG, ("0",)), ("00000001", PNG, ("1",)), ("00000004", JPEG, ("4",)),
    ]  # fmt: skip
    assert bad(found)[0] == ("00000002", "no_image")
    assert good(found)[2].meta == {"n": 4}
    assert [shard.path for shard in found.shards()] == [f"a.parquet#0000{n}" for n in range(3)]
    check_contract(found)
    check_contract(source(tmp_path / "a.parquet", key_column="n"))


def test_text_and_parquet_do_not_mix(tmp_path):
    write(tmp_path / "a.csv", ("image", "caption"))
    pq.write_table(pa.table({"image": ["a"], "caption": ["b"]}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="Parquet and text tables in one source"):
        source(tmp_path)
