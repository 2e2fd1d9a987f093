"""Runs of `generate` in processes of their own that are killed on the way, and compared with one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from captioners.core.run_dir import RunDir
from captioners.core.set_aside import clear_failed
from tests.jobs.shards import content, sums, write_shards

ROOT = Path(__file__).parents[2]
MEMBERS = (
    "[{captioner: random-tiny, name: sampled, draws: 2, decoding: {top_k: 5, max_tokens: 6}},"
    " {captioner: random-tiny, name: beams, draws: 1, decoding: {beam: {width: 2, max_tokens: 6}}}]"
)
LATEST_S = 600


def start(folder, run, *, fault="", workers=1, more=()):
    """Start the command over `folder`/shards into `folder`/`run`."""
    command = [
        sys.executable, "-m", "captioners", "generate", "generate/shards",
        f"source={{kind: webdataset, inputs: ['{folder}/shards']}}", f"members={MEMBERS}",
        "unit_samples=7", f"workers={workers}", "decode_workers=1", "quarantine_ceiling=0.5", "-o", f"{folder}/{run}",
        *more,
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "CAPTIONERS_FAULT": fault}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    """Wait for a start to end by itself and return its exit code and what it said."""
    _, said = process.communicate(timeout=LATEST_S)
    return process.returncode, said


def stored(folder, run):
    """How many units are stored."""
    return sum(1 for _ in Path(folder, run, "ledger").glob("*/*.json"))


def kill_after(process, folder, run, units, delay):
    """Kill a start with SIGKILL, `delay` seconds after it has stored so many units more; say whether it was killed."""
    goal, latest = stored(folder, run) + units, time.monotonic() + LATEST_S
    while process.poll() is None and stored(folder, run) < goal:
        assert time.monotonic() < latest, "the run does not get on"
        time.sleep(0.005)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    code, said = finish(process)
    assert code in (0, -signal.SIGKILL) or "set aside" in said, said
    return code == -signal.SIGKILL


def to_the_end(begin, folder, run):
    """Let a start end by itself; where kills set a shard aside, try it again as `retry --failed` does.

    Three kills at random can meet one shard before it has stored anything. Nobody can tell that from a shard that
    kills, so that setting it aside is right: nothing is lost, and the run says what to do.
    """
    code, said = finish(begin())
    if "is set aside" in said or "set aside: " in said:
        assert code == 2 and "captioners retry" in said, said
        assert clear_failed(RunDir(f"{folder}/{run}")) >= 1
        code, said = finish(begin())
    assert code == 0, said


def kill_at_random(folder, run, *, kills, units, seed=0, workers=(1,), say=lambda _: None):
    """Start and kill `kills` times, each after about `units` units, then let it end; return how often it was killed."""
    generator = random.Random(seed)
    killed = 0
    for number in range(kills):
        process = start(folder, run, workers=workers[number % len(workers)])
        killed += kill_after(process, folder, run, generator.randint(1, units), generator.random() * 0.3)
        say(f"kill {number + 1}: {stored(folder, run)} units are stored")
    to_the_end(lambda: start(folder, run, workers=workers[0]), folder, run)
    return killed


def compare(folder, run, whole):
    """Check a run against an undisturbed one: every unit, digests, bytes, sums."""
    assert content(f"{folder}/{run}") == content(f"{folder}/{whole}")
    assert sums(f"{folder}/{run}") == sums(f"{folder}/{whole}")
    assert RunDir(f"{folder}/{run}").captions().equals(RunDir(f"{folder}/{whole}").captions())


def prepare(folder, shards, samples):
    """Write the shards, some pictures broken, and caption them without interruption."""
    write_shards(f"{folder}/shards", shards=shards, samples=samples, broken={5, samples, shards * samples - 1})
    code, said = finish(start(folder, "whole"))
    assert code == 0, said
