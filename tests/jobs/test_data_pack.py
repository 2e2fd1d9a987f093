"""Packing: any source becomes shards that webdataset reads, byte for byte, and nothing is dropped without a line."""

import hashlib
import json
from base64 import b64encode
from pathlib import Path

import pytest

from captioners.cli.main import run
from captioners.core.errors import NotFoundError, UserError
from captioners.data.recognise import recognise
from captioners.jobs.data import pack as module
from captioners.jobs.data.pack import data_pack
from tests.data.real import PHOTOS, needs_photos, photos
from tests.data.rows import check_contract, good
from tests.data.tars import foreign, webdataset_reads
from tests.images.pictures import encoded, jpeg, noise, quadrants


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def photos_with_captions(tmp_path):
    folder = tmp_path / "in"
    (folder / "sub.v1").mkdir(parents=True)
    for number in range(5):
        (folder / f"{number}.jpg").write_bytes(jpeg(noise(seed=number)))
        (folder / f"{number}.txt").write_text(f"Größe {number}", encoding="utf-8")
    (folder / "sub.v1" / "a b.c.jpg").write_bytes(encoded(quadrants(), "PNG"))
    (folder / "5.jpg").write_bytes(b"no picture")
    (folder / "6.jpg").write_bytes(b"")
    return folder


def test_a_folder_becomes_shards_that_webdataset_reads(tmp_path, photos_with_captions):
    said = []
    packed = data_pack(str(photos_with_captions), tmp_path / "out", per_shard=4, say=said.append)
    assert (packed.read, packed.sizes, packed.reasons) == (
        8,
        {"00000.tar": 4, "00001.tar": 2},
        {"not_an_image": 1, "empty": 1},
    )
    assert (packed.captioned, packed.renamed) == (5, 1)
    assert said == ["00000.tar: 4 samples", "00001.tar: 2 samples"]
    out = tmp_path / "out"
    assert sorted(file.name for file in out.iterdir()) == ["00000.tar", "00001.tar", "quarantine.jsonl", "sizes.json"]
    assert json.loads((out / "sizes.json").read_text()) == packed.sizes
    samples = webdataset_reads(out / "00000.tar") | webdataset_reads(out / "00001.tar")
    expected = {
        str(n): {
            "jpg": (photos_with_captions / f"{n}.jpg").read_bytes(),
            "txt": (photos_with_captions / f"{n}.txt").read_bytes(),
        }
        for n in range(5)
    }
    # A PNG is called one, whatever its file was called; the key that had to change is kept.
    other = (photos_with_captions / "sub.v1" / "a b.c.jpg").read_bytes()
    assert samples == expected | {"sub_v1_a_b_c": {"png": other, "json": b'{"source_key":"sub.v1/a b.c"}'}}
    quarantine = lines_of(out / "quarantine.jsonl")
    assert [(row["key"], row["reason"]) for row in quarantine] == [("5", "not_an_image"), ("6", "empty")]


def test_packing_twice_gives_equal_bytes(tmp_path, photos_with_captions):
    for name in ("one", "two"):
        data_pack(str(photos_with_captions), tmp_path / name)
    one, two = ((tmp_path / name / "00000.tar").read_bytes() for name in ("one", "two"))
    assert one == two


