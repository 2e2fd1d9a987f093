"""captioners/jobs/runs/status.py: done and left, lost and why, and where the time went."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from captioners.core.entry import Counts, Entry
from captioners.core.errors import NotFoundError
from captioners.core.ledger import Ledger
from captioners.core.segments import table_of
from captioners.core.set_aside import Failed, clear_failed, set_aside
from captioners.jobs.runs.pace import pace
from captioners.jobs.runs.status import clear_orphans, status
from tests.runs_fixture import make_run


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


def of(found, name):
    return next(member for member in found.members if member.name == name)


def test_a_finished_run_is_done_and_its_sums_are_those_of_its_rows(run):
    found = status(run.url)
    broad, rows = of(found, "broad"), [row for row in run.captions().to_pylist() if row["member"] == "broad"]
    assert found.done
    assert (found.shards, found.samples, found.orphans) == (2, 26, 0)
    assert (broad.shards_done, broad.units_done, broad.left, broad.unknown_shards) == (2, 3, 0, 0)
    assert broad.counts.read == 26 == broad.counts.captioned + broad.counts.filtered + broad.counts.quarantined
    assert broad.counts.rows == len(rows) == 48
    assert broad.kept == sum(row["keep"] for row in rows) == 45
    assert broad.flags == {"truncated": 6, "repetitive": 3}


def test_what_is_left_is_counted_in_samples(tmp_path):
    found = status(make_run(tmp_path, finish=False).url)
    brief = of(found, "brief")
    assert not found.done
    assert (brief.shards_done, brief.units_done) == (0, 1)
    assert brief.left == 26 - 12
    assert of(found, "broad").left == 0


def test_a_shard_whose_size_nobody_knows_is_unknown_until_a_member_read_it_to_its_end(tmp_path):
    run = make_run(tmp_path, finish=False)
    frozen = [{**shard, "count": None} for shard in run.inputs()]
    run.place.write("inputs/00000.jsonl", "".join(json.dumps(shard) + "\n" for shard in frozen).encode())
    assert of(status(run.url), "brief").left == 14  # broad has counted them
    for entry in list(run.entries(["broad"])):
        run.place.remove(Ledger.name(entry.layer, entry.shard, entry.part))
    found = status(run.url)
    assert found.samples is None
    assert (of(found, "brief").left, of(found, "brief").unknown_shards) == (0, 2)
    assert of(found, "broad").shards_done == 0


def test_a_shard_with_a_gap_is_not_done(run):
    run.place.remove(Ledger.name("broad", "drawn", 0))
    broad = of(status(run.url), "broad")
    assert (broad.shards_done, broad.left) == (1, 12)


def test_what_was_lost_is_counted_once_with_an_example(run):
    (lost,) = status(run.url).quarantine
    assert (lost.reason, lost.count) == ("truncated", 2)  # by both members, and yet two pictures
    assert lost.example.startswith("drawn/broken.jpg: the file ends before the picture does")


def test_time_is_shared_out_and_gives_a_worker_s_pace(run):
    found = status(run.url)
    assert found.seconds == pytest.approx({"decoding": 15, "encoding": 6, "waiting": 0.6, "writing": 0.06})
    assert list(found.seconds) == ["decoding", "encoding", "waiting", "writing"]
    assert found.images_per_second == pytest.approx(2 * 26 / 21.66)  # two captioners, which read for themselves
    assert found.captions_per_second == pytest.approx(96 / 21.66)
    assert found.finished == "2026-01-02T03:01:05+00:00"


def test_an_image_counts_once_for_members_that_share_a_captioner(run):
    for name in ("broad", "brief"):
        layer = json.loads(run.place.read(f"layers/{name}/layer.json"))
        layer["meaning"]["weights"] = "the same"
        run.place.write(f"layers/{name}/layer.json", json.dumps(layer).encode())
    changed = {layer.name: layer.fingerprint for layer in run.layers()}
    for entry in list(run.ledger.entries()):
        data = json.dumps(asdict(replace(entry, fingerprint=changed[entry.layer])))
        run.place.write(Ledger.name(entry.layer, entry.shard, entry.part), data.encode())
    assert status(run.url).images_per_second == pytest.approx(26 / 21.66)


def test_files_of_a_stopped_worker_are_counted(run):
    run.place.create("layers/broad/drawn.00000.bbbbbbbb.parquet", b"")
    Path(run.place.at("layers/broad/.0123456789ab.part")).write_bytes(b"")
    found = status(run.url)
    assert (found.orphans, found.drafts) == (1, 1)


def test_only_the_ledger_is_read(run):
    for name in list(run.place.names("layers")):
        if not name.endswith("layer.json"):
            run.place.remove(name)
    assert of(status(run.url), "broad").kept == 45


def test_entries_that_do_not_say_what_was_kept_leave_it_unknown_where_there_are_flags(run):
    """Entries of older versions."""
    for entry in list(run.entries()):
        text = json.dumps(asdict(replace(entry, kept=None, flags=entry.flags if entry.layer == "broad" else {})))
        run.place.write(Ledger.name(entry.layer, entry.shard, entry.part), text.encode())
    assert of(status(run.url), "broad").kept is None
    assert of(status(run.url), "brief").kept == 48


def test_rolled_into_segments_the_ledger_says_the_same(run):
    before = replace(status(run.url), files={})
    assert Ledger(run.place).compact(least=1) == 6
    assert replace(status(run.url), files={}) == before


def test_orphans_are_cleared_when_they_are_old_enough(run):
    files = [Path(run.place.at(f"layers/broad/{name}")) for name in ("drawn.00000.bbbbbbbb.parquet", ".01234567.part")]
    for file in files:
        file.write_bytes(b"x")
    assert clear_orphans(run.url) == 0, "they may belong to a worker"
    for file in files:
        os.utime(file, (1, 1))
    assert clear_orphans(run.url) == 2 and not any(file.exists() for file in files)
    found = status(run.url)
    assert (found.orphans, found.drafts) == (0, 0) and len(run.captions()) == 96


def test_alarms_and_what_is_set_aside_are_told(run):
    entry = next(run.entries(["broad"]))
    alarm = {"name": "same_caption", "text": "one caption for 90% of the shard"}
    text = json.dumps(asdict(replace(entry, alarms=[alarm, alarm])))
    run.place.write(Ledger.name(entry.layer, entry.shard, entry.part), text.encode())
    failed = Failed(name="drawn.1", shard="drawn", members=("broad",), deaths=3, how="by signal 9", when="")
    set_aside(run, failed)
    found = status(run.url)
    assert (found.alarms_count, found.failed) == (2, [failed])
    assert found.alarms[0] == {"layer": "broad", "shard": entry.shard, **alarm}
    assert clear_failed(run) == 1 and status(run.url).failed == []


def stored(worker, minute, seconds=30.0, read=100):
    return asdict(
        Entry(
            layer="a", fingerprint="f", shard=f"{worker}-{minute}", part=0, start=0, stop=read, last=True, digest="",
            counts=Counts(read=read, captioned=read, rows=read), file="", seconds={"decoding": seconds}, worker=worker,
            finished=f"2026-01-02T03:{minute:02d}:30+00:00",
        )
    )  # fmt: skip


def test_the_pace_of_the_last_hour_gives_the_time_left_and_names_slow_workers():
    """By hand: two workers store 100 samples each minute, over ten minutes and the half before; a third is slow."""
    entries = [stored(worker, minute) for worker in ("a", "b") for minute in range(11)]
    entries += [stored("slow", minute, seconds=600.0) for minute in (3, 6, 9)]
    entries[0]["finished"] = "2026-01-02T01:00:00+00:00"  # long before
    found = pace(table_of([(str(number), entry) for number, entry in enumerate(entries)]), left=10_000)
    # 21 + 3 units of 100 samples; the first began 600 s before 03:03:30, the last ended at 03:10:30.
    assert found.samples_per_second == pytest.approx(2400 / 1020)
    assert found.eta_s == pytest.approx(10_000 / (2400 / 1020))
    assert found.eta_range_s[0] < found.eta_s < found.eta_range_s[1]
    assert found.workers == 3
    (slow,) = found.slow
    assert (slow.worker, slow.images_per_second, slow.median) == ("slow", pytest.approx(1 / 6), pytest.approx(10 / 3))
    assert pace(table_of([]), 5) is None


def test_units_of_a_layer_that_is_not_the_run_s_do_not_count(run):
    entry = next(iter(run.entries(["broad"])))
    changed = json.dumps(asdict(replace(entry, fingerprint="0" * 64)))
    run.place.write(Ledger.name(entry.layer, entry.shard, entry.part), changed.encode())
    assert of(status(run.url), "broad").units_done == 2


def test_a_run_that_just_began_and_one_that_is_not_there(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("ledger", "layers"):
        for file in sorted(Path(run.place.at(folder)).rglob("*.*")):
            file.unlink()
    found = status("broad-and-brief")  # by its name under runs/
    assert (found.members, found.done, found.images_per_second) == ([], False, None)
    with pytest.raises(NotFoundError, match="Did you mean 'runs/broad-and-brief'"):
        status("runs/broad-and-brif")
