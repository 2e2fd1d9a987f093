"""`torchrun --nproc-per-node 2 -m captioners ...`: the same captioner, the same bits after kill -9, and one voice.

The two processes are started as torchrun starts them, by its environment, so that each one's exit code and words are
seen; one run goes through torchrun itself.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from captioners.models.weights import read_weights
from tests.models.tiny import tiny_config

ROOT = Path(__file__).parents[2]
STEPS = 16
DRAWN = {"kind": "drawn", "split": "pretrain", "count": 40, "captions": 2}
RECIPE = {
    "job": "pretrain",
    "model": tiny_config(context=24),
    "tokenizer": {"sentencepiece": {"vocab_size": 312}},
    "source": DRAWN,
    "steps": STEPS,
    "batch_size": 4,
    "lr": 1e-5,
    "warmup": 0,
    "device": "cpu",
    "checkpoint_every": 2,
    "log_every": 1,
}


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _environment(**more):
    # One thread, and no waiting in circles: the two share what cores there are with other tests.
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONPATH": str(ROOT), **more}


class Two:
    """Two processes of one run."""

    def __init__(self, folder, *arguments, start=("-m", "captioners")):
        port, command = str(_free_port()), [sys.executable, *start, *arguments]
        same = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        self.running = [
            subprocess.Popen(
                command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=_environment(**same, RANK=str(rank), LOCAL_RANK=str(rank)),
            )
            for rank in range(2)
        ]  # fmt: skip

    def end(self, timeout=300):
        """Return (exit code, standard output, standard error) of each."""
        try:
            told = [process.communicate(timeout=timeout) for process in self.running]
        finally:
            for process in self.running:
                process.kill()
        return [(process.returncode, *said) for process, said in zip(self.running, told, strict=True)]

    def signal_after(self, folder, number, step):
        """Send a signal to both as soon as a step is recorded."""
        latest = time.monotonic() + 300
        file = folder / "metrics.jsonl"
        while not (file.is_file() and len(file.read_text().splitlines()) >= step):
            assert time.monotonic() < latest and all(p.poll() is None for p in self.running), self.end()
            time.sleep(0.005)
        for process in self.running:
            process.send_signal(number)


def _written(folder, **changes):
    folder.mkdir(exist_ok=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, **changes}))
    return folder


def _weights(run):
    return read_weights(run / "captioner" / "open_clip_model.safetensors")


def _losses(run):
    return [json.loads(line)["total"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def _equal(one, other):
    one, other = _weights(one), _weights(other)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A run in memory of one process and of two, and a streamed one of two."""
    folder = _written(tmp_path_factory.mktemp("ranks"))
    one = [sys.executable, "-m", "captioners", "pretrain", "recipe.yaml", "output=one"]
    subprocess.run(one, cwd=folder, check=True, env=_environment(), stdout=subprocess.DEVNULL)
    launched = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]
    launched += [str(_free_port()), "-m", "captioners", "pretrain", "recipe.yaml", "output=two"]
    said = subprocess.run(launched, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    (folder / "said.txt").write_text(said.stdout)
    _shards(folder)
    ended = Two(folder, "pretrain", "stream.yaml", "output=stream").end()
    assert [code for code, *_ in ended] == [0, 0], ended
    assert ended[1][1] == "", "the second process is silent"
    return folder


def _shards(folder):
    from captioners.data.drawn_source import DrawnOptions
    from tests.data.tars import write

    source = DrawnOptions(**{name: value for name, value in DRAWN.items() if name != "kind"}).open()
    samples = [sample for shard in source.shards() for sample in source.samples(shard)]
    (folder / "shards").mkdir()
    for number in range(4):
        ten = samples[10 * number : 10 * number + 10]
        members = {s.key: {"jpg": s.image, "txt": s.captions[0].encode()} for s in ten}
        write(folder / "shards" / f"{number:05d}.tar", members)
    changes = {
        "source": {"kind": "webdataset", "inputs": ["shards"]},
        "stream": {"block_shards": 1, "workers": 0},
    }
    (folder / "stream.yaml").write_text(yaml.safe_dump({**RECIPE, **changes}))


@pytest.mark.slow
def test_two_processes_make_the_captioner_that_one_makes(home):
    one, two = _weights(home / "one"), _weights(home / "two")
    assert one.keys() == two.keys()
    assert all(torch.allclose(one[name], two[name], rtol=0, atol=1e-6) for name in one)
    assert not all(
        torch.allclose(one[name], tensor, rtol=0, atol=1e-6) for name, tensor in _weights(home / "stream").items()
    ), "the control"
    assert _losses(home / "two") == pytest.approx(_losses(home / "one"), rel=1e-5)
    assert (home / "said.txt").read_text().count("written: ") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two", "stream"])
def test_killed_runs_of_two_go_on_to_the_same_bits(name, home):
    what = ("pretrain", "recipe.yaml" if name == "two" else "stream.yaml", f"output=killed-{name}")
    running, run = Two(home, *what), home / f"killed-{name}"
    running.signal_after(run, signal.SIGKILL, 3)
    assert [code for code, *_ in running.end()] == [-signal.SIGKILL] * 2
    assert not (run / "captioner").exists()
    ended = Two(home, *what).end()
    assert [code for code, *_ in ended] == [0, 0], ended
    assert "going on after step " in ended[0][1]
    assert _equal(run, home / name)
    assert _losses(run) == _losses(home / name)
    assert not _equal(home / "two", home / "stream"), "the control"


@pytest.mark.slow
def test_a_stopped_run_says_so_once_and_a_streamed_one_goes_on_with_as_many_processes(home):
    running = Two(home, "pretrain", "stream.yaml", "output=stopped")
    running.signal_after(home / "stopped", signal.SIGTERM, 1)
    ended = running.end()
    assert [code for code, *_ in ended] == [75, 75], ended
    assert "run the same command again to go on" in ended[0][2]
    assert ended[1][1:] == ("", "")
    alone = [sys.executable, "-m", "captioners", "pretrain", "stream.yaml", "output=stopped"]
    said = subprocess.run(alone, cwd=home, env=_environment(), capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "stopped: was begun with processes 2, and is to go on with 1" in said.stderr


@pytest.mark.slow
def test_a_failure_of_one_ends_all_with_its_line_and_code(home):
    """Two mistakes: of the recipe, and of how the two share a batch."""
    for changes, said in (
        (["batch_size=none"], "batch_size"),
        (["batch_size=3", "output=odd"], "batch_size: 3 cannot be split evenly over 2 processes"),
    ):
        ended = Two(home, "pretrain", "recipe.yaml", *changes).end(timeout=120)
        assert [code for code, *_ in ended] == [1, 1], ended
        assert said in ended[0][2]
        assert ended[1][2] == "", ended


THREADS = """
import os, sys
from captioners.cli.main import run
code = run(sys.argv[1:])
tasks = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
print(sum("gloo" in task for task in tasks), "threads of gloo", file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="no /proc to see threads in")
@pytest.mark.parametrize(("changes", "code"), [(["output=thr"], 0), (["batch_size=3", "output=odd-thr"], 1)])
def test_no_thread_of_the_network_is_left_for_the_end_of_python(changes, code, home):
    """One that still lets go of a tensor when the interpreter is half gone aborts the process: exit code -6."""
    ended = Two(home, "pretrain", "recipe.yaml", "steps=2", *changes, start=("-c", THREADS)).end()
    assert [code for code, *_ in ended] == [code, code], ended
    assert all(said.endswith("0 threads of gloo\n") for *_, said in ended), ended
