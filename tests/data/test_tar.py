"""Tars: equal content gives equal bytes, whole or not at all; foreign ones are read without being believed."""

import os
import subprocess
import sys
import tarfile
import time

import pytest

from captioners.core.errors import UserError
from captioners.data.tar import Fault, Member, TarReader, TarWriter
from tests.data.tars import SAMPLES, foreign, webdataset_reads, write


def read(path):
    """(name -> bytes of safe members, faults, unsafe members)."""
    with path.open("rb") as file:
        reader = TarReader(file)
        found, faults, unsafe = [], [], []
        for thing in reader:
            if isinstance(thing, Fault):
                faults.append(thing)
            elif thing.unsafe:
                unsafe.append(thing)
            else:
                found.append((thing.name, reader.read(thing)))
    return found, faults, unsafe


# ---------------------------------------------------------------------------------------------------------- writing


def test_equal_content_gives_equal_bytes_whatever_the_time_and_the_order_of_members(tmp_path):
    one = write(tmp_path / "one.tar").read_bytes()
    time.sleep(0.01)
    turned = {key: dict(reversed(members.items())) for key, members in SAMPLES.items()}
    assert write(tmp_path / "two.tar", turned).read_bytes() == one
    # The negative control: another order of samples is another file.
    assert write(tmp_path / "three.tar", dict(reversed(SAMPLES.items()))).read_bytes() != one


def test_tarfile_reads_what_was_written_in_sorted_order_and_without_an_owner(tmp_path):
    with tarfile.open(write(tmp_path / "one.tar")) as tar:
        infos = tar.getmembers()
        assert [info.name for info in infos] == ["0001.jpg", "0001.txt", "0002.png"]
        assert {(i.mtime, i.mode, i.uid, i.gid, i.uname, i.gname) for i in infos} == {(0, 0o644, 0, 0, "", "")}
        assert tar.extractfile("0001.txt").read() == SAMPLES["0001"]["txt"]


def test_webdataset_groups_the_same_samples(tmp_path):
    assert webdataset_reads(write(tmp_path / "one.tar")) == SAMPLES


def test_a_name_beyond_a_header_field_is_read_by_tarfile_and_by_us(tmp_path):
    key = "ä" * 150
    path = write(tmp_path / "long.tar", {key: {"jpg": b"x"}})
    with tarfile.open(path) as tar:
        assert tar.getnames() == [f"{key}.jpg"]
    assert read(path)[0] == [(f"{key}.jpg", b"x")]


@pytest.mark.parametrize(
    "key", ["", "/a", "a/", "a//b", "../a", "a\\b", ".hidden", "v1.0", "..", "a\nb", "a\0b", "\udcff"], ids=ascii
)
def test_a_key_that_readers_would_not_read_back_is_refused(tmp_path, key):
    with TarWriter(tmp_path / "one.tar") as tar:
        with pytest.raises(UserError, match="the key"):
            tar.add(key, {"jpg": b"x"})
        tar.add("good", {"jpg": b"x"})
    assert read(tmp_path / "one.tar")[0] == [("good.jpg", b"x")]


def test_a_key_twice_and_a_strange_extension_are_refused(tmp_path):
    with TarWriter(tmp_path / "one.tar") as tar:
        tar.add("a", {"jpg": b"x"})
        with pytest.raises(UserError, match="twice"):
            tar.add("a", {"png": b"x"})
        for extension in ("", ".jpg", "jpg.", "JPG", "a/b", "a b"):
            with pytest.raises(UserError, match="no extension"):
                tar.add("b", {extension: b"x"})


def test_a_key_may_lie_in_a_folder(tmp_path):
    assert webdataset_reads(write(tmp_path / "one.tar", {"a/0001": {"jpg": b"x"}})) == {"a/0001": {"jpg": b"x"}}


def test_nothing_appears_when_writing_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), TarWriter(tmp_path / "one.tar") as tar:
        tar.add("a", {"jpg": b"x"})
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_stands_there_stays_until_the_new_one_is_whole(tmp_path):
    path = write(tmp_path / "one.tar")
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), TarWriter(path) as tar:
        tar.add("a", {"jpg": b"x"})
        raise ZeroDivisionError
    assert path.read_bytes() == before
    write(path, {"b": {"jpg": b"y"}})
    assert read(path)[0] == [("b.jpg", b"y")]


