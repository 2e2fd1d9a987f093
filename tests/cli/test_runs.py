"""captioners report, status, show and verify, as a user runs them."""

import json
import os
from pathlib import Path

import pytest

from captioners.cli.main import run as command
from captioners.core.ledger import Ledger
from captioners.core.set_aside import Failed, set_aside
from captioners.core.worker_log import WorkerLog
from tests.runs_fixture import HOSTILE, make_run

RUN = "runs/broad-and-brief"


@pytest.fixture
def captioners(capsys):
    def call(*arguments):
        code = command(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def run(run_dir):
    run = make_run(Path())
    Path("runs/latest").symlink_to("broad-and-brief")
    return run


def test_report_writes_a_page_and_says_where(captioners, run):
    code, out, err = captioners("report", "latest")
    assert (code, err) == (0, "")
    assert "24 images, 0." in out
    assert "written: runs/latest/report.html\nnext:    captioners verify latest" in out
    assert HOSTILE not in Path(RUN, "report.html").read_text()
    code, out, _ = captioners("report", RUN, "--out", "small.html", "--images", "3", "--no-images", "--seed", "5")
    assert code == 0
    assert "3 images, 0.0 MB" in out
    assert Path("small.html").read_text().count("<article>") == 3


def test_report_says_how_many_pictures_are_gone(captioners, run):
    Path("pictures/photos/cat.jpg").unlink()
    code, _, err = captioners("report", RUN)
    assert code == 0
    assert err == "1 of them could not be shown; the page says why in their places\n"


def test_status_says_done_lost_and_where_time_went(captioners, run):
    code, out, err = captioners("status")
    assert (code, err) == (0, "")
    assert out.startswith("runs/latest: done; 2 shards, 26 samples\n")
    assert "broad  2 of 2 shards, nothing left\n  26 read = 23 captioned + 1 filtered + 2 quarantined\n" in out
    assert "  48 captions, 45 kept\n  flags: truncated 6, repetitive 3\n" in out
    assert "2.40 images/s, 4.43 captions/s a worker; decoding 69%, encoding 28%, waiting 3%, writing 0%; last" in out
    assert "could not be read:\n  2 truncated, such as drawn/broken.jpg: the file ends" in out
    assert "captions    runs/latest/layers/MEMBER/" in out
    assert "next:    captioners report latest" in out


def test_status_of_an_unfinished_run_says_how_to_go_on(captioners, run_dir):
    make_run(Path(), finish=False)
    code, out, _ = captioners("status", RUN)
    assert code == 0
    assert "not finished" in out
    assert "brief  0 of 2 shards, 14 samples left" in out
    assert f"next:    captioners generate {RUN}/recipe.yaml" in out


def test_status_as_json_holds_the_same(captioners, run):
    code, out, _ = captioners("status", RUN, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["done"], found["samples"], found["shards"]) == (True, 26, 2)
    assert found["members"][1]["counts"] == {"read": 26, "captioned": 23, "filtered": 1, "quarantined": 2, "rows": 48}


def test_status_shows_the_last_errors_of_workers_and_what_is_set_aside(captioners, run):
    code, out, _ = captioners("status", "latest", "--errors")
    assert code == 0 and "no worker of runs/latest has logged an error" in out
    WorkerLog(run.place, 0).error("the disk failed\nand where")
    code, out, _ = captioners("status", "latest", "--errors")
    assert code == 0 and "-0: the disk failed\nand where" in out
    failed = Failed(name="x", shard="drawn", members=("broad",), deaths=3, how="by signal 9 (SIGKILL)", when="")
    set_aside(run, failed)
    _, out, _ = captioners("status")
    assert "set aside: drawn, 3 workers ended over it, the last by signal 9 (SIGKILL)" in out


def test_status_clears_what_nobody_reads_when_it_is_old(captioners, run):
    orphan = Path(run.place.at("layers/broad/drawn.00000.bbbbbbbb.parquet"))
    orphan.write_bytes(b"x")
    _, out, _ = captioners("status", "latest", "--clear")
    assert "removed: 0 files" in out and "1 file of a stopped or slower worker" in out and "--clear" in out
    os.utime(orphan, (1, 1))
    _, out, _ = captioners("status", "latest", "--clear")
    assert "removed: 1 file that no ledger entry names" in out and not orphan.exists()


def test_show_prints_a_sample_with_everything_known_of_it(captioners, run):
    code, out, err = captioners("show", RUN, "drawn/0005")
    assert (code, err) == (0, "")
    for part in (
        "drawn/0005\nshard        drawn\nsample       6 of its shard",
        "sha256       ",
        "captioner    random-broad, weights ",
        "decoding     sample, top_p 0.9",
        "environment  captioners ",
        "(draw 1, attempt 2, 7 tokens, eos; repetitive; refused)",
        f"captioners show {RUN} 'drawn:drawn/0005' --again",
    ):
        assert part in out


def test_show_of_a_sample_that_was_not_read_and_of_one_that_is_not_there(captioners, run):
    code, out, _ = captioners("show", RUN, "drawn/broken")
    assert code == 0
    assert "quarantined  truncated: drawn/broken.jpg: the file ends" in out
    code, _, err = captioners("show", RUN, "drawn/00005")
    assert code == 1
    assert "Did you mean 'drawn/0005'" in err
    assert err.count("\n") == 1


def test_verify_of_a_sound_run_ends_with_0_and_of_a_damaged_one_with_2(captioners, run, monkeypatch):
    monkeypatch.setattr("captioners.jobs.runs.verify.check_weights", lambda run: iter([("weights hashed", False)]))
    code, out, err = captioners("verify", RUN)
    assert (code, err) == (0, "")
    assert "weights hashed" not in captioners("verify", RUN, "--no-weights")[1]
    assert "weights hashed\n\n6 units, 96 captions: no findings" in out
    entry = next(run.entries())
    run.place.create("layers/broad/left.parquet", b"")
    run.place.remove(entry.file)
    code, out, err = captioners("verify")
    assert code == 2
    assert err.startswith("finding: ")
    assert err.count("\n") == 1
    assert "is gone" in err
    assert "in no ledger entry, so nobody reads it: layers/broad/left.parquet" in out
    assert "6 units, 96 captions: 1 finding\n" in out


def test_verify_of_an_unfinished_run_says_what_is_missing_and_finds_nothing(captioners, run, monkeypatch):
    monkeypatch.setattr("captioners.jobs.runs.verify.check_weights", lambda run: iter([]))
    run.place.remove(Ledger.name("broad", "drawn", 1))
    code, out, _ = captioners("verify", RUN)
    assert code == 0
    assert "member broad: 1 of 2 shards are not done to their end yet" in out


@pytest.mark.parametrize("verb", [("report",), ("status",), ("show", "key"), ("verify",)])
def test_a_run_that_is_not_there_is_said_with_those_that_are(captioners, run, verb):
    code, _, err = captioners(verb[0], "runs/broad-and-breif", *verb[1:])
    assert code == 1
    assert "no run is there. Did you mean 'runs/broad-and-brief'" in err
    assert err.count("\n") == 1
