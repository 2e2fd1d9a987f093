"""A place in a real S3 server: whole files or none, one winner of many; a server that fails for a while or for long."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from captioners.core import remote
from captioners.core.errors import NotFoundError, StorageError, UserError
from captioners.core.remote_file import BLOCK, RemotePath
from captioners.core.storage import Place
from tests import s3 as servers
from tests.s3 import Cut, Lose, Refuse

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(s3):
    return Place(f"{s3.url}/run")


def first(count, done, method="GET", name=""):
    """A rule that does something to the first requests of a kind, then lets all pass."""
    left = [count]

    def rule(asked):
        if asked.method == method and name in asked.path and left[0]:
            left[0] -= 1
            return done
        return None

    return rule


def test_what_is_written_is_read_whole_or_in_part(place, s3):
    place.write("a/b.bin", b"0123456789")
    assert s3.get("run/a/b.bin") == b"0123456789"
    assert place.read("a/b.bin") == b"0123456789"
    assert place.read("a/b.bin", 3, 4) == b"3456" and place.read("a/b.bin", 8) == b"89"
    assert place.read("a/b.bin", 8, 99) == b"89" and place.read("a/b.bin", 10, 5) == b""
    place.write("a/b.bin", b"new")
    assert place.read("a/b.bin") == b"new"
    place.write("empty", b"")
    assert place.read("empty") == place.read("empty", 0, 1) == b""
    assert place.exists("a/b.bin") and place.exists("empty") and not place.exists("a/c.bin") and not place.exists("a")
    with pytest.raises(NotFoundError, match=rf"s3://{s3.bucket}/run/nothing: no such file"):
        place.read("nothing")
    place.remove("a/b.bin"), place.remove("a/b.bin")
    assert s3.keys() == ["run/empty"]
    assert place.at("x/y") == f"s3://{s3.bucket}/run/x/y"


def test_names_are_those_of_the_store_now_and_not_of_an_earlier_listing(place, s3):
    for name in ("l/b/2", "l/a/1", "l/c", "other/1", "l/a/.0.part", "l/folder/"):
        s3.put(f"run/{name}", b"x")
    assert list(place.names("l")) == ["l/a/1", "l/b/2", "l/c"] and list(place.names("nothing")) == []
    s3.put("run/l/d", b"x")
    assert list(place.names("l"))[-1] == "l/d" and place.exists("l/d")


@pytest.mark.parametrize("data", [b"", b"first", bytes(12 << 20)], ids=["empty", "one_request", "in_parts"])
def test_create_makes_an_object_once(place, s3, monkeypatch, data):
    monkeypatch.setattr(remote, "PART", 5 << 20)
    assert place.create("x", data) is True
    assert place.create("x", b"second") is False and place.create("x", bytes(11 << 20)) is False
    assert s3.get("run/x") == data and s3.unfinished() == []
    put = [asked for asked in s3.proxy.asked("PUT", "/x") if "partNumber" not in asked.path]
    assert all(asked.headers.get("If-None-Match") == "*" for asked in put)
    assert any("partNumber=3" in asked.path for asked in s3.proxy.asked("PUT", "/x"))


def test_of_many_that_create_at_once_one_makes_it_and_it_is_whole(s3):
    won, start = [], threading.Barrier(8)

    def create(letter):
        place = Place(f"{s3.url}/run")
        start.wait()
        won.extend((name, letter) for name in map(str, range(20)) if place.create(name, letter.encode() * 999))

    threads = [threading.Thread(target=create, args=(letter,)) for letter in "abcdefgh"]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert sorted(name for name, _ in won) == sorted(map(str, range(20)))
    assert all(s3.get(f"run/{name}") == letter.encode() * 999 for name, letter in won)


def test_an_answer_that_was_lost_is_no_lost_race(place, s3):
    """The negative control: without one's own bytes there, the race is lost."""
    s3.proxy.rule = first(1, Lose(), "PUT")
    assert place.create("mine", b"mine") is True
    s3.put("run/theirs", b"theirs")
    assert place.create("theirs", b"mine") is False


KILLED = """
import sys
from captioners.core import remote
from captioners.core.storage import Place
remote.PART = 5 << 20
Place(sys.argv[1]).{action}("x", b"new" * (6 << 20))
"""


