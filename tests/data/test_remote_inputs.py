"""Inputs in a real S3 server and on a web server: what is found, its names, and that it reads as a local copy."""

import base64
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from captioners.core.errors import NotFoundError, StorageError, UserError
from captioners.data.folder_source import FolderOptions
from captioners.data.inputs import find_files, find_inputs, input_root
from captioners.data.jsonl_source import JsonlOptions
from captioners.data.recognise import recognise
from captioners.data.source import Sample
from captioners.data.webdataset_source import WebdatasetOptions
from tests.data.rows import bad, check_contract, good, rows
from tests.data.tars import foreign, write
from tests.jobs.shards import picture, write_shards
from tests.s3 import Cut, Refuse


def found(*inputs, root=None):
    return list(find_inputs(inputs, (".tar",), "tar shards", root))


def test_names_are_relative_to_the_folder_that_all_inputs_share(s3):
    for key in ("00/0.tar", "01/0.tar", "00/readme.txt", ".hidden/0.tar", "00/.part.tar", "v1.0/0.tar", "00/"):
        s3.put(f"data/{key}", b"x")
    data = f"{s3.url}/data"
    assert found(data) == found(f"{data}/") == ["00/0.tar", "01/0.tar", "v1.0/0.tar"]
    assert found(f"{data}/00") == ["0.tar"] == found(f"{data}/v1.0")
    assert found(f"{data}/01", f"{data}/00") == ["01/0.tar", "00/0.tar"]
    assert found(f"{data}/{{00..01}}/0.tar") == found(f"{data}/0*/*.tar") == ["00/0.tar", "01/0.tar"]
    assert found(f"{data}/00", f"{data}/00/0.tar") == ["0.tar"]
    assert found(f"{data}/00", root=data) == ["00/0.tar"] and found(s3.url)[0] == "data/00/0.tar"
    assert str(input_root([f"{data}/00/{{0..9}}.tar"])) == f"{data}/00"
    s3.put("data/a[1].tar", b"x")
    s3.put("data/a1.tar", b"x")
    assert found(f"{data}/a[1].tar") == ["a1.tar"], "in a store, a pattern is a pattern"


def test_many_named_shards_are_found_by_one_listing(s3):
    for number in range(30):
        s3.put(f"data/{number:05d}.tar", b"x")
    s3.proxy.log.clear()
    assert len(found(f"{s3.url}/data/{{00000..00029}}.tar")) == 30
    assert len(s3.proxy.log) <= 2


def test_what_is_not_there_is_named_with_what_is_near(s3):
    s3.put("data/00000.tar", b"x")
    with pytest.raises(NotFoundError, match=r"00001\.tar: no such tar shards\. Did you mean '00000\.tar'"):
        found(f"{s3.url}/data/00001.tar")
    for pattern in ("{00000..00002}", "{00000..00020}"):
        with pytest.raises(NotFoundError, match=r"tar shards are not there \(00001\.tar"):
            found(f"{s3.url}/data/{pattern}.tar")
    with pytest.raises(NotFoundError, match="no such tar shards"):
        found(f"{s3.url}/data/x*.tar")
    with pytest.raises(NotFoundError, match="no such bucket"):
        found("s3://no-such-bucket-anywhere/data")
    s3.put("empty/readme", b"")
    with pytest.raises(NotFoundError, match="no tar shards found"):
        found(f"{s3.url}/empty")
    with pytest.raises(UserError, match="several kinds of storage"):
        found(f"{s3.url}/data", "https://a.org/0.tar")
    with pytest.raises(UserError, match="copy the tables to a local disk"):
        find_files([f"{s3.url}/data"], (".csv",), "tables")


@pytest.mark.parametrize("key", ["data/../up.tar", "data//two.tar", "data/./dot.tar"])
def test_a_key_that_is_no_path_below_a_folder_is_refused(s3, key):
    s3.put(key, b"x")
    with pytest.raises(UserError, match="no path below a folder; rename it"):
        found(f"{s3.url}/data")


def both(s3, folder, options, **given):
    """The same source over a folder and over its copy in S3."""
    s3.upload(folder, "in")
    return options(inputs=[str(folder)], **given).open(), options(inputs=[f"{s3.url}/in"], **given).open()


