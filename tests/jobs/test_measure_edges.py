"""captioners/jobs/measure where numbers could be stale, of other images, or missing without a word."""

from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.data.caption_sets import CaptionSet, OpenSet, Part, sets_of_run
from captioners.data.drawn_render import jpeg
from captioners.data.drawn_source import key_of
from captioners.data.drawn_voices import captions
from captioners.data.folder_source import FolderOptions
from captioners.data.run_pictures import RunPictures
from captioners.data.told import about, told_rows
from captioners.jobs.measure.quick import sets_of_runs
from captioners.jobs.measure.references import References
from captioners.jobs.measure.table import MeasureOptions, measure_sets
from tests.jobs import drawn_runs
from tests.jobs.drawn_runs import SEED, drawn_run, scene_of, voice
from tests.kinds.test_scorer import write_clip

HERE = MeasureOptions(workers=1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return f"local-dir:{write_clip(tmp_path_factory.mktemp('clip'))[0]}"


def one(run, member, draws=None):
    return CaptionSet(member, (Part(run.url, member, draws),))


def options(**told):
    return MeasureOptions(workers=1, **told)


def cell(table, row, metric):
    return next(found for found in table.rows if found.name == row).cells[metric]


def test_each_image_has_its_own_number(tmp_path, clip):
    run = drawn_run(tmp_path / "run", {"short": voice("short", 2)}, count=12, part=6)
    table = measure_sets(sets_of_run(run.url), options(clip=clip, all_metrics=True))
    found = table.per_image().to_pandas().set_index("key")["self-retrieval R@5 of 12"]
    [pool] = Path(run.url, "measures/retrieval").glob("*.parquet")
    expected = pq.read_table(pool).to_pandas().set_index("key")["mean_5"]
    assert found.nunique() > 1 and found.to_dict() == expected.to_dict()


def folder_of(place, count, text):
    place.mkdir(exist_ok=True)
    for index in range(count):
        if not (place / f"{key_of(index)}.jpg").exists():
            (place / f"{key_of(index)}.jpg").write_bytes(jpeg(scene_of(index)))
        (place / f"{key_of(index)}.txt").write_text(text(index))
    return str(place)


def test_references_that_were_edited_are_read_anew(tmp_path):
    run = drawn_run(tmp_path / "run", {"short": voice("short", 1)}, count=8)
    source = folder_of(tmp_path / "folder", 8, lambda index: captions(scene_of(index), "short", 1, SEED)[0])
    first = measure_sets(sets_of_run(run.url), options(references=source))
    assert cell(first, "short", "CIDEr-D").interval.value > 0
    assert measure_sets(sets_of_run(run.url), options(references=source)).as_json() == first.as_json()
    folder_of(tmp_path / "folder", 8, lambda index: f"nothing else than number {index}")
    edited = measure_sets(sets_of_run(run.url), options(references=source))
    assert cell(edited, "short", "CIDEr-D").interval.value == 0


def test_captions_beside_the_runs_own_pictures_that_were_edited_are_read_anew(tmp_path):
    source = folder_of(tmp_path / "folder", 8, lambda index: f"number {index}")
    run = drawn_run(tmp_path / "run", {"short": voice("short", 1)}, count=8)
    opened = OpenSet(one(run, "short"))
    folder = FolderOptions(inputs=[source]).open()
    opened.pictures._source, opened.pictures._shards = folder, {"x": asdict(folder.shards()[0])}
    opened.runs[run.url].inputs = lambda: [asdict(folder.shards()[0]) | {"path": "x"}]
    before = References("own").identity(opened)
    folder_of(tmp_path / "folder", 8, lambda index: f"another {index}")
    assert References("own").identity(opened)["texts"] != before["texts"]


def test_a_copy_knows_references_that_stood_in_files_of_their_own_as_the_run_did(tmp_path, monkeypatch):
    run = drawn_run(tmp_path / "run", {"short": voice("short", 1)}, count=4)
    [shard] = run.inputs()
    rows = told_rows(str(shard["path"]), RunPictures(run).samples(str(shard["path"])))
    for name, data in (rows, about()):
        run.place.write(name, data)
    for kind, where, beside in (
        ("dci", {"first": 0}, True),
        ("coco", {"first": 0}, False),
        ("folder", {"files": []}, 1),
    ):
        for options, there in (
            ({"kind": kind}, where),
            ({"kind": "mixture", "parts": [{}, {"source": {"kind": kind}}]}, {"mixture": {"part": 1}, "where": where}),
        ):
            pictures = RunPictures(run)
            monkeypatch.setattr(pictures, "_options", options)
            monkeypatch.setitem(pictures._shards, str(shard["path"]), {**shard, "where": there})
            assert bool(list(pictures.unstamped(str(shard["path"])))) == bool(beside)


def test_pictures_that_were_away_are_scored_when_they_are_back(tmp_path, clip, monkeypatch):
    run = drawn_run(tmp_path / "run", {"short": voice("short", 2)}, count=12, part=4)
    image = RunPictures.image

    def away(self, row):
        if int(row["key"]) >= 6:
            raise NotFoundError("not mounted")
        return image(self, row)

    asked = options(clip=clip, all_metrics=True)
    with monkeypatch.context() as patch:
        patch.setattr(RunPictures, "image", away)
        table = measure_sets(sets_of_run(run.url), asked)
        assert cell(table, "short", "CLIPScore").interval.count == 6
        assert cell(table, "short", "self-retrieval R@5 of 6").interval.count == 6
    table = measure_sets(sets_of_run(run.url), asked)
    assert cell(table, "short", "CLIPScore").interval.count == 12
    assert cell(table, "short", "self-retrieval R@5 of 12").interval.count == 12
    assert not any(path.is_file() for path in Path(run.url, "measures/clip").rglob("partial/*"))
    monkeypatch.setattr(RunPictures, "image", lambda *_: pytest.fail("looked again"))
    assert measure_sets(sets_of_run(run.url), asked).as_json() == table.as_json()


def self_cider(table):
    return {row.name: row.cells["Self-CIDEr"].interval for row in table.rows}


def test_self_cider_depends_on_no_order_and_on_no_earlier_call(tmp_path):
    voices = {"short": voice("short", 2)}, {"detailed": voice("detailed", 2)}
    one_run, other = (drawn_run(tmp_path / f"run{at}", members) for at, members in enumerate(voices))
    there = [self_cider(measure_sets(sets_of_runs(urls), HERE)) for urls in ([one_run.url, other.url],) * 2]
    back = self_cider(measure_sets(sets_of_runs([other.url, one_run.url]), HERE))
    assert there[0] == there[1] == back
    begun = drawn_run(tmp_path / "begun", voices[0], part=4, stop=4)
    measure_sets(sets_of_run(begun.url), HERE)
    drawn_run(tmp_path / "begun", voices[0], part=4)
    measure_sets(sets_of_run(begun.url), HERE)
    both = voices[0] | voices[1]
    drawn_run(tmp_path / "begun", both, part=4)
    whole = drawn_run(tmp_path / "whole", both, part=4)
    early, late = (self_cider(measure_sets(sets_of_run(run.url), HERE)) for run in (begun, whole))
    assert early == late
    apart = measure_sets([one(one_run, "short")], HERE, weighed_by=[one(other, "detailed"), one(one_run, "short")])
    assert self_cider(apart)["short"] == there[0]["run0/short"]
    assert self_cider(measure_sets([one(one_run, "short")], HERE))["short"] != there[0]["run0/short"]


def test_where_all_was_refused_at_first_nothing_stays_undefined(tmp_path):
    loop = "a red circle a red circle a red circle a red circle"
    members = {"s": (2, lambda index: [loop] * 2 if index < 2 else ["a red circle", f"a blue square and {index}"])}
    run = drawn_run(tmp_path / "run", members, part=2, stop=2)
    assert cell(measure_sets(sets_of_run(run.url), HERE), "s", "Self-CIDEr").interval is None
    drawn_run(tmp_path / "run", members, part=2)
    assert cell(measure_sets(sets_of_run(run.url), HERE), "s", "Self-CIDEr").interval.count == 22


def test_against_own_references_equal_captions_of_equal_images_are_equal(tmp_path):
    member = {"short": voice("short", 1)}
    large, small = drawn_run(tmp_path / "large", member, count=24), drawn_run(tmp_path / "small", member, count=16)
    tables = [
        measure_sets(sets_of_runs([a.url, b.url]), options(common=True, references="own"))
        for a, b in ((large, small), (small, large))
    ]
    found = {row.cells["CIDEr-D"].interval for table in tables for row in table.rows}
    assert len(found) == 1
    assert tables[0].stamp["references"]["df"] == tables[1].stamp["references"]["df"]


def test_what_is_at_m_captions_is_of_images_that_have_them_in_every_set(tmp_path, clip):
    loop = "a red circle a red circle a red circle a red circle"

    def full(index):
        return ["a red circle"] * 2 if index % 2 else [f"a blue square and {index}", "two green stars"]

    members = {"full": (2, full), "part": (2, lambda index: [full(index)[0], loop] if index % 2 else full(index))}
    run = drawn_run(tmp_path / "run", members, count=12)
    table = measure_sets(sets_of_run(run.url)[:2], options(all_metrics=True, clip=clip))
    for name in ("Div-1", "Self-CIDEr", "facts told", "vocabulary", "embedding distance", "self-retrieval R@1 of 6"):
        assert cell(table, "full", name).interval == cell(table, "part", name).interval
        assert cell(table, "full", name).interval.count == 6
    assert cell(table, "full", "claims true").interval.count == 12
    assert any(note.startswith("6 images have as many captions in every set") for note in table.notes)


def test_a_set_of_one_caption_is_not_held_against_several_across_the_set(tmp_path):
    run = drawn_run(tmp_path / "run", {"a": voice("short", 3), "b": voice("short", 1)})
    table = measure_sets(sets_of_run(run.url), options(all_metrics=True))
    assert cell(table, "b", "vocabulary").why == "one caption an image"
    assert cell(table, "a", "vocabulary").interval.value > 0
    alone = measure_sets([one(run, "b")], options(all_metrics=True))
    assert cell(alone, "b", "vocabulary").interval.value > 0


def test_references_of_no_image_are_refused_and_of_some_are_counted(tmp_path):
    run = drawn_run(tmp_path / "run", {"short": voice("short", 1)}, count=8)
    with pytest.raises(UserError, match=r"has no caption under the key of any of the 8 images of short"):
        measure_sets(sets_of_run(run.url), options(references=folder_of(tmp_path / "none", 8, lambda _: " ")))
    some = folder_of(tmp_path / "some", 3, lambda index: captions(scene_of(index), "short", 1, SEED)[0])
    table = measure_sets(sets_of_run(run.url), options(references=some))
    assert "short: CIDEr-D, BLEU-4, ROUGE-L: of 3 of 8 images alone." in table.notes


def test_a_picture_that_stands_twice_in_a_shard_is_no_difference(tmp_path):
    runs = [drawn_run(tmp_path / name, {"s": voice("short", 2)}, count=8, part=4, stop=4) for name in "ab"]
    for run in runs:
        entry = next(run.entries())
        layer = next(iter(run.layers()))
        rows = [row | {"index": row["index"] + 4} for row in run.rows(entry).to_pylist()[:2]]
        drawn_runs._commit(run, layer, entry.shard, 1, 4, 8, rows, True)
    assert [row.images for row in measure_sets(sets_of_runs([run.url for run in runs]), HERE).rows] == [5, 5]