@pytest.mark.parametrize("action", ["write", "create"])
def test_a_kill_during_an_upload_in_parts_leaves_the_old_object_or_none(place, s3, monkeypatch, action):
    monkeypatch.setenv("CAPTIONERS_FAULT", "during_upload:2")
    if action == "write":
        place.write("x", b"old")
    command = [sys.executable, "-c", KILLED.format(action=action), place.url]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
    assert len(s3.proxy.asked("PUT", "partNumber")) >= 1, "it was on its way"
    assert s3.keys() == (["run/x"] if action == "write" else [])
    assert action == "create" or place.read("x") == b"old"
    monkeypatch.delenv("CAPTIONERS_FAULT")
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert s3.get("run/x") == b"new" * (6 << 20)


# ------------------------------------------------------------------------------------------------- a failing server

FAILURES = {
    "throttled": Refuse(503, "SlowDown"),
    "server error": Refuse(500, "InternalError"),
    "credentials": Refuse(403, "AccessDenied"),
    "expired": Refuse(400, "ExpiredToken"),
    "cut short": Cut(3),
    "connection": Lose(),
}


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_for_a_while_is_tried_again(place, s3, name):
    s3.put("run/x", b"0123456789")
    s3.proxy.rule = first(2, FAILURES[name])
    assert place.read("x") == b"0123456789"
    s3.proxy.rule = first(2, FAILURES[name], "PUT")
    assert place.create("y", b"abc" * 99) is True and s3.get("run/y") == b"abc" * 99


@pytest.mark.parametrize("name", FAILURES)
def test_what_lasts_is_one_line_with_the_way_out_and_exit_75(place, s3, name):
    s3.put("run/x", b"0123456789")
    s3.proxy.rule = first(-1, FAILURES[name])
    with pytest.raises(StorageError) as caught:
        place.read("x")
    said = str(caught.value)
    assert caught.value.exit_code == 75 and caught.value.infrastructure in (name, "credentials")
    assert said.startswith(f"s3://{s3.bucket}/run/x: ") and said.endswith("what is stored stays") and "\n" not in said
    assert len(s3.proxy.asked("GET", "/x")) >= 3


def test_a_missing_bucket_or_a_mistake_in_an_address_is_the_users_and_waits_for_nothing(s3):
    with pytest.raises(NotFoundError, match="no such bucket"):
        Place("s3://no-such-bucket-at-all/x").write("a", b"")
    with pytest.raises(UserError, match=r"the store does not take this"):
        Place("s3://No_Bucket!/x").write("a", b"")
    with pytest.raises(UserError, match=r"no kind of storage is called floppy://"):
        Place("floppy://a/x")
    with pytest.raises(UserError, match=r"'::'"):
        Place("simplecache::s3://a/x")


def test_a_package_that_is_not_there_names_the_extra():
    try:
        import gcsfs  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=r"gs:// needs .*pip install 'captioners\[gcs\]'"):
            Place("gs://bucket/x")


# ---------------------------------------------------------------------------------------------------- credentials


def test_credentials_that_expire_are_read_anew_from_their_file(place, s3, monkeypatch):
    s3.put("run/x", b"0123456789")
    assert place.read("x") == b"0123456789"
    file = os.environ["AWS_SHARED_CREDENTIALS_FILE"]
    s3.proxy.rule = lambda asked: None if asked.key == servers.NEW_KEY else Refuse(400, "ExpiredToken")
    with pytest.raises(StorageError, match=r"access was refused .*renew the credentials") as caught:
        place.read("x")
    assert caught.value.infrastructure == "credentials"
    servers.credentials(file, servers.NEW_KEY, servers.NEW_SECRET)
    assert place.read("x") == b"0123456789"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", servers.KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", servers.SECRET)
    s3.proxy.rule = lambda asked: None if asked.key == servers.KEY else Refuse(403, "InvalidAccessKeyId")
    assert place.read("x") == b"0123456789", "the environment goes before the file"


def test_no_credentials_at_all_is_said(s3, monkeypatch):
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    with pytest.raises(StorageError, match=r"Unable to locate credentials.*credentials of the environment"):
        Place(f"{s3.url}/run").read("x")