def content(source):
    """Everything that a source hands out, without the names of places."""
    return [
        (row.key, row.index, row.image, row.captions, row.meta, row.offset)
        if isinstance(row, Sample)
        else (row.key, row.index, row.reason, row.offset)
        for row in rows(source)
    ]


def test_shards_in_s3_give_what_local_ones_give(s3, tmp_path):
    write_shards(tmp_path / "x", shards=2, samples=4)
    (tmp_path / "x/sizes.json").write_text(json.dumps({"00000.tar": 4}))
    here, there = both(s3, tmp_path / "x", WebdatasetOptions)
    assert content(there) == content(here) and len(good(there)) == 8
    shards = there.shards()
    assert [(s.path, s.size, s.count) for s in shards] == [(s.path, s.size, s.count) for s in here.shards()]
    assert all(len(shard.stamp) == 32 for shard in shards), "an etag"
    check_contract(there)
    sample = good(there)[5]
    s3.proxy.log.clear()
    assert there.image(shards[1], sample.key, sample.offset, len(sample.image)) == sample.image
    ((asked, _),) = s3.proxy.log
    assert asked.headers["Range"] == f"bytes={sample.offset}-{sample.offset + len(sample.image) - 1}"
    with pytest.raises(NotFoundError, match="ends before byte"):
        there.image(shards[1], sample.key, 10**9, 5)


def test_frozen_shards_that_changed_or_are_gone_are_told(s3, tmp_path):
    _, there = both(s3, write_shards(tmp_path / "x", shards=2, samples=1), WebdatasetOptions)
    frozen = there.shards()
    s3.put("in/00002.tar", b"new")
    assert there.shards(frozen)[:2] == frozen and len(there.shards(frozen)) == 3
    s3.put("in/00001.tar", s3.get("in/00000.tar"))
    with pytest.raises(UserError, match=r"00001\.tar: has changed since this run began"):
        there.shards(frozen)
    with pytest.raises(StorageError, match="has changed"):
        list(WebdatasetOptions(inputs=[f"{s3.url}/in"]).open().samples(frozen[1]))
    s3.client.delete_object(Bucket=s3.bucket, Key="in/00001.tar")
    with pytest.raises(UserError, match=r"00001\.tar: was an input"):
        there.shards(frozen)
    with pytest.raises(StorageError, match="not there any more"):
        list(there.samples(frozen[1]))


def test_a_connection_that_is_cut_is_not_a_cut_tar_and_a_cut_tar_is(s3, tmp_path, monkeypatch):
    monkeypatch.setattr("captioners.core.remote_file.BLOCK", 4096)
    folder = write_shards(tmp_path / "x", shards=2, samples=9)
    (folder / "00001.tar").write_bytes((folder / "00001.tar").read_bytes()[:7000])
    here, there = both(s3, folder, WebdatasetOptions)
    turns = iter(range(10**9))
    s3.proxy.rule = lambda asked: (
        Cut(700) if asked.method == "GET" and "tar" in asked.path and next(turns) % 2 else None
    )
    assert content(there) == content(here)
    assert [reason for _, reason in bad(there)] == ["cut_tar"]
    s3.proxy.rule = lambda asked: Cut(700) if asked.headers.get("Range", "").startswith("bytes=4096") else None
    with pytest.raises(StorageError):
        content(there)


def test_a_refusal_is_never_a_row(s3, tmp_path):
    _, there = both(s3, write_shards(tmp_path / "x", shards=1, samples=2), WebdatasetOptions)
    (shard,) = there.shards()
    answers = [(403, "AccessDenied"), (404, "NoSuchKey"), (503, "SlowDown"), (500, "InternalError")]
    for refusal in (Refuse(*answer) for answer in answers):
        s3.proxy.rule = lambda asked, refusal=refusal: refusal
        with pytest.raises(StorageError):
            list(there.samples(shard))


