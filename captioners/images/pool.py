"""Decode pictures in processes of their own, ahead of who asks, in order, and never more than so many bytes ahead.

A picture that kills its process (a fault in a codec, memory) takes no run with it: the process is started anew, the
picture is tried once more, then given back as an ImageError like any other that cannot be read.
"""

import fcntl
import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Self, TypeVar, get_args

from PIL import Image

from captioners.core.errors import CaptionersError, ImageError, InterruptedRunError, UserError
from captioners.images.augment import View
from captioners.images.decode import MAX_PIXELS, AnyProfile, Picture
from captioners.images.decode_process import receive, receive_bytes, send, setup
from captioners.images.fast import check_profile, picture_of
from captioners.images.fit import Fit
from captioners.images.window import AbandonedError, Window

T = TypeVar("T")
Result = Picture | ImageError

MAX_BYTES = 256 << 20
"""Compressed and decoded bytes in flight, by default."""

_CRASHES = 10
"""Pictures in a row that killed their process, after which it is not the pictures."""
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "from captioners.images.decode_process import main; main(int(sys.argv[1]), sys.argv[2])"
)


class DecodePool:
    """`workers` decode processes, started when the first picture comes; 0 decodes in line, unprotected.

    `fit` brings pictures to a captioner's size in the process; `Picture.width` and `height` stay the photo's own.
    `max_bytes` bounds what `map` has pulled and not yet given out; one picture may exceed it alone.
    """

    def __init__(
        self,
        workers: int,
        max_bytes: int = MAX_BYTES,
        profile: AnyProfile = "upright",
        max_pixels: int = MAX_PIXELS,
        fit: Fit | None = None,
    ) -> None:
        if profile not in get_args(AnyProfile):
            raise UserError(f"no decode profile is named {profile!r}: it is one of {', '.join(get_args(AnyProfile))}")
        check_profile(profile)
        self._max_bytes, self._profile, self._max_pixels, self._fit = max_bytes, profile, max_pixels, fit
        self._setup = setup(profile, max_pixels, fit)
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._processes: set[_Process] = set()
        self._windows: set[Window] = set()
        self._crashes = 0
        self._closed = False
        # Daemons: a program that forgets to close must still be able to end; its processes then see their stdin end.
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def map(
        self,
        items: Iterable[T],
        data: Callable[[T], bytes],
        name: Callable[[T], str] = lambda _: "<bytes>",
        view: Callable[[T], View | None] = lambda _: None,
    ) -> Iterator[tuple[T, Result]]:
        """Yield each item with its picture, or with the ImageError that says why there is none; in the items' order.

        With a `view`, a picture is cropped at random to the pool's `fit`, not fitted whole. Items are pulled in the
        caller's thread, when it asks for the next picture. Reasons are those of `read_image`, `too_narrow` (of `fit`)
        and `crashed`. Raises CaptionersError when processes cannot be started or keep dying.
        """
        if self._closed:
            raise ValueError("the pool is closed")
        if not self._threads:
            yield from ((item, self._in_line(data(item), name(item), view(item))) for item in items)
            return
        window = Window(self._max_bytes, self._fit)
        with self._lock:
            self._windows.add(window)
        waiting: deque[tuple[T, _Task]] = deque()
        source, ended = iter(items), False
        try:
            while True:
                pulled = 0
                # While the next picture is ready, the store grows slowly, so that nobody waits until it is full.
                while (
                    not ended
                    and window.has_room()
                    and not (waiting and waiting[0][1].future.done() and pulled > len(self._threads))
                ):
                    try:
                        item = next(source)
                    except StopIteration:
                        ended = True
                        break
                    task = _Task(window, data(item), name(item), view(item))
                    task.number = window.reserve(len(task.data))
                    waiting.append((item, task))
                    self._tasks.put(task)
                    pulled += 1
                if not waiting:
                    return
                item, task = waiting.popleft()
                result = task.future.result()
                window.release(task.number)
                yield item, result
        finally:
            window.close()
            with self._lock:
                self._windows.discard(window)

    def close(self) -> None:
        """End all processes and threads; what was in flight is dropped."""
        with self._lock:
            self._closed = True
            for window in self._windows:
                window.close()
            for process in self._processes:
                process.kill()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _in_line(self, data: bytes, name: str, view: View | None) -> Result:
        try:
            return picture_of(data, self._profile, self._max_pixels, name, self._fit, view)
        except ImageError as error:
            return error

    def _serve(self) -> None:
        """Hand tasks to one process after the other, one at a time; runs in a thread of its own."""
        process: _Process | None = None
        while (task := self._tasks.get()) is not None:
            if task.window.closed:
                continue
            try:
                for last in (False, True):
                    process = process or self._start()
                    try:
                        result = process.decode(task)
                        break
                    except (EOFError, OSError):
                        self._end(process)
                        process = None
                        if last:
                            result = self._crashed(task.name)
                if not isinstance(result, ImageError) or result.reason != "crashed":
                    self._crashes = 0
                task.future.set_result(result)
            except BaseException as error:
                # Also when nobody wants the picture any more: the process would wait for ever to be rid of it.
                if process is not None:
                    self._end(process)
                    process = None
                task.future.set_exception(error)
        if process is not None:
            self._end(process)

    def _start(self) -> "_Process":
        with self._lock:
            if self._closed:
                raise AbandonedError
            process = _Process(self._setup)
            self._processes.add(process)
        try:
            process.wait_ready()
        except BaseException:
            self._end(process)
            raise
        return process

    def _end(self, process: "_Process") -> None:
        process.end()
        with self._lock:
            self._processes.discard(process)

    def _crashed(self, name: str) -> ImageError:
        if self._closed:
            raise AbandonedError
        self._crashes += 1
        if self._crashes >= _CRASHES:
            raise CaptionersError(
                f"{self._crashes} decode processes in a row ended while decoding, the last at {name}; "
                "is memory short? run again with fewer decode workers"
            )
        return ImageError(f"{name}: decoding it ended the decode process, twice; look at the file", "crashed")