def test_captions_and_meta_of_a_jsonl_travel_along(tmp_path):
    image = jpeg(quadrants())
    rows = [
        {"uid": "a", "image": b64encode(image).decode(), "text": ["x", "y"], "url": "u", "n": [1, None]},
        {"uid": "a/b", "image": b64encode(image).decode(), "text": "half \ud800"},
        {"uid": "c", "image": b64encode(image).decode(), "text": None},
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\nbroken\n")
    packed = data_pack(str(tmp_path / "in.jsonl"), tmp_path / "out")
    assert webdataset_reads(tmp_path / "out" / "00000.tar") == {
        "a": {"jpg": image, "txt": b"x", "json": b'{"url":"u","n":[1,null],"captions":["x","y"]}'},
        "c": {"jpg": image},
    }
    assert packed.reasons == {"not_utf8": 1, "bad_line": 1}
    assert packed.read == sum(packed.sizes.values()) + sum(packed.reasons.values())


def test_options_of_the_source_can_be_said(tmp_path):
    row = {"image": b64encode(jpeg(quadrants())).decode(), "text": "alt", "said": "better"}
    (tmp_path / "in.jsonl").write_text(json.dumps(row))
    data_pack(str(tmp_path / "in.jsonl"), tmp_path / "out", changes=["caption_column=said"])
    assert webdataset_reads(tmp_path / "out" / "00000.tar")["00000001"]["txt"] == b"better"
    for wrong in ("caption_colum=said", "inputs=x", "caption_column"):
        with pytest.raises(NotFoundError, match="the source jsonl has no such option"):
            data_pack(str(tmp_path / "in.jsonl"), tmp_path / "out2", changes=[wrong])
    with pytest.raises(UserError, match="captions: Input should be"):
        (tmp_path / "a.jpg").write_bytes(jpeg(quadrants()))
        data_pack(str(tmp_path / "a.jpg"), tmp_path / "out2", changes=["captions=many"])


def test_bad_tars_are_packed_anew_with_a_line_for_all_that_was_left_out(tmp_path):
    image = jpeg(quadrants())
    (tmp_path / "in").mkdir()
    foreign(
        tmp_path / "in" / "0.tar",
        [
            ("a.jpg", image),
            ("../b.jpg", image),
            ("c.v1.jpg", image),
            ("d.txt", b"x"),
            ("a.jpg", image),
            ("e.jpg", image),
        ],
    )
    whole = foreign(tmp_path / "whole.tar", [(f"{key}.jpg", image) for key in "abc"]).read_bytes()
    (tmp_path / "in" / "1.tar").write_bytes(whole[: 2 * (512 + -(-len(image) // 512) * 512) + 600])
    (tmp_path / "in" / "2.tar").write_bytes(b"")
    packed = data_pack(str(tmp_path / "in"), tmp_path / "out")
    assert packed.reasons == {
        "unsafe_name": 1, "dotted_key": 1, "no_image": 1, "duplicate_key": 1, "cut_tar": 1, "empty": 1,
    }  # fmt: skip
    # Two shards may use one key; in one folder of ours, no two samples do.
    assert list(webdataset_reads(tmp_path / "out" / "00000.tar")) == ["a", "e", "a-2"]
    assert packed.read == sum(packed.sizes.values()) + sum(packed.reasons.values())
    cut = next(row for row in lines_of(tmp_path / "out" / "quarantine.jsonl") if row["reason"] == "cut_tar")
    assert cut["shard"] == "1.tar"
    assert cut["offset"] > 0


def test_out_must_be_free_and_outside_of_the_input(tmp_path, photos_with_captions):
    inputs = str(photos_with_captions)
    for inside in (photos_with_captions, photos_with_captions / "out", photos_with_captions / "x" / ".." / "out"):
        with pytest.raises(UserError, match="lies inside the input"):
            data_pack(inputs, inside)
    (tmp_path / "link").symlink_to(photos_with_captions)
    with pytest.raises(UserError, match="lies inside the input"):
        data_pack(inputs, tmp_path / "link" / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    for taken in ("full", "full/file"):
        with pytest.raises(UserError, match="something is there already"):
            data_pack(inputs, tmp_path / taken)
    with pytest.raises(UserError, match="cannot be written"):
        data_pack(inputs, tmp_path / "full" / "file" / "out")
    (tmp_path / "empty").mkdir()
    data_pack(inputs, tmp_path / "empty")
    assert (tmp_path / "empty" / "00000.tar").is_file()


def test_nothing_appears_when_packing_fails(tmp_path, photos_with_captions, monkeypatch):
    before = sorted(tmp_path.iterdir())
    (photos_with_captions / "sub.v1" / "a b.c.jpg").unlink()
    for number in range(5):
        (photos_with_captions / f"{number}.jpg").write_bytes(b"none")
    with pytest.raises(UserError, match=r"none of 7 samples could be packed; the first: .*0\.jpg: not a picture"):
        data_pack(str(photos_with_captions), tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before
    (photos_with_captions / "0.jpg").write_bytes(jpeg(noise()))

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_texts", stopped)
    with pytest.raises(KeyboardInterrupt):
        data_pack(str(photos_with_captions), tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_the_command_prints_sums_that_balance(run_dir, photos_with_captions, capsys):
    assert run(["data", "pack", "in", "out", "--per-shard", "4"]) == 0
    out = capsys.readouterr().out
    assert "in: 8 pictures" in out
    assert "8 read = 6 packed + 2 quarantined; empty 1; not_an_image 1" in out
    assert "5 with a caption, 1 under a new key, 2 shards" in out
    assert "written: out" in out
    assert run(["data", "pack", "in", "out"]) == 1
    assert "something is there already" in capsys.readouterr().err
    assert run(["data", "pack", "nowhere", "out2"]) == 1
    assert not Path("out2").exists()


@pytest.mark.real
@needs_photos
def test_real_photos_are_the_same_from_a_folder_a_tar_and_a_jsonl(tmp_path):
    packed = data_pack(str(PHOTOS), tmp_path / "tars", per_shard=8)
    assert list(packed.sizes.values()) == [8, 8, 5]
    rows = [{"key": file.stem, "image": str(file)} for file in photos()]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = [recognise([str(given)])[0] for given in (PHOTOS, tmp_path / "tars", tmp_path / "in.jsonl")]
    options[2] = options[2].model_copy(update={"image_root": str(PHOTOS)})
    expected = {file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in photos()}
    assert len(expected) == 21
    for source in (option.open() for option in options):
        assert {s.key: hashlib.sha256(s.image).hexdigest() for s in good(source)} == expected
        check_contract(source)
