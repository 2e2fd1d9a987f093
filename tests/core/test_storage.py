"""A place, on disk and in an object store: whole files or none, one winner of many, no way out of the folder."""

import errno
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.core.storage import Place

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["local", "file", "memory"])
def place(request, tmp_path):
    urls = {"local": str(tmp_path), "file": f"file://{tmp_path}", "memory": f"memory://{uuid.uuid4().hex}/run"}
    return Place(urls[request.param])


def test_what_is_written_is_read_whole_or_in_part(place):
    place.write("a/b.bin", b"0123456789")
    assert place.read("a/b.bin") == b"0123456789"
    assert place.read("a/b.bin", 3, 4) == b"3456" and place.read("a/b.bin", 8) == b"89"
    place.write("a/b.bin", b"new")
    assert place.read("a/b.bin") == b"new"
    assert place.exists("a/b.bin") and not place.exists("a/c.bin")


def test_create_makes_a_file_once(place):
    assert place.create("x", b"first") is True
    assert place.create("x", b"second") is False
    assert place.read("x") == b"first"


def test_names_are_sorted_complete_and_leave_out_unfinished_writes(place):
    for name in ("l/b/2", "l/a/1", "l/c", "other/1", "l/a/.0.part"):
        place.write(name, b"x")
    assert list(place.names("l")) == ["l/a/1", "l/b/2", "l/c"]
    assert list(place.names("nothing")) == []


def test_what_is_not_there_is_said_and_removing_it_is_no_mistake(place):
    with pytest.raises(NotFoundError, match="no such file"):
        place.read("nothing")
    place.write("x", b"")
    place.remove("x"), place.remove("x")
    assert not place.exists("x")


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", ""])
def test_no_name_leads_out_of_the_folder(place, name):
    for ask in (place.read, place.exists, place.remove, lambda name: place.write(name, b""), place.at):
        with pytest.raises(UserError, match="is no name within"):
            ask(name)


RACE = """
import os, sys
from captioners.core.storage import Place
place, me, won = Place(sys.argv[1]), sys.argv[2], []
for n in range(60):
    os.mkdir(place.at(f"at-{n}-{me}"))
    while not all(os.path.exists(place.at(f"at-{n}-{letter}")) for letter in "abcd"):
        os.sched_yield()
    if place.create(f"unit-{n}", (me * 4096).encode()):
        won.append(n)
print(me, *won)
"""


def race(folder, links=True):
    """Let four processes create the same sixty files, side by side; return letter -> numbers that it made."""
    program = RACE
    if not links:
        program = "import errno, os\ndef link(*_):\n    raise OSError(errno.EPERM, 'no links')\nos.link = link\n" + RACE
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(folder), letter], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for letter in "abcd"
    ]
    won = {}
    try:
        for process in processes:
            letter, *numbers = process.communicate(timeout=120)[0].split()
            assert process.returncode == 0
            won[letter] = set(map(int, numbers))
    finally:  # without one of them, the others wait for ever
        for process in processes:
            process.kill()
            process.wait()
    return won


@pytest.mark.parametrize("links", [True, False])
def test_of_many_processes_one_makes_each_file_and_it_is_complete(tmp_path, links):
    won = race(tmp_path, links)
    assert sorted(number for numbers in won.values() for number in numbers) == list(range(60))
    assert sum(bool(numbers) for numbers in won.values()) > 1, "they met"
    for letter, numbers in won.items():
        for number in numbers:
            assert (tmp_path / f"unit-{number}").read_bytes() == letter.encode() * 4096
    assert not list(tmp_path.glob(".*")), "nothing unfinished is left"


@pytest.mark.parametrize("action", ["write", "create"])
def test_a_disk_that_is_full_leaves_the_old_file_and_nothing_half_written(tmp_path, monkeypatch, action):
    place = Place(tmp_path)
    place.write("x", b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        getattr(place, action)("x" if action == "write" else "y", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"] and place.read("x") == b"old"


def test_an_error_that_is_not_about_links_is_raised(tmp_path, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", broken)
    with pytest.raises(OSError, match="Input/output error"):
        Place(tmp_path).create("x", b"")
    assert list(tmp_path.iterdir()) == []