def test_what_is_bad_in_a_shard_is_the_same_from_s3(s3, tmp_path):
    import tarfile

    link = tarfile.TarInfo("link.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    (tmp_path / "x").mkdir()
    members = [("../c.jpg", b"3"), ("/d.jpg", b"4"), link, ("e.v1.jpg", b"5"), ("f.jpg", b""), ("g.txt", b"\xff")]
    foreign(tmp_path / "x/0.tar", members)
    for name, data in [("1", b""), ("2", bytes(10240)), ("3", b"no tar" * 99), ("4", b"\x1f\x8b" * 99)]:
        (tmp_path / f"x/{name}.tar").write_bytes(data)
    write(tmp_path / "x/5.tar")
    here, there = both(s3, tmp_path / "x", WebdatasetOptions)
    assert content(there) == content(here) and len(bad(there)) == 10


def test_lines_in_s3_give_what_local_ones_give(s3, tmp_path):
    (tmp_path / "x/pictures").mkdir(parents=True)
    (tmp_path / "x/pictures/1.png").write_bytes(picture(1))
    (tmp_path / "secret.png").write_bytes(picture(9))
    images = [
        *("pictures/1.png", "./pictures/1.png", base64.b64encode(picture(2)).decode(), "none.png", "../secret.png"),
        *("/etc/passwd", "https://a.org/x.png", "a/../../secret.png", 7),
    ]
    lines = [json.dumps({"image": image, "text": f"t{n}"}) for n, image in enumerate(images)] + ["{", ""]
    (tmp_path / "x/0.jsonl").write_text("\n".join(lines))
    s3.put("secret.png", picture(9))
    here, there = both(s3, tmp_path / "x", JsonlOptions, caption_column="text")
    assert content(there) == content(here) and len(good(there)) == 3
    assert bad(there)[0][1] == "missing" and [reason for _, reason in bad(there)].count("unsafe_name") == 3
    check_contract(there)
    frozen = there.shards()
    s3.put("in/0.jsonl", "\n".join([*lines, *lines]).encode())
    assert there.shards(frozen)[0] == frozen[0] and len(there.shards(frozen)) == 2


def test_pictures_in_s3_give_what_local_ones_give(s3, tmp_path):
    for name, data in [("a/1.png", picture(1)), ("a/1.txt", b"one"), ("b/2.png", picture(2)), ("b/0.png", b"")]:
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).write_bytes(data)
    here, there = both(s3, tmp_path / "x", FolderOptions)
    names = lambda source: [row[:1] + row[2:] for row in content(source)]  # noqa: E731
    assert names(there) == names(here)
    assert [sample.captions for sample in good(there)] == [("one",), ()]
    frozen = there.shards()
    s3.put("in/a/1.png", picture(3))
    with pytest.raises(UserError, match=r"1\.png: has changed"):
        there.shards(frozen)


def test_an_address_on_the_command_line_is_recognised(s3, tmp_path):
    s3.upload(write_shards(tmp_path / "x", shards=2, samples=1), "in")
    s3.put("in/00000.parquet", b"what img2dataset puts beside its shards")
    source, said = recognise([f"{s3.url}/in"])
    assert isinstance(source, WebdatasetOptions) and said == f"{s3.url}/in: 2 tar shards, read as webdataset"
    assert recognise([f"{s3.url}/in"], captioned=True)[1].endswith("captions in .txt")


# ----------------------------------------------------------------------------------------------------- a web server


class _Ranges(SimpleHTTPRequestHandler):
    """Python's file server, with the byte ranges that it lacks."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        try:
            data = Path(self.translate_path(self.path)).read_bytes()
        except OSError:
            self.send_error(404)
            return
        start, _, end = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = data[int(start) : int(end) + 1 if end else None]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path, s3):
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, directory=str(tmp_path))) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_shards_of_a_web_server_give_what_local_ones_give(web, tmp_path):
    folder = write_shards(tmp_path / "x", shards=2, samples=3)
    here = WebdatasetOptions(inputs=[str(folder)]).open()
    there = WebdatasetOptions(inputs=[f"{web}/x/{{00000..00001}}.tar"]).open()
    assert content(there) == content(here) and [shard.path for shard in there.shards()] == ["00000.tar", "00001.tar"]
    assert all("GMT" in shard.stamp for shard in there.shards()), "the time of change, where there is no etag"
    check_contract(there)
    with pytest.raises(NotFoundError, match=r"1 of 3 tar shards are not there \(00002\.tar\)"):
        found(f"{web}/x/{{00000..00002}}.tar")