@dataclass
class _Task:
    """One picture on its way."""

    window: Window
    data: bytes
    name: str
    view: View | None
    number: int = 0
    future: "Future[Result]" = field(default_factory=Future)


class _Process:
    """One decode process as its parent sees it."""

    def __init__(self, options: str) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        # A group of its own: the terminal's Ctrl-C does not reach it, not even while it starts.
        self._popen = subprocess.Popen(  # noqa: S603  # ourselves
            [sys.executable, "-c", _PROGRAM, str(os.getpid()), options, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=os.environ | threads,
            process_group=0,
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._in: Any = self._popen.stdin
        self._out: Any = self._popen.stdout
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # only faster
                for pipe in (self._in, self._out):
                    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)

    def wait_ready(self) -> None:
        try:
            receive(self._out)
        except EOFError:
            self._popen.wait()
            self._said.seek(0)
            lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
            said = lines[-1] if lines else f"exit code {self._popen.returncode}"
            raise CaptionersError(f"a decode process could not be started: {said}") from None

    def decode(self, task: _Task) -> Result:
        send(self._in, {"name": task.name, "view": task.view and task.view.to_json()}, task.data)
        header = receive(self._out)
        if "no_memory" in header:
            raise InterruptedRunError(
                f"{task.name}: no memory was left to decode it; free some, or lower decode_workers and max_pixels, "
                "and run the same command again"
            )
        if "internal" in header:
            raise CaptionersError(f"{task.name}: a decode process failed: {header['internal']}")
        task.window.admit(task.number, header["bytes"])
        if "reason" in header:
            return ImageError(header["error"], header["reason"])
        pixels = receive_bytes(self._out, header["bytes"])
        image = Image.frombytes("RGB", tuple(header["size"]), pixels)
        return Picture(image, header["sha256"], task.name, header["width"], header["height"])

    def kill(self) -> None:
        self._popen.kill()

    def end(self) -> None:
        self._popen.kill()  # it holds nothing worth a farewell
        self._popen.wait()
        with suppress(OSError):  # what was not sent yet has nowhere to go
            self._in.close()
        self._out.close()
        self._said.close()
