"""The kinds `vllm` and `endpoint` with real vLLM on this CPU: its offline engine, and `vllm serve` on loopback.

What needs vLLM is skipped where its environment is missing; `make vllm` builds it.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
import torch

import captioners
from captioners.core.errors import CaptionersError, EngineLostError, UserError
from captioners.core.run_dir import RunDir
from captioners.core.seeds import Stream
from captioners.decoding.values import Beam, Sample
from captioners.jobs.generate.job import generate
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.kinds import vllm_worker
from captioners.kinds.captioner import Captioner, Request
from captioners.kinds.endpoint_options import EndpointOptions
from captioners.kinds.transformers_options import TransformersOptions
from captioners.kinds.vllm_options import VllmOptions
from captioners.text.flags import flags_of
from tests.kinds import tiny_models
from tests.kinds.tiny_models import pictures

BIN = Path(captioners.__file__).parent.parent / ".vllm-venv" / "bin"
real = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not (BIN / "vllm").exists(), reason="no .vllm-venv here; `make vllm` builds it"),
]
LONGEST = 12
ENGINE = {"max_model_len": 64, "enforce_eager": True, "distributed_executor_backend": "uni"}
# A cache of 1 GB, threads not bound to cores that others use.
SMALL = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
SAMPLE = Sample(top_p=0.9, min_tokens=2)
GREEDY = Beam(width=1, min_tokens=0)
PROMPT = "a red cat"


@pytest.fixture(scope="module", autouse=True)
def _small():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_models.write_blip2(tmp_path_factory.mktemp("models") / "blip2")


def options(folder, **other):
    given = {"python": str(BIN / "python"), "engine": ENGINE, "max_tokens": LONGEST, "timeout_s": 900, **other}
    return VllmOptions(model=str(folder), **given)


@pytest.fixture(scope="module")
def engine(folder):
    captioner = options(folder).load("cpu", "fp32")
    captioner.open()
    yield captioner
    captioner.close()


@pytest.fixture(scope="module")
def served(folder, tmp_path_factory):
    """A `vllm serve`: (process, address)."""
    here = tmp_path_factory.mktemp("serve")
    (here / "chat.jinja").write_text("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(BIN / "vllm", "serve", folder, "--served-model-name", "tiny", "--dtype", "float32", "--enforce-eager"),
        *("--max-model-len", "64", "--host", "127.0.0.1", "--port", str(port)),
        *("--chat-template", here / "chat.jinja", "--distributed-executor-backend", "uni"),
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (here / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=here, env=environment, process_group=0)
    address, latest = f"http://127.0.0.1:{port}/v1", time.monotonic() + 1200
    try:
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None and time.monotonic() < latest, (here / "log").read_text()[-2000:]
            time.sleep(1)
        yield process, address
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def endpoint(address, **other):
    captioner = EndpointOptions(base_url=address, model="tiny", server="vllm", max_tokens=LONGEST, **other).load("", "")
    captioner.open()
    return captioner


def requests(decoding=SAMPLE, draws=1, count=3, prompt=PROMPT, **how):
    return [
        Request(index=n, image=image, stream=Stream(0, str(n) * 64, "m"), draws=draws, decoding=decoding, prompt=prompt,
                **how)
        for n, image in enumerate(pictures(count))
    ]  # fmt: skip


def said(captioner, asked):
    return {(r.index, r.draw): r for r in captioner.caption(asked)}


def texts(captioner, asked):
    return {place: result.text for place, result in said(captioner, asked).items()}


@pytest.fixture(scope="module")
def plainly(folder):
    """The same model through transformers: an answer that vLLM has no part in."""
    captioner = TransformersOptions(model=str(folder), max_tokens=LONGEST).load("cpu", "fp32")
    captioner.open()
    return captioner


@pytest.mark.parametrize("_", [pytest.param(0, marks=real)])
class TestOfflineEngine:
    def test_greedy_captions_are_those_of_transformers(self, _, engine, plainly):
        torch.set_num_threads(1)
        found, expected = said(engine, requests(GREEDY)), said(plainly, requests(GREEDY))
        assert found.keys() == expected.keys()
        for place, result in found.items():
            assert (result.text, result.num_tokens, result.finish) == (
                expected[place].text, expected[place].num_tokens, expected[place].finish,
            )  # fmt: skip
            assert result.logprob == pytest.approx(expected[place].logprob, abs=1e-3)

    def test_each_draw_has_its_own_seed_whatever_it_is_made_together_with(self, _, engine):
        """Of grade best-effort only the seeds are a promise; that the texts agree, too, is seen on this machine."""
        assert engine.info.grade == "best-effort"
        together = texts(engine, requests(draws=3))
        assert len(set(together.values())) == 9
        for draw in range(3):
            alone = texts(engine, requests(draws=1, first_draw=draw, count=2))
            assert alone == {(n, draw): together[n, draw] for n in range(2)}
        again = texts(engine, requests(draws=3, attempt=1))
        assert not set(again.values()) & set(together.values())

    def test_a_caption_that_ends_counts_its_tokens_without_the_end(self, _, engine):
        for result in said(engine, requests(draws=8)).values():
            assert result.finish in ("eos", "length")
            assert result.num_tokens == len(result.text.split())
            assert 2 <= result.num_tokens <= LONGEST and result.logprob < 0
            assert (result.num_tokens < LONGEST) == (result.finish == "eos")

    def test_loops_are_stopped_and_flagged(self, _, engine, folder):
        loops = options(folder, repetition_detection={"max_pattern_size": 4, "min_count": 3}).load("cpu", "fp32")
        loops._process = engine._process  # one vLLM is enough: what is to be stopped, each request says
        found = said(loops, requests(GREEDY))
        stopped = [result for result in found.values() if result.finish == "repetition"]
        assert stopped and all(result.num_tokens < LONGEST for result in stopped)
        assert "repetitive" in flags_of(stopped[0].text, stopped[0].raw_text, stopped[0].finish)
        assert loops.info.meaning != engine.info.meaning

    def test_what_is_refused_of_one_request_is_its_own_error(self, _, engine):
        asked = requests(draws=2)
        long = requests(draws=2, count=1, prompt="cat " * 80)[0]
        mixed = [*asked, Request(**{**long.__dict__, "index": 9})]
        found = said(engine, mixed)
        assert {place: r.text for place, r in found.items() if place[0] != 9} == texts(engine, asked)
        assert [found[9, draw].finish for draw in range(2)] == ["error"] * 2
        assert "64" in found[9, 0].raw_text and found[9, 0].text == ""

    def test_it_says_what_it_is(self, _, engine, plainly):
        kind: Captioner = engine
        assert kind.info.weights_digest == plainly.info.weights_digest
        assert kind.info.num_parameters == plainly.info.num_parameters
        assert kind.device_type == "elsewhere" and kind.fit is None
        environment = kind.environment
        assert environment["dtype"] == "float32" and environment["device"] == "cpu" and environment["vllm"]

    def test_one_that_dies_is_started_anew_and_asked_the_same_again(self, _, engine):
        expected = texts(engine, requests(draws=2))
        victim = engine._process._popen.pid
        family = [child.pid for child in psutil.Process(victim).children(recursive=True)]
        os.kill(victim, signal.SIGKILL)
        assert texts(engine, requests(draws=2)) == expected
        assert engine._process._popen.pid != victim
        assert not any(psutil.pid_exists(pid) for pid in [victim, *family]), "what it had started is gone, too"

    def test_one_that_stays_dead_is_lost_and_the_unit_stays_open(self, _, engine, folder, monkeypatch):
        monkeypatch.setattr(engine, "_options", options(folder, restarts=0))
        os.kill(engine._process._popen.pid, signal.SIGKILL)
        with pytest.raises(EngineLostError, match=r"vLLM ended \(signal SIGKILL\)") as raised:
            texts(engine, requests())
        assert raised.value.exit_code == 75


@pytest.mark.parametrize("_", [pytest.param(0, marks=real)])
class TestServer:
    def test_greedy_captions_are_those_of_transformers(self, _, served, plainly):
        torch.set_num_threads(1)
        captioner = endpoint(served[1])
        found, expected = said(captioner, requests(GREEDY)), said(plainly, requests(GREEDY))
        captioner.close()
        assert {place: (r.text, r.num_tokens, r.finish) for place, r in found.items()} == {
            place: (r.text, r.num_tokens, r.finish) for place, r in expected.items()
        }

    def test_draws_have_seeds_and_a_refusal_is_one_sample_s(self, _, served):
        captioner = endpoint(served[1])
        together = texts(captioner, requests(draws=3))
        assert len(set(together.values())) == 9
        assert texts(captioner, requests(draws=1, first_draw=2)) == {(n, 2): together[n, 2] for n in range(3)}
        (refused,) = said(captioner, requests(count=1, prompt="cat " * 80)).values()
        captioner.close()
        assert refused.finish == "error" and "status 400" in refused.raw_text

    def test_a_run_through_it_is_whole(self, _, served, tmp_path):
        member = {"kind": "endpoint", "base_url": served[1], "model": "tiny", "server": "vllm", "max_tokens": LONGEST}
        recipe = GenerateRecipe.model_validate(
            {
                "source": {"kind": "drawn", "split": "caption", "count": 6},
                "members": [{"captioner": member, "prompt": PROMPT, "draws": 2, "decoding": {"top_p": 0.9}}],
                "rules": {"refuse": []},
                "output": str(tmp_path / "run"),
                "decode_workers": 0,
            }
        )
        assert generate(recipe).stored["tiny.top_p-0.9"].rows == 12
        run = RunDir(tmp_path / "run")
        assert all(row["text"] and row["num_tokens"] >= 5 for row in run.captions().to_pylist())
        assert next(iter(run.entries())).environment["server"] == "vllm"

    def test_one_that_is_killed_is_lost_and_the_unit_stays_open(self, _, served):
        captioner = endpoint(served[1], retries=1, backoff_s=0.1)
        results = captioner.caption(iter(requests(draws=2)))
        next(results)
        os.killpg(served[0].pid, signal.SIGKILL)
        served[0].wait()
        with pytest.raises(EngineLostError, match="no connection"):
            texts(captioner, requests(draws=2))
        results.close()
        captioner.close()


@pytest.mark.parametrize("_", [pytest.param(0, marks=real)])
def test_it_ends_with_its_parent(_, folder):
    """However the parent ends: an engine that stays behind would keep a GPU."""
    code = (
        "import sys; sys.path[:] = sys.argv[2:]; from captioners.kinds.vllm_options import VllmOptions;"
        "import captioners.kinds._vllm_process as p;"
        "p.VllmProcess._answer = lambda self, what: print(self._popen.pid, flush=True) or __import__('time').sleep(60);"
        f"VllmOptions(model=sys.argv[1], python={str(BIN / 'python')!r}).load('cpu', 'fp32').open()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *sys.path], stdout=subprocess.PIPE, text=True
    ) as parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        time.sleep(2)
        assert worker.is_running()
        parent.kill()
        parent.wait()
        worker.wait(20)


def test_a_python_without_vllm_is_said(folder):
    captioner = options(folder, python=sys.executable, restarts=0).load("cpu", "fp32")
    with pytest.raises(EngineLostError, match=r"No module named 'vllm'; name the Python that has it \(python:\)"):
        captioner.open()
    with pytest.raises(CaptionersError, match="not open"):
        next(captioner.caption([]))


def test_one_that_does_not_answer_in_time_is_ended(folder):
    with pytest.raises(EngineLostError, match=r"did not start within 0\.001 s"):
        options(folder, python=sys.executable, timeout_s=0.001).load("cpu", "fp32").open()


def test_what_is_asked_for_is_checked_before_it_is_started(folder):
    captioner = options(folder).load("cpu", "fp32")
    assert "max_tokens 13 is more" in captioner.accepts(Sample(max_tokens=13))
    with pytest.raises(UserError, match="holds no safetensors"):
        options(folder.parent).load("cpu", "fp32")


def test_meaning_is_what_changes_captions(folder):
    def meaning(**other):
        return options(folder, **other).load("cpu", "fp32").info.meaning

    assert meaning() == meaning(python="python", engine={}, batch=3, timeout_s=1.0)
    others = [{"max_tokens": 9}, {"quantization": "fp8"}, {"processor": {"a": 1}}, {"repetition_detection": {}}]
    assert all(meaning() != meaning(**other) for other in others)


def test_the_worker_s_file_needs_nothing_of_ours():
    """It runs where captioners is not installed, and where its neighbours' names (transformers) are packages."""
    source = Path(vllm_worker.__file__).read_text()
    assert "from captioners" not in source and "import captioners" not in source
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); from importlib.util import find_spec;"
    code += "print(find_spec('transformers').origin)"
    done = subprocess.run(
        [sys.executable, "-c", code, vllm_worker.__file__], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(vllm_worker.__file__).parent)},
    )  # fmt: skip
    assert "kinds" not in done.stdout
