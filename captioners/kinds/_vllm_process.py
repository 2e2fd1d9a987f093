"""One process of vLLM as its parent sees it: started, asked, and ended with everything that it started."""

import io
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image

from captioners.core.errors import EngineLostError
from captioners.images.decode_process import receive, send

_PROGRAM = Path(__file__).with_name("vllm_worker.py")
_NO_VLLM = "No module named 'vllm'"


class VllmProcess:
    """vLLM, running.

    Args:
        python: of its environment. settings: arguments of its `LLM`. device: cuda:N chooses one GPU; else all are its.
        timeout_s: how long it may be silent when something was asked.

    Raises:
        EngineLostError: it did not start.
    """

    def __init__(self, python: str, settings: Mapping[str, Any], device: str, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._popen: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603  # the recipe's Python, our program
            [python, str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            bufsize=0,  # so that waiting for an answer can be told from reading it
            env=_environment(device),
            cwd=tempfile.gettempdir(),  # not to find our modules by accident
            process_group=0,  # it and all that it starts end together, and the terminal's Ctrl-C is ours
        )
        pipes: Any = (self._popen.stdin, self._popen.stdout)
        self._in, self._out = io.BufferedWriter(pipes[0]), pipes[1]
        try:
            with self._dying():
                send(self._in, dict(settings))
            self.about = self._answer("start")
            """What it says of itself: version, device, dtype."""
        except BaseException:
            self.end()
            raise

    def ask(self, asked: Sequence[tuple[Mapping[str, Any], Image.Image]]) -> list[dict[str, Any]]:
        """Return what it answers to each (prompt and params, picture); raise EngineLostError if it died or hangs."""
        with self._dying():
            for header, image in asked:
                send(self._in, {**header, "size": image.size}, image.tobytes())
            send(self._in, {"go": True})
        answers: list[dict[str, Any]] = self._answer(f"caption {len(asked)} images")["answers"]
        return answers

    def end(self) -> None:
        """Kill it and whatever it started; it holds nothing worth a farewell."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        with suppress(OSError):
            self._in.close()
        self._out.close()
        self._said.close()

    def _answer(self, what: str) -> dict[str, Any]:
        latest = time.monotonic() + self._timeout_s
        while not select.select([self._out], [], [], min(1.0, self._timeout_s))[0]:
            if time.monotonic() > latest:
                raise EngineLostError(f"vLLM did not {what} within {self._timeout_s:g} s; it was ended")
        with self._dying():
            return receive(self._out)

    @contextmanager
    def _dying(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionResetError):
            code = self._popen.wait()
            raise EngineLostError(f"vLLM ended ({_how(code)}): {self._last_words()}") from None

    def _last_words(self) -> str:
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - (1 << 16)))
        lines = [line.strip() for line in self._said.read().decode("utf-8", "replace").splitlines() if line.strip()]
        told = [line for line in lines if "Error" in line and not line.startswith("File")]
        said = (told or lines or ["it said nothing"])[-1]
        advice = "; name the Python that has it (python:), `make vllm` builds one" if _NO_VLLM in said else ""
        return said[-300:] + advice


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _environment(device: str) -> dict[str, str]:
    """Return this process's environment without what is only for its own Python, and with one GPU if one is meant."""
    found = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    _, colon, number = device.partition(":")
    if device.startswith("cuda") and colon:
        seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        found["CUDA_VISIBLE_DEVICES"] = seen[int(number)] if int(number) < len(seen) else number
    return found
