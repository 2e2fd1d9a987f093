"""`captioners retry`: what was quarantined is read again, and nothing else changes; shards set aside are open again."""

import json
import shutil
from dataclasses import replace

import pytest

from captioners.core.entry import Counts
from captioners.core.errors import UserError
from captioners.core.run_dir import RunDir
from captioners.core.set_aside import Failed, failed_units, set_aside
from captioners.images import decode
from captioners.jobs.generate.job import generate
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.jobs.runs.retry import retry
from captioners.jobs.runs.verify import verify
from tests.jobs.shards import content, orphans, write_shards

BROKEN = (1, 4, 8)
"""Of 10 samples in 2 shards."""


def recipe(folder, output):
    return GenerateRecipe.model_validate(
        {
            "source": {"kind": "webdataset", "inputs": [str(folder)]},
            "members": [
                {"captioner": "random-tiny", "name": name, "draws": draws, "decoding": {"top_p": 0.9, "max_tokens": 6}}
                for name, draws in (("a", 2), ("b", 1))
            ],
            "unit_samples": 3, "decode_workers": 0, "canary_units": 0, "output": str(output), "rules": {"retries": 1},
        },
        strict=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the inputs, and the units of a run over them."""
    folder = write_shards(tmp_path_factory.mktemp("in"), shards=2)
    output = tmp_path_factory.mktemp("runs") / "whole"
    generate(recipe(folder, output))
    return folder, content(output)


@pytest.fixture(scope="module")
def made(undisturbed, tmp_path_factory):
    """Return a run over the same inputs while some of their pictures could not be read; they can by now."""
    folder = tmp_path_factory.mktemp("runs") / "faulty"
    with pytest.MonkeyPatch.context() as patched:
        plain = decode.open_header

        def missing(data, name):
            if any(f"{number:06d}" in name for number in BROKEN):
                raise decode.ImageError(f"{name}: no picture", "not_an_image" if "000008" not in name else "damaged")
            return plain(data, name)

        patched.setattr(decode, "open_header", missing)
        generate(recipe(undisturbed[0], folder))
    return folder


@pytest.fixture
def faulty(made, tmp_path):
    """Return a copy of it."""
    return shutil.copytree(made, tmp_path / "run")


def test_what_can_be_read_by_now_gives_the_run_that_never_failed(faulty, undisturbed):
    before = {(e.layer, e.shard, e.part): e for e in RunDir(faulty).entries()}
    assert content(faulty) != undisturbed[1]
    found = retry(str(faulty), ["not_an_image", "damaged"])
    assert (found.samples, found.readable, found.still) == (6, 6, {}), "three, for two members"
    assert content(faulty) == undisturbed[1], "the same rows, the same bytes"
    assert verify(RunDir(faulty), weights=False).findings == []
    for unit, entry in {(e.layer, e.shard, e.part): e for e in RunDir(faulty).entries()}.items():
        assert entry.counts.quarantined == 0 and (before[unit].reasons or entry == before[unit])
    assert len(orphans(faulty)) == found.units + 6, "the units' earlier files, and quarantine records, nobody reads"


def test_a_reason_of_its_own_leaves_the_others_and_its_units_too(faulty):
    before = {(e.layer, e.shard, e.part): e for e in RunDir(faulty).entries()}
    found = retry(str(faulty), ["damaged"])
    assert (found.samples, found.readable, found.units) == (2, 2, 2)
    after = {(e.layer, e.shard, e.part): e for e in RunDir(faulty).entries()}
    changed = {unit for unit in after if after[unit] != before[unit]}
    assert changed == {("a", "00001.tar", 1), ("b", "00001.tar", 1)}
    assert after["a", "00001.tar", 1].counts == Counts(read=2, captioned=2, rows=4)
    assert sum(entry.counts.quarantined for entry in after.values()) == 4


def test_rows_that_were_there_stay_to_the_last_bit_whatever_made_them(faulty):
    """Only an exact captioner would make the same ones again; what another grade made is not made again at all."""
    run = RunDir(faulty)
    entry = next(e for e in run.entries(["a"]) if (e.shard, e.part) == ("00000.tar", 0))
    rows = [{**row, "text": f"{row['text']} by hand"} for row in run.rows(entry).to_pylist()]
    run.commit(
        replace(entry, worker="hand"),
        rows,
        {},
        [_record(run, entry)],
        enter=lambda made: not run.ledger.replace([made]),
    )
    retry(str(faulty), ["not_an_image"])
    entry = next(e for e in run.entries(["a"]) if (e.shard, e.part) == ("00000.tar", 0))
    by_hand = [row["index"] for row in run.rows(entry).to_pylist() if row["text"].endswith("by hand")]
    assert by_hand == [0, 0, 2, 2] and entry.counts == Counts(read=3, captioned=3, rows=6)


def _record(run, entry):
    return json.loads(run.place.read(entry.quarantine_file))


def test_what_still_cannot_be_read_says_its_reason_of_today(faulty, monkeypatch):
    plain = decode.open_header

    def damaged(data, name):
        if "000001" in name:
            raise decode.ImageError(f"{name}: damaged", "damaged")
        return plain(data, name)

    monkeypatch.setattr(decode, "open_header", damaged)
    found = retry(str(faulty), ["not_an_image"])
    assert (found.samples, found.readable, found.units, found.still) == (4, 2, 4, {"damaged": 2})
    before = list(RunDir(faulty).entries())
    found = retry(str(faulty), ["damaged"])
    assert (found.samples, found.readable, found.still) == (4, 2, {"damaged": 2}), "000008 is readable by now"
    changed = [entry.shard for entry, earlier in zip(RunDir(faulty).entries(), before, strict=True) if entry != earlier]
    assert changed == ["00001.tar"] * 2, "what stays as it was costs nothing"


def test_after_its_entries_were_rolled_into_a_segment_a_unit_is_replaced_all_the_same(faulty, undisturbed):
    assert RunDir(faulty).ledger.compact(least=1) == 8
    retry(str(faulty), ["not_an_image", "damaged"])
    assert content(faulty) == undisturbed[1]
    assert RunDir(faulty).ledger.compact(least=1) == 0, "they are in a segment already"
    assert content(faulty) == undisturbed[1]


def test_mistakes_name_what_there_is(faulty):
    with pytest.raises(UserError, match=r"--reason with one of: not_an_image \(2\), damaged \(1\)"):
        retry(str(faulty))
    with pytest.raises(UserError, match=r"nothing is quarantined as 'no_image'.* Here: not_an_image"):
        retry(str(faulty), ["no_image"])


@pytest.mark.parametrize("rolled", [False, True])
def test_damaged_units_are_open_again_and_made_again_the_same(undisturbed, tmp_path, rolled):
    folder, output = undisturbed[0], tmp_path / "run"
    generate(recipe(folder, output))
    run = RunDir(output)
    if rolled:
        assert run.ledger.compact(least=1) == 8
    gone, changed, *_ = run.entries(["a"])
    run.place.remove(gone.file)
    run.place.write(changed.file, run.place.read(changed.file)[:-1] + b"?")
    assert len(verify(run, weights=False).findings) == 2
    assert retry(str(output), damaged=True).damaged == 2
    assert RunDir(output).ledger.find(*gone.unit) is None and len(list(RunDir(output).entries())) == 6
    generate(recipe(folder, output))
    assert content(output) == undisturbed[1] and verify(RunDir(output), weights=False).findings == []
    assert retry(str(output), damaged=True).damaged == 0


def test_shards_set_aside_are_open_again(faulty):
    run = RunDir(faulty)
    set_aside(run, Failed(name="x.1", shard="x", members=("a",), deaths=3, how="signal 9", when="2026"))
    assert retry(str(faulty), failed=True).failed == 1 and failed_units(run) == []