def test_a_killed_writer_leaves_nothing_that_a_pattern_finds(tmp_path):
    code = (
        "import os, signal, sys\nfrom captioners.data.tar import TarWriter\n"
        "with TarWriter(sys.argv[1]) as tar:\n"
        "    tar.add('a', {'jpg': b'x' * 100_000})\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "one.tar")], check=False)
    assert done.returncode == -9
    assert list(tmp_path.glob("*.tar")) == []


# ---------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_of_every_format_lie_where_their_offset_says(tmp_path, format):
    name = "photos/" + "x" * 90 + "/0001.jpg" if format == tarfile.USTAR_FORMAT else "y" * 120 + "/Größe.jpg"
    path = foreign(tmp_path / "one.tar", [(name, b"first"), ("./b.jpg", b"second" * 1000)], format)
    whole = path.read_bytes()
    with path.open("rb") as file:
        members = list(TarReader(file))
    assert [member.name for member in members] == [name, "b.jpg"]
    assert [whole[m.offset : m.offset + m.size] for m in members] == [b"first", b"second" * 1000]


def test_a_tar_cut_anywhere_gives_its_whole_members_and_says_where_it_broke(tmp_path):
    bodies = [bytes([65 + n]) * (300 * n) for n in range(1, 5)]
    whole = foreign(tmp_path / "whole.tar", [(f"{n}.jpg", body) for n, body in enumerate(bodies)]).read_bytes()
    with tarfile.open(tmp_path / "whole.tar") as tar:
        ends = [info.offset_data + info.size for info in tar.getmembers()]
        starts = [info.offset for info in tar.getmembers()] + [-(-ends[-1] // 512) * 512]
    cut = tmp_path / "cut.tar"
    for length in [*range(1, 512, 100), *range(512, len(whole), 97), *ends, *starts[1:], *(e - 1 for e in ends)]:
        if length >= starts[-1] + 512:
            continue  # the end mark is there
        cut.write_bytes(whole[:length])
        found, faults, _ = read(cut)
        expected = sum(end <= length for end in ends)
        assert [body for _, body in found] == bodies[:expected], length
        if length < 512:
            assert [fault.reason for fault in faults] == ["not_a_tar"], length
        else:
            assert [(fault.reason, fault.offset) for fault in faults] == [("cut_tar", starts[expected])], length
            assert f"{starts[expected]:,}" in faults[0].error
    assert read(tmp_path / "whole.tar")[1] == []


def test_a_damaged_header_in_the_middle_is_a_fault_and_not_a_quiet_end(tmp_path):
    """tarfile itself ends there without a word."""
    path = foreign(tmp_path / "one.tar", [("1.jpg", b"x"), ("2.jpg", b"y"), ("3.jpg", b"z")])
    data = bytearray(path.read_bytes())
    data[1024:1100] = b"?" * 76
    path.write_bytes(data)
    with tarfile.open(path) as tar:
        assert tar.getnames() == ["1.jpg"]
    found, faults, _ = read(path)
    assert found == [("1.jpg", b"x")]
    assert [(fault.reason, fault.offset) for fault in faults] == [("cut_tar", 1024)]


@pytest.mark.timeout(20)
def test_a_header_of_negative_size_does_not_send_the_reader_round(tmp_path):
    info = tarfile.TarInfo("1.jpg")
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 10 + (-2048 & 0xFFFF).to_bytes(2, "big")  # base 256, as GNU writes it
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    path = tmp_path / "one.tar"
    path.write_bytes(tarfile.TarInfo("0.jpg").tobuf(tarfile.GNU_FORMAT) + bytes(block) + bytes(1024))
    found, faults, _ = read(path)
    assert found == [("0.jpg", b"")]
    assert [fault.reason for fault in faults] == ["cut_tar"]


def _link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_names_that_lead_out_links_and_devices_are_reported_and_never_read(tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    device = tarfile.TarInfo("null.jpg")
    device.type = tarfile.CHRTYPE
    path = foreign(
        tmp_path / "one.tar",
        [
            ("../up.jpg", b"x"),
            ("a/../../up.jpg", b"x"),
            ("/etc/up.jpg", b"x"),
            ("bad\nname.jpg", b"x"),
            _link("soft.jpg", "../secret", tarfile.SYMTYPE),
            _link("hard.jpg", "/etc/passwd", tarfile.LNKTYPE),
            device,
            ("good..name.jpg", b"good"),
        ],
    )
    found, faults, unsafe = read(path)
    assert found == [("good..name.jpg", b"good")]
    assert faults == []
    assert [m.unsafe.split(",")[0] for m in unsafe] == [
        *["a name that leads out of the archive"] * 3,
        "a name that is not printable UTF-8",
        "a link to '../secret'",
        "a link to '/etc/passwd'",
        "a device or pipe",
    ]
    with path.open("rb") as file:
        reader = TarReader(file)
        for member in reader:
            if isinstance(member, Member) and member.unsafe:
                with pytest.raises(UserError, match="not read"):
                    reader.read(member)


def test_a_name_of_other_bytes_than_utf8_can_still_be_printed(tmp_path):
    with tarfile.open(tmp_path / "one.tar", "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as tar:
        tar.addfile(tarfile.TarInfo("größe.jpg"))
    _, _, unsafe = read(tmp_path / "one.tar")
    assert [member.name for member in unsafe] == ["gr\\xf6\\xdfe.jpg"]


def test_a_sparse_member_is_read_by_its_map_and_has_no_offset(tmp_path):
    big = tmp_path / "big.jpg"
    with big.open("wb") as file:
        file.write(b"head")
        file.truncate(1 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"tail")
    done = subprocess.run(["tar", "-cSf", "one.tar", "big.jpg"], cwd=tmp_path, check=False, capture_output=True)
    if done.returncode or (tmp_path / "one.tar").stat().st_size > 1 << 19:
        pytest.skip("this tar or file system makes no sparse members")
    with (tmp_path / "one.tar").open("rb") as file:
        reader = TarReader(file)
        (member,) = reader
        assert member.offset is None
        assert reader.read(member) == big.read_bytes()


def test_what_is_no_plain_tar_says_what_it_is(tmp_path):
    path = tmp_path / "one.tar"
    for content, reason, says in [
        (b"", "empty", "0 bytes"),
        (b"hello", "not_a_tar", "starts with b'hello'"),
        (os.urandom(2000), "not_a_tar", "not a tar"),
        (b"\x1f\x8b" + b"x" * 2000, "not_a_tar", "gzip"),
    ]:
        path.write_bytes(content)
        found, (fault,), unsafe = read(path)
        assert (found, unsafe, fault.reason, fault.offset) == ([], [], reason, 0)
        assert says in fault.error
    path.write_bytes(bytes(10240))  # an archive of nothing, properly ended
    assert read(path) == ([], [], [])