@pytest.mark.parametrize(
    "url", [f"s3://{servers.KEY}:hunter22@b/x", "https://me:hunter22@h/x", f"https://h/x?X-Amz-Signature={'0' * 32}"]
)
def test_an_address_with_a_secret_in_it_is_refused_and_not_shown(url):
    with pytest.raises(UserError, match="looks like a secret") as caught:
        Place(url)
    assert "hunter" not in str(caught.value) and "0000" not in str(caught.value) and "AKIA" not in str(caught.value)


def test_neither_messages_nor_logs_show_a_secret(place, s3, caplog):
    caplog.set_level("INFO")
    s3.proxy.rule = lambda asked: Refuse(403, "SignatureDoesNotMatch")
    with pytest.raises(StorageError) as caught:
        place.write("x", b"")
    shown = f"{caught.value!r} {caught.value} {place!r} {caplog.text}"
    assert "trying again" in caplog.text
    assert servers.SECRET not in shown and servers.KEY not in shown and servers.SECRET[:12] not in shown


# ------------------------------------------------------------------------------------------------- a file in blocks


@pytest.fixture
def large(s3, monkeypatch):
    """Some blocks of bytes that are all different, in blocks of 64 KiB."""
    monkeypatch.setattr("captioners.core.remote_file.BLOCK", 1 << 16)
    data = bytes(n * n % 251 for n in range(300_000))
    s3.put("in/large.bin", data)
    store = remote.Remote(f"{s3.url}/in")
    return data, RemotePath(store, f"{s3.bucket}/in/large.bin").known()


def test_a_file_is_read_as_a_local_one_in_order_and_at_any_place(large, s3):
    data, path = large
    assert (path.size, path.is_file(), str(path)) == (300_000, True, f"{s3.url}/in/large.bin")
    with path.open() as file:
        assert file.seek(0, 2) == 300_000 and file.read(5) == b""
        file.seek(0)
        assert b"".join(iter(lambda: file.read(1000), b"")) == data
        for at, size in [(0, 1), (65_535, 2), (299_999, 9), (100_000, 150_000), (7, 0), (400_000, 1)]:
            file.seek(at)
            assert file.read(size) == data[at : at + size], (at, size)
    assert len(s3.proxy.asked("GET", "large")) < 20
    assert path.read_range(70_000, 10) == data[70_000:70_010] and path.read_bytes() == data
    assert BLOCK == 8 << 20, "the real one"


def test_a_connection_that_drops_is_read_on_from_where_it_was(large, s3):
    data, path = large
    asked = []

    def rule(request):
        if request.method != "GET":
            return None
        asked.append(request.headers["Range"])
        return Cut(1000) if len(asked) % 3 else None

    s3.proxy.rule = rule
    with path.open() as file:
        assert file.read() == data
    assert len(asked) > len(set(asked)) == 5, "each block again, from its own offset"


def test_a_body_that_stays_short_is_the_infrastructures(large, s3):
    _, path = large
    s3.proxy.rule = lambda asked: Cut(1000) if "bytes=131072" in asked.headers.get("Range", "") else None
    with path.open() as file:
        assert len(file.read(100_000)) == 100_000
        with pytest.raises(StorageError) as caught:
            file.read()
    assert caught.value.infrastructure == "cut short"


def test_a_file_that_is_replaced_meanwhile_is_never_mixed_with_the_first(large, s3):
    _, path = large
    with path.open() as file:
        file.read(10)
        s3.put("in/large.bin", bytes(300_000))
        with pytest.raises(StorageError, match="has changed since it was listed"):
            file.read()
    with pytest.raises(StorageError, match="has changed"), path.open() as file:
        file.read(1)


def test_a_file_that_is_gone_is_no_empty_file(large, s3):
    _, path = large
    s3.client.delete_object(Bucket=s3.bucket, Key="in/large.bin")
    with pytest.raises(StorageError, match="not there any more") as caught, path.open() as file:
        file.read(1)
    assert caught.value.infrastructure == "not found"
    assert not RemotePath(path.remote, path.path).is_file()
