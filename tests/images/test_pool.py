"""Decode processes: in order, bounded in bytes, without torch; no picture ends a run, no process stays behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioners.core.errors import CaptionersError, ImageError, InterruptedRunError, UserError
from captioners.images import pool as module
from captioners.images.decode import Picture, read_image
from captioners.images.fit import Fit
from captioners.images.pool import DecodePool
from captioners.images.window import AbandonedError, Window
from tests.images.pictures import encoded, jpeg, noise, png_claiming, quadrants


def identity(item):
    return item


def alive(pid):
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
        return text.rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(truth, seconds=30):
    end = time.monotonic() + seconds
    while not truth() and time.monotonic() < end:
        time.sleep(0.02)
    return truth()


def processes(pool):
    return [process._popen.pid for process in pool._processes]


@pytest.fixture
def crashing(monkeypatch):
    """Decode processes that die of the pictures named `dies`, and note each time that they tried."""

    def patch(tmp_path, how="os.kill(os.getpid(), signal.SIGKILL)", once=False):
        log = tmp_path / "tries"
        monkeypatch.setattr(
            module,
            "_PROGRAM",
            "import os, signal, sys; sys.path[:] = sys.argv[3:]\n"
            "from captioners.images import decode_process as ours\n"
            "read = ours.picture_of\n"
            "def fake(data, profile, max_pixels, name, *more):\n"
            f"    if name.startswith('dies'):\n"
            f"        open({str(log)!r}, 'a').write(name + '\\n')\n"
            f"        if not {once} or open({str(log)!r}).read().count(name + '\\n') < 2: {how}\n"
            "    return read(data, profile, max_pixels, name, *more)\n"
            "ours.picture_of = fake\nours.main(int(sys.argv[1]), sys.argv[2])\n",
        )
        return log

    return patch


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("fit", [None, Fit(96, 96)], ids=["whole", "fitted"])
def test_every_picture_comes_back_in_order_as_read_image_gives_it(workers, fit):
    good = [jpeg(noise(40 + 8 * n, 200 - 8 * n, seed=n), quality=60 + n) for n in range(12)]
    items = [*good, b"", b"no picture", good[0][: len(good[0]) // 2], png_claiming(20_000, 20_000), *good]
    with DecodePool(workers, fit=fit) as pool:
        found = list(pool.map(enumerate(items), data=lambda item: item[1], name=lambda item: f"item {item[0]}"))
    assert [item for item, _ in found] == list(enumerate(items))
    reasons = []
    for (number, data), result in found:
        try:
            expected = read_image(data, name=f"item {number}")
        except ImageError as error:
            assert (str(result), result.reason) == (str(error), error.reason)
            reasons.append(result.reason)
            continue
        image = fit(expected.image) if fit else expected.image
        assert np.array_equal(np.asarray(result.image), np.asarray(image))
        assert (result.sha256, result.source) == (expected.sha256, f"item {number}")
        assert (result.width, result.height) == (expected.width, expected.height)
    assert reasons == ["empty", "not_an_image", "truncated", "too_large"]


def test_profile_pixel_limit_and_fit_reach_the_processes():
    truncated = jpeg(noise())[:-400]
    line = encoded(Image.new("RGB", (20_000, 1)), "PNG")
    with DecodePool(1, profile="as_trained", max_pixels=160 * 120, fit=Fit(64, 64)) as pool:
        one, two, three = (result for _, result in pool.map([truncated, jpeg(noise(160, 128)), line], identity))
    assert np.array_equal(np.asarray(one.image), np.asarray(Fit(64, 64)(read_image(truncated, "as_trained").image)))
    assert two.reason == "too_large"
    assert three.reason == "too_large"
    with DecodePool(1, fit=Fit(5000, 5000)) as pool:
        ((_, result),) = pool.map([line], identity, name=lambda _: "a line")
    assert result.reason == "too_narrow"
    assert str(result).startswith("a line: too long and narrow")
    with pytest.raises(UserError, match="decode profile"):
        DecodePool(1, profile="sideways")


def test_a_missing_codec_keeps_its_reason():
    heic = b"\0\0\0\x18ftypheic" + bytes(100)
    with DecodePool(1) as pool:
        ((_, result),) = pool.map([heic], identity)
    with pytest.raises(ImageError) as caught:
        read_image(heic)
    assert result.reason == caught.value.reason


def test_a_process_and_its_parent_import_no_torch():
    code = (
        "import sys\nfrom captioners.images import pool\n"
        "receive = pool.receive\nheaders = []\n"
        "pool.receive = lambda file: headers.append(receive(file)) or headers[-1]\n"
        "with pool.DecodePool(1) as decode:\n    list(decode.map([b'x'], lambda item: item))\n"
        "print(headers[0]['ready'], headers[0]['torch'], 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", "False"]


# ------------------------------------------------------------------------------------------------- bytes in flight


class Counted:
    """Items that count how many were pulled."""

    def __init__(self, data, count):
        self.pulled, self._data, self._count = 0, data, count

    def __iter__(self):
        for _ in range(self._count):
            self.pulled += 1
            yield self._data


@pytest.mark.parametrize("fit", [None, Fit(96, 96)], ids=["whole", "fitted"])
def test_items_are_pulled_only_as_far_as_the_bytes_allow(fit):
    data = jpeg(noise(160, 120))
    each = len(data) + (96 * 96 * 3 if fit else 160 * 120 * 3)
    items = Counted(data, 200)
    most = 0
    with DecodePool(2, max_bytes=10 * each, fit=fit) as pool:
        for given, _ in enumerate(pool.map(items, identity)):
            # Before the first picture is known, its size is only expected.
            if given > 20:
                most = max(most, items.pulled - given - 1)
    assert items.pulled == 200
    assert 5 <= most <= 11


def test_one_picture_always_passes_however_small_the_limit():
    items = Counted(jpeg(noise(160, 120)), 6)
    with DecodePool(2, max_bytes=1) as pool:
        for given, (_, result) in enumerate(pool.map(items, identity)):
            assert isinstance(result, Picture)
            assert items.pulled == given + 1


def test_nothing_is_pulled_before_it_is_asked_for_and_no_more_after():
    items = Counted(jpeg(noise(160, 120)), 1000)
    with DecodePool(1, max_bytes=1 << 20) as pool:
        found = pool.map(items, identity)
        assert items.pulled == 0
        next(found)
        found.close()
        at_close = items.pulled
        assert at_close < 40
        # The pool serves on, and the next map owes nothing to the one that was left.
        assert len(list(pool.map([items._data] * 3, identity))) == 3
        assert items.pulled == at_close


def test_a_window_never_holds_more_than_its_bytes_and_one_picture(tmp_path):
    """Photos that compress far better than expected: what processes have decoded waits in them."""
    flat = encoded(Image.new("RGB", (1000, 1000), "red"), "PNG")
    assert len(flat) < 10_000  # 3 MB decoded
    held = []
    with DecodePool(3, max_bytes=7_000_000) as pool:
        for _ in pool.map([flat] * 30, identity):
            (window,) = pool._windows
            time.sleep(0.01)
            held.append(window._total)
    assert 3_000_000 < max(held) <= 7_000_000 + 3_000_000 + 30 * len(flat)


def test_who_is_next_never_waits_for_room():
    window = Window(100, None)
    first, second = window.reserve(1), window.reserve(1)
    window.admit(first, 10_000)
    window.release(first)
    window.admit(second, 10_000)
    third = window.reserve(1)
    window.close()
    with pytest.raises(AbandonedError):
        window.admit(third, 1)


# ------------------------------------------------------------------------------------------------- ends of processes


def test_a_picture_that_kills_its_process_is_tried_twice_and_then_given_back(tmp_path, crashing):
    log = crashing(tmp_path)
    names = ["a", "dies 1", "b", "c", "dies 2", "d"]
    with DecodePool(2) as pool:
        found = list(pool.map(names, lambda _: jpeg(quadrants()), name=identity))
    assert [name for name, _ in found] == names
    assert [isinstance(result, Picture) for _, result in found] == [not name.startswith("dies") for name in names]
    crashed = dict(found)["dies 1"]
    assert crashed.reason == "crashed"
    assert str(crashed).startswith("dies 1: decoding it ended the decode process, twice")
    assert sorted(log.read_text().splitlines()) == ["dies 1", "dies 1", "dies 2", "dies 2"]


def test_a_segfault_is_told_like_a_kill(tmp_path, crashing):
    crashing(tmp_path, how="import ctypes; ctypes.string_at(0)")
    with DecodePool(1) as pool:
        ((_, result),) = pool.map(["dies"], lambda _: b"x", name=identity)
    assert result.reason == "crashed"


def test_a_machine_short_of_memory_is_no_fault_of_the_picture(tmp_path, crashing):
    crashing(tmp_path, how="raise MemoryError")
    with DecodePool(1) as pool, pytest.raises(InterruptedRunError, match="dies: no memory was left to decode it"):
        list(pool.map(["dies"], lambda _: jpeg(quadrants()), name=identity))


def test_a_picture_whose_process_died_once_is_read_at_the_second_try(tmp_path, crashing):
    log = crashing(tmp_path, once=True)
    with DecodePool(1) as pool:
        ((_, result),) = pool.map(["dies"], lambda _: jpeg(quadrants()), name=identity)
    assert isinstance(result, Picture)
    assert log.read_text() == "dies\ndies\n"


def test_processes_killed_from_outside_are_replaced_and_nothing_is_lost():
    data = [jpeg(noise(seed=n)) for n in range(40)]
    with DecodePool(2, max_bytes=300_000) as pool:
        found = []
        for number, (_, result) in enumerate(pool.map(data, identity)):
            found.append(result.sha256)
            if number in (5, 20):
                os.kill(processes(pool)[0], signal.SIGKILL)
    assert found == [read_image(each).sha256 for each in data]


def test_processes_that_keep_dying_are_no_fault_of_the_pictures(tmp_path, crashing):
    crashing(tmp_path)
    names = [f"dies {n}" for n in range(50)]
    with DecodePool(2) as pool, pytest.raises(CaptionersError, match=r"in a row ended while decoding.*fewer"):
        list(pool.map(names, lambda _: b"x", name=identity))


def test_a_process_that_cannot_start_says_why(monkeypatch):
    monkeypatch.setattr(module, "_PROGRAM", "raise SystemExit('no such codec room')")
    with DecodePool(1) as pool, pytest.raises(CaptionersError, match="could not be started: no such codec room"):
        list(pool.map([b"x"], identity))


def test_closing_leaves_no_process_whatever_it_was_doing():
    pool = DecodePool(2, max_bytes=16 << 20)
    found = pool.map(Counted(jpeg(noise(640, 480)), 500), identity)
    next(found)
    wait_for(lambda: len(processes(pool)) == 2)
    pids = processes(pool)
    assert len(pids) == 2
    assert all(map(alive, pids))
    pool.close()
    assert not any(map(alive, pids))
    assert not any(thread.is_alive() for thread in pool._threads)
    with pytest.raises(ValueError, match="closed"):
        next(pool.map([b"x"], identity))
    found.close()


PARENT = """
import os, signal, sys, time
from captioners.images.pool import DecodePool
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
data = open(sys.argv[1], "rb").read()
def endless():
    while True:
        yield data
