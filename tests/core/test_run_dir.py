"""A run's directory: units stored so that a kill, a lost race or a full disk loses nothing; reading it together."""

import errno
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from captioners.core.entry import Counts, Entry
from captioners.core.errors import NotFoundError, UserError
from captioners.core.layers import Layer, claim
from captioners.core.ledger import Ledger
from captioners.core.records import Row, content_digest
from captioners.core.run_dir import RunDir, open_run
from captioners.core.storage import Place

ROOT = Path(__file__).parents[2]
LAYER = Layer(name="a", draws=1, meaning={"seed": 0}, facts={})
BAD = {"shard": "0.tar", "key": "k1", "index": 1, "reason": "empty", "error": "k1: empty", "offset": None}


@pytest.fixture(params=["local", "memory"])
def run(request, tmp_path):
    run = RunDir(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}/run")
    run.begin({"unit_samples": 3})
    claim(run.place, LAYER)
    return run


def row(index=0, text="a dog"):
    return Row(
        shard="0.tar", key=f"k{index}", index=index, image_sha256="ab" * 32, offset=0, size=7, member="a", draw=0,
        attempt=0, keep=True, text=text, raw_text=None, num_tokens=3, logprob=-1.0, finish="eos", flags=[],
    )  # fmt: skip


def unit(part=0, layer=LAYER, shard="0.tar"):
    counts = Counts(read=2, captioned=1, quarantined=1, rows=1)
    return Entry(
        layer=layer.name, fingerprint=layer.fingerprint, shard=shard, part=part, start=0, stop=2, last=True,
        counts=counts, file="", digest="", reasons={"empty": 1},
    )  # fmt: skip


def files(run):
    return sorted(name for name in run.place.names("layers") if not name.endswith("layer.json"))


def test_a_unit_is_stored_with_its_files_named_and_digested(run):
    stored = run.commit(unit(), [row()], {"fingerprint": "f"}, [BAD])
    assert stored == run.ledger.find("a", "0.tar", 0)
    assert stored.file.startswith("layers/a/0.tar.00000.") and stored.file.endswith(".parquet")
    assert stored.digest == content_digest([row()])
    assert run.captions().to_pylist() == [row()] and run.quarantine() == [BAD]


def test_a_unit_without_rows_has_no_file(run):
    stored = run.commit(unit(), [], {})
    assert (stored.file, stored.file_sha256, stored.quarantine_file) == ("", "", "") and files(run) == []
    assert run.captions().num_rows == 0 and run.quarantine() == []


def test_of_two_workers_one_is_stored_and_the_other_leaves_nothing(run):
    first = run.commit(unit(), [row()], {})
    assert run.commit(unit(), [row(text="another")], {}, [BAD]) is None
    assert files(run) == [first.file] and list(run.place.names("quarantine")) == []
    assert run.captions()["text"].to_pylist() == ["a dog"]


@pytest.mark.parametrize("fails_at", range(3))
def test_a_full_disk_leaves_the_unit_open_and_no_file(run, monkeypatch, fails_at):
    calls = []
    for name in ("write", "create"):
        real = getattr(Place, name)

        def limited(self, file, data, real=real):
            calls.append(file)
            if len(calls) > fails_at:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(self, file, data)

        monkeypatch.setattr(Place, name, limited)
    with pytest.raises(OSError, match="No space left"):
        run.commit(unit(), [row()], {}, [BAD])
    assert len(calls) == fails_at + 1
    monkeypatch.undo()
    assert files(run) == [] and list(run.place.names("quarantine")) == [] and list(run.entries()) == []
    assert run.commit(unit(), [row()], {}, [BAD]) is not None


def test_an_entry_that_stands_although_creating_it_seemed_to_fail_keeps_its_files(run, monkeypatch):
    real = Ledger.commit

    def unsure(self, entry):
        real(self, entry)
        raise OSError(errno.EIO, "the answer was lost")

    monkeypatch.setattr(Ledger, "commit", unsure)
    with pytest.raises(OSError, match="the answer was lost"):
        run.commit(unit(), [row()], {})
    assert run.captions().num_rows == 1


