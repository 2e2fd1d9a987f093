"""Shards that a run writes: an attempt, then the entry, then the name; of two that write one, the entry's stands."""

import pytest

from captioners.core.entry import Counts, Entry
from captioners.core.run_dir import RunDir
from captioners.core.shard_files import REINFORCED, clear_attempts, commit_shard, publish

RECORD = {"shard": "00/0.tar", "key": "a", "index": 0, "reason": "empty", "error": "0 bytes", "offset": None}


def entry(shard="00/0.tar"):
    return Entry(
        layer=REINFORCED, fingerprint="f", shard=shard, part=0, start=0, stop=1, last=True,
        counts=Counts(read=1, captioned=1, rows=1), file="", digest="",
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    return RunDir(tmp_path / "run")


def draft(tmp_path, data):
    path = tmp_path / f"{data.decode()}.draft"
    path.write_bytes(data)
    return path


def test_a_stored_shard_has_its_name_its_digest_and_its_records(run, tmp_path):
    stored = commit_shard(run, entry(), draft(tmp_path, b"one"), [RECORD])
    assert stored == run.ledger.find(REINFORCED, "00/0.tar", 0)
    assert run.place.read(stored.file) == b"one" and stored.file == "shards/00/0.tar"
    assert list(run.place.names("attempts")) == [] and run.place.exists(stored.quarantine_file)


def test_of_two_that_write_one_shard_the_first_stands_and_the_other_leaves_nothing(run, tmp_path):
    commit_shard(run, entry(), draft(tmp_path, b"one"))
    assert commit_shard(run, entry(), draft(tmp_path, b"two"), [RECORD]) is None
    assert run.place.read("shards/00/0.tar") == b"one"
    assert list(run.place.names("attempts")) == list(run.place.names("quarantine")) == []


def test_a_kill_between_entry_and_name_is_made_good(run, tmp_path, monkeypatch):
    def killed(_name):
        if _name == "after_entry":
            raise KeyboardInterrupt

    monkeypatch.setattr("captioners.core.shard_files.faults.point", killed)
    with pytest.raises(KeyboardInterrupt):
        commit_shard(run, entry(), draft(tmp_path, b"one"))
    assert not run.place.exists("shards/00/0.tar") and len(list(run.place.names("attempts"))) == 1
    monkeypatch.undo()
    publish(run, run.ledger.entries())
    assert run.place.read("shards/00/0.tar") == b"one"
    publish(run, run.ledger.entries())
    clear_attempts(run)
    assert run.place.read("shards/00/0.tar") == b"one" and not (tmp_path / "run/attempts").exists()


def test_a_shard_without_samples_has_an_entry_and_no_file(run):
    stored = commit_shard(run, entry(), None, [RECORD])
    assert stored.file == "" and list(run.place.names("shards")) == []