pool = DecodePool(2, max_bytes=2 << 20)
try:
    for number, _ in enumerate(pool.map(endless(), lambda item: item)):
        if number == 10:
            print(*[process._popen.pid for process in pool._processes], flush=True)
        time.sleep(0.005)
except KeyboardInterrupt:
    if sys.argv[2] == "close":
        pool.close()
        print("closed", flush=True)
    raise SystemExit(75)
"""


@pytest.mark.parametrize(("how", "code"), [("close", 75), ("forget", 75), ("kill", -9)])
def test_no_process_outlives_its_parent(tmp_path, how, code):
    (tmp_path / "a.jpg").write_bytes(jpeg(noise(640, 480)))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "a.jpg"), how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert pids
        assert all(map(alive, pids))
        if how == "kill":
            parent.kill()
        else:
            os.killpg(parent.pid, signal.SIGINT)  # as a terminal sends it
        out, error = parent.communicate(timeout=60)
    finally:
        parent.kill()
    assert parent.returncode == code
    assert (out, error) == ("closed\n" if how == "close" else "", "")
    assert wait_for(lambda: not any(map(alive, pids)))


def test_a_process_ignores_an_interrupt_of_its_own(tmp_path):
    with DecodePool(1) as pool:
        found = pool.map([jpeg(quadrants())] * 3, identity)
        next(found)
        (pid,) = processes(pool)
        os.kill(pid, signal.SIGINT)
        assert len(list(found)) == 2
        assert processes(pool) == [pid]


def test_a_process_ends_with_its_parent_even_if_someone_else_holds_its_stdin(tmp_path):
    """As a forked sibling would: the parent dies, the pipe stays open."""
    code = (
        "import os, subprocess, sys, time\nfrom captioners.images import pool\n"
        "decode = pool.DecodePool(1)\nfound = decode.map([b'x', b'y'], lambda item: item)\nnext(found)\n"
        "(process,) = decode._processes\n"
        "if os.fork() == 0:\n    os.close(1); os.close(2); time.sleep(20); os._exit(0)\n"
        "print(process._popen.pid, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    pid = int(json.loads(done.stdout))
    assert wait_for(lambda: not alive(pid), 10)
