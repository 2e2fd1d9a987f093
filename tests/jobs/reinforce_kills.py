"""Runs of `reinforce` in processes of their own that are killed on the way, and compared with one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from captioners.core.run_dir import RunDir
from tests.jobs import captioned
from tests.jobs.kills import ROOT, finish, kill_after, to_the_end


def start(folder, run, *, fault="", workers=1, more=()):
    """Start the command over `folder`/in into `folder`/`run`."""
    command = [
        sys.executable, "-m", "captioners", "reinforce", "reinforce/dfndr_2b", f"source.inputs=['{folder}/in']",
        f"teachers={captioned.TEACHERS}", f"workers={workers}", "decode_threads=1", "quarantine_ceiling=0.5",
        f"output='{folder}/{run}'", *more,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CAPTIONERS_FAULT": fault}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def prepare(folder, shards, samples):
    """Write the shards, a broken picture in each, and reinforce them without interruption."""
    names = [f"{number % 3:02d}/{number // 3:05d}.tar" for number in range(shards)]

    def spoil(number, members):
        return {**members, "jpg": b"broken"} if number % samples == samples // 2 else members

    captioned.write(Path(folder, "in"), names, samples, spoil)
    code, said = finish(start(folder, "whole"))
    assert code == 0, said


def kill_at_random(folder, run, *, kills, most, seed=0, say=lambda _: None):
    """Start and kill `kills` times, each within `most` shards, then let it end; return how often it was killed."""
    generator, killed = random.Random(seed), 0
    for number in range(kills):
        process = start(folder, run)
        killed += kill_after(process, folder, run, generator.randint(0, most), generator.random() * 0.5)
        say(f"kill {number + 1}: {sum(1 for _ in Path(folder, run, 'shards').rglob('*.tar'))} shards are there")
    to_the_end(lambda: start(folder, run), folder, run)
    return killed


def compare(folder, run, whole="whole"):
    """Check a run against an undisturbed one: every file of the set, what was left out, the sums, and no remains."""
    found = captioned.digests(f"{folder}/{run}")
    assert found and found == captioned.digests(f"{folder}/{whole}")
    lists = [sorted(Path(folder, one, "left_out.jsonl").read_text().splitlines()) for one in (run, whole)]
    assert lists[0] == lists[1]
    for entry in RunDir(f"{folder}/{run}").entries():
        assert entry.counts.problem(1) is None
    assert not Path(folder, run, "attempts").exists()


def stop(process):
    """Kill a start, wherever it is."""
    process.send_signal(signal.SIGKILL)
    return finish(process)


def until(condition, latest_s=600):
    """Wait until something holds."""
    end = time.monotonic() + latest_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