KILLED = """
import sys
from tests.core.test_run_dir import BAD, row, unit
from captioners.core.run_dir import RunDir
run = RunDir(sys.argv[1])
run.commit(unit(), [row()], {}, [BAD])
run.commit(unit(1), [row(1)], {}, [BAD])
"""


@pytest.mark.parametrize(
    ("point", "entries", "orphans"),
    [("before_data", 1, 0), ("after_data", 1, 2), ("before_entry", 1, 2), ("after_entry", 2, 0)],
)
def test_a_kill_at_each_point_leaves_whole_units_and_at_most_orphans(tmp_path, point, entries, orphans):
    run = RunDir(tmp_path)
    run.begin({})
    claim(run.place, LAYER)
    environment = os.environ | {"CAPTIONERS_FAULT": f"{point}:2"}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    stored = list(run.entries())
    assert len(stored) == entries and run.captions().num_rows == entries
    named = {name for entry in stored for name in (entry.file, entry.quarantine_file)}
    assert len({*files(run), *run.place.names("quarantine")} - named) == orphans
    assert (run.commit(unit(1), [row(1)], {}, [BAD]) is None) == (entries == 2)
    assert run.captions().to_pylist() == [row(), row(1)]


def test_what_was_settled_first_stays(run):
    assert run.begin({"unit_samples": 99})["unit_samples"] == 3
    run.place.write("run.json", b"{")
    with pytest.raises(UserError, match=r"run.json: damaged"):
        run.settled()


def test_inputs_are_added_to_and_never_changed(run):
    run.freeze([{"path": "0.tar"}])
    run.freeze([])
    run.freeze([{"path": "1.tar"}, {"path": "2.tar"}])
    assert [shard["path"] for shard in run.inputs()] == ["0.tar", "1.tar", "2.tar"]


def test_of_two_that_freeze_at_once_one_has_to_choose_anew(run):
    before = run.freezings()
    assert run.freeze([{"path": "0.tar"}], before) and not run.freeze([{"path": "x.tar"}], before)
    assert run.freeze([{"path": "1.tar"}], run.freezings())
    assert [shard["path"] for shard in run.inputs()] == ["0.tar", "1.tar"]


def test_entries_of_another_fingerprint_are_no_part_of_the_run(run):
    other = Layer(name="a", draws=1, meaning={"seed": 1}, facts={})
    run.commit(unit(), [row()], {})
    run.commit(unit(1, other), [row(1)], {})
    assert [entry.part for entry in run.entries()] == [0] and run.captions().num_rows == 1


def test_captions_can_be_asked_for_by_member_and_shard(run):
    claim(run.place, Layer(name="b", draws=1, meaning={}, facts={}))
    run.commit(unit(), [row()], {})
    run.commit(unit(shard="1.tar"), [row(1)], {})
    assert run.captions(shards=["1.tar"])["index"].to_pylist() == [1]
    assert run.captions(members=["b"]).num_rows == 0


def test_a_file_that_is_gone_is_said_with_the_way_to_have_it_made_again(run):
    stored = run.commit(unit(), [row()], {})
    run.place.remove(stored.file)
    with pytest.raises(UserError, match=r"the ledger names this file and it is gone; remove .* to make it again"):
        run.captions()


def test_a_sample_that_no_member_could_read_is_quarantined_once(run):
    other = Layer(name="b", draws=1, meaning={}, facts={})
    claim(run.place, other)
    for layer in (LAYER, other):
        run.commit(unit(layer=layer), [], {}, [BAD])
    assert run.quarantine() == [BAD]


def test_a_run_is_found_by_path_by_name_and_as_the_latest(run_dir):
    RunDir("runs/one-123456").begin({})
    Path("runs/latest").symlink_to("one-123456")
    for given in ("runs/one-123456", "one-123456", "latest", Path("runs/latest")):
        assert open_run(given).settled()["schema_version"] == 1
    with pytest.raises(NotFoundError, match=r"one-12345: no run is there.* Did you mean .*one-123456"):
        open_run("one-12345")
    Path("other").mkdir()
    with pytest.raises(NotFoundError, match="a folder, but no run of `generate`"):
        open_run("other")
    Path("other/captions.jsonl").write_text(json.dumps({}))
    with pytest.raises(NotFoundError, match="what `captioners caption` wrote"):
        open_run("other")
