"""captioners/data/run_source.py: a run's captions as a source, against its own rows and pictures."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from captioners.core.errors import NotFoundError, UserError
from captioners.core.ledger import Ledger
from captioners.data.choices import AnySource
from captioners.data.frozen import frozen_shards
from captioners.data.licences import licences_of
from captioners.data.run_source import RunOptions
from captioners.data.selection import Select
from captioners.data.source import describe, sources
from tests.data.rows import bad, check_contract, good
from tests.runs_fixture import make_run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


def source(run, **options):
    return RunOptions(run=run.url, **options).open()


def test_it_is_filed_under_its_name_and_taken_by_recipes(run):
    assert sources.get("run") is RunOptions
    read = TypeAdapter(AnySource).validate_python({"kind": "run", "run": run.url, "select": {"n": 5, "by": "diverse"}})
    assert (read.select.n, read.select.by) == (5, "diverse")
    with pytest.raises(ValidationError, match="not an expression"):
        TypeAdapter(AnySource).validate_python({"kind": "run", "run": run.url, "select": {"where": "a >"}})


def test_every_image_comes_with_its_kept_captions(run):
    """The independent answer: the run's own table, grouped by image."""
    expected = {}
    for row in run.captions().to_pylist():
        if row["keep"]:
            expected.setdefault((row["shard"], row["key"]), []).append((row["member"], row["draw"], row["text"]))
    found = {(one.shard, one.key): one for one in good(source(run))}
    assert {name: one.captions for name, one in found.items()} == {
        name: tuple(text for _, _, text in sorted(rows)) for name, rows in expected.items()
    }
    pictures = Path(run.url).parent.parent / "pictures"
    assert all(one.image == (pictures / f"{one.key}.jpg").read_bytes() for one in found.values())
    assert found["photos", "photos/cat"].meta["members"] == ["brief", "brief", "broad", "broad"]


def test_the_contract_of_a_source(run):
    check_contract(source(run))
    check_contract(source(run, select=Select(n=2, where="not truncated")))


def test_the_selection_decides_and_the_count_needs_no_picture(run):
    chosen = source(run, select=Select(n=2, where="not truncated"))
    found = good(chosen)
    assert {len(one.captions) for one in found} == {2}
    assert 0 < len(found) < len(good(source(run)))
    for path in (Path(run.url).parent.parent / "pictures").rglob("*.jpg"):
        path.unlink()
    assert sum(chosen.count(shard) for shard in chosen.shards()) == len(found)


def test_a_picture_that_changed_is_a_row_that_says_so(run):
    (Path(run.url).parent.parent / "pictures/drawn/0002.jpg").write_bytes(b"another")
    assert bad(source(run)) == [("drawn/0002", "missing")]
    check_contract_of = source(run).shards()
    assert [shard.path for shard in check_contract_of] == ["drawn", "photos"]


def test_only_finished_shards_are_read_and_later_ones_come_behind(tmp_path, run):
    entry = run.ledger.find("broad", "drawn", 1)
    name = Ledger.name("broad", "drawn", 1)
    data = run.place.read(name)
    run.place.remove(name)
    frozen = source(run).shards()
    assert [shard.path for shard in frozen] == ["photos"]
    assert describe(source(run)) == ("1 of 2 shards of the run are finished, by brief, broad",)
    assert frozen_shards(source(run), tmp_path / "shards.jsonl")[0].samples == 6
    run.place.write(name, data)
    assert entry is not None
    assert [shard.path for shard in source(run).shards(frozen)] == ["photos", "drawn"]


def test_captions_that_changed_meanwhile_are_refused(run):
    frozen = source(run).shards()
    name = Ledger.name("broad", "photos", 0)
    run.place.write(name, run.place.read(name).replace(b'"digest": "', b'"digest": "f'))
    with pytest.raises(UserError, match="photos: has changed since this run began"):
        source(run).shards(frozen)


def test_its_licences_are_those_of_the_run_s_source(run):
    assert licences_of(RunOptions(run=run.url)).images == ("unspecified",)
    with pytest.raises(NotFoundError):
        RunOptions(run="nowhere").open()
