"""captioners/data/caption_sets.py: what is read of one set or several, against the rows that pandas sees."""

import json

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.core.run_dir import RunDir
from captioners.data.caption_sets import CaptionSet, OpenSet, Part, images_of, sets_of_run
from tests.runs_fixture import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run"), drawn=15)


def read(given):
    opened = OpenSet(given)
    return [image for group in opened.groups() for image in opened.read(group)]


def rows_of(run, member):
    return run.captions([member]).to_pandas().sort_values(["shard", "index", "draw"])


def test_each_member_is_a_set_and_all_of_them_together(run):
    sets = sets_of_run(run.url)
    assert [one.name for one in sets] == ["brief", "broad", "all members"]
    assert [OpenSet(one).m for one in sets] == [2, 2, 4]


@pytest.mark.parametrize("draws", [1, 2, None])
def test_a_set_has_the_first_draws_that_were_kept(run, draws):
    images = read(CaptionSet("x", (Part(run.url, "broad", draws),)))
    rows = rows_of(run, "broad")
    rows = rows[rows["draw"] < (draws or 2)]
    kept = rows[rows["keep"]].groupby(["shard", "key"])["text"].apply(tuple).to_dict()
    told = {(one.shard, one.key): one.captions for one in images}
    assert set(told) == set(zip(rows["shard"], rows["key"], strict=True))
    assert {key: texts for key, texts in told.items() if texts} == kept
    assert [len(one.flags) for one in images] == [draws or 2] * len(images)
    refused = {one.key: one.refused for one in images if one.refused}
    assert refused == {"drawn/0005": draws or 2, **({"drawn/0009": 1} if draws != 1 else {})}


def test_pooled_captions_stand_part_after_part(run):
    *single, pooled = ({one.id: one for one in read(given)} for given in sets_of_run(run.url))
    for identity, image in pooled.items():
        assert image.captions == tuple(text for part in single for text in part[identity].captions)
    assert len(pooled) == 21


def test_groups_end_where_every_run_ends_a_unit(run, tmp_path):
    """Two runs whose units are of different sizes meet in groups of both; a run that has less gives fewer images."""
    other = make_run(tmp_path, drawn=15)
    ledger = tmp_path / "runs/broad-and-brief/ledger/broad"
    first, second = (json.loads((ledger / f"drawn.0000{part}.json").read_text()) for part in (0, 1))
    rows = [RunDir(other.url).rows(_entry(entry)) for entry in (first, second)]
    both = CaptionSet("both", (Part(run.url, "broad"), Part(other.url, "broad")))
    assert [(one.shard, one.start, one.stop) for one in OpenSet(both).groups()] == [
        ("drawn", 0, 12), ("drawn", 12, 16), ("photos", 0, 7)
    ]  # fmt: skip
    _merge(other, ledger, first, second, rows)
    assert [(one.shard, one.start, one.stop) for one in OpenSet(both).groups()] == [("drawn", 0, 16), ("photos", 0, 7)]
    assert all(len(one.flags) == 4 for one in read(both))
    assert len(read(both)) == 21
    (ledger / "photos.00000.json").unlink()
    assert len(read(both)) == 15


def _entry(found):
    from captioners.core.entry import parsed

    return parsed(json.dumps(found).encode(), "x")


def _merge(run, ledger, first, second, tables):
    """Let one unit hold what two held."""
    from captioners.core.records import content_digest, to_bytes

    rows = [row for table in tables for row in table.to_pylist()]
    run.place.write("layers/broad/merged.parquet", to_bytes(rows, {}))
    counts = {name: first["counts"][name] + second["counts"][name] for name in first["counts"]}
    whole = first | {
        "stop": second["stop"], "last": True, "counts": counts, "file": "layers/broad/merged.parquet",
        "digest": content_digest(rows),
    }  # fmt: skip
    (ledger / "drawn.00000.json").write_text(json.dumps(whole))
    (ledger / "drawn.00001.json").unlink()


def test_a_member_that_lags_behind_holds_up_only_itself(tmp_path):
    run = make_run(tmp_path, drawn=15, finish=False)
    brief, broad, pooled = sets_of_run(run.url)
    assert (len(read(broad)), len(read(brief)), len(read(pooled))) == (21, 11, 11)


def test_sets_are_read_side_by_side(run):
    sets = [CaptionSet("one", (Part(run.url, "broad", 1),)), *sets_of_run(run.url)[1:]]
    found = list(images_of(sets))
    assert len(found) == 21
    for image, told in found:
        assert list(told) == ["one", "broad", "all members"]
        assert told["all members"][-len(told["broad"]) :] == told["broad"] or not told["broad"]
        assert told["broad"][: len(told["one"])] == told["one"] or image.key == "drawn/0009"
    with pytest.raises(UserError, match="two caption sets are called the same"):
        list(images_of([sets[0], sets[0]]))


def test_a_fingerprint_is_of_the_captions_not_of_the_name(run):
    one = OpenSet(CaptionSet("a", (Part(run.url, "broad", 2),))).fingerprint
    assert OpenSet(CaptionSet("b", (Part(run.url, "broad"),))).fingerprint == one
    assert OpenSet(CaptionSet("a", (Part(run.url, "broad", 1),))).fingerprint != one
    assert OpenSet(CaptionSet("a", (Part(run.url, "brief"),))).fingerprint != one


def test_mistakes(run, tmp_path):
    with pytest.raises(NotFoundError):
        OpenSet(CaptionSet("x", (Part(str(tmp_path / "none"), "broad"),)))
    with pytest.raises(UserError, match=r"has no member 'board'\. Did you mean 'broad'"):
        OpenSet(CaptionSet("x", (Part(run.url, "board"),)))
    with pytest.raises(UserError, match="made 2 captions an image, and 3 are asked for; ask for 1 to 2"):
        OpenSet(CaptionSet("x", (Part(run.url, "broad", 3),)))
    with pytest.raises(UserError, match="of no parts"):
        OpenSet(CaptionSet("x", ()))
