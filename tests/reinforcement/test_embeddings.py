"""Embeddings as bytes: what the documented readers get back, equal bytes, and what must not be trusted."""

import gzip
import io
import pickle
import time
import zipfile

import numpy as np
import pytest
import torch

from captioners.core.errors import UserError
from captioners.reinforcement import embeddings
from captioners.reinforcement.embeddings import legacy, read, split, text_rows, to_npz, to_pth_gz


def unit_rows(count, width=24, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


IMAGES, TEXTS = unit_rows(3), unit_rows(1, seed=1)
SYN = {"syn_text": unit_rows(5, seed=2), "syn_text_coco": unit_rows(2, seed=3)}
ARRAYS = split(IMAGES, TEXTS, SYN)


def their_npz(data):
    """The webdataset library's handler of `.npz`, without its `allow_pickle`."""
    return dict(np.load(io.BytesIO(data)))


def their_pth_gz(data):
    return torch.load(io.BytesIO(gzip.decompress(data)), weights_only=True)


def test_the_documented_readers_get_the_split_layout_back():
    names = ["image_emb", "text_emb", "syn_text_emb", "syn_text_coco_emb"]
    arrays = their_npz(to_npz(ARRAYS))
    assert list(arrays) == names
    assert all(arrays[name].dtype == np.float32 and np.array_equal(arrays[name], ARRAYS[name]) for name in names)
    tensors = their_pth_gz(to_pth_gz(ARRAYS))
    assert list(tensors) == names
    for name, tensor in tensors.items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, torch.from_numpy(ARRAYS[name]).bfloat16())


def test_our_reader_gives_float32_of_both():
    for name, write in (("00/0.npz", to_npz), ("0.pth.gz", to_pth_gz)):
        found = read(name, write(ARRAYS))
        assert list(found) == list(ARRAYS)
        for key, rows in found.items():
            assert rows.dtype == np.float32
            expected = ARRAYS[key] if "npz" in name else torch.from_numpy(ARRAYS[key]).bfloat16().float().numpy()
            assert np.array_equal(rows, expected)


def test_what_others_wrote_is_read():
    file = io.BytesIO()
    np.savez(file, image_emb=IMAGES.astype(np.float64))
    assert np.array_equal(read("0.npz", file.getvalue())["image_emb"], IMAGES)
    file = io.BytesIO()
    torch.save({"image_emb": torch.from_numpy(IMAGES).half()}, file)
    assert np.allclose(read("0.pth.gz", gzip.compress(file.getvalue(), mtime=12))["image_emb"], IMAGES, atol=1e-3)


@pytest.mark.parametrize("write", [to_npz, to_pth_gz])
def test_equal_arrays_give_equal_bytes_at_any_time(write, monkeypatch):
    once = write(ARRAYS)
    late = time.time() + 1e8
    monkeypatch.setattr(time, "time", lambda: late)
    # A view of a larger array must not bring the rest of it along.
    again = write({name: np.concatenate([rows, rows])[: len(rows)] for name, rows in ARRAYS.items()})
    assert again == once
    assert write({**ARRAYS, "text_emb": -TEXTS}) != once


def test_gzip_has_neither_time_nor_name():
    data = to_pth_gz(ARRAYS)
    assert data[3] == 0  # RFC 1952: no FNAME flag
    assert data[4:8] == bytes(4)  # MTIME
    assert {entry.date_time for entry in zipfile.ZipFile(io.BytesIO(to_npz(ARRAYS))).infolist()} == {
        (1980, 1, 1, 0, 0, 0)
    }


def test_both_layouts_give_a_captions_own_row():
    """By the trainer's rule: `text_emb` longer than the ground truth is legacy, then the syn key plays no part."""
    for arrays, key in ((ARRAYS, "syn_text"), (ARRAYS, "syn_text_coco")):
        truth, syn = text_rows(arrays, 1, key, len(SYN[key]))
        assert np.array_equal(truth, TEXTS)
        assert np.array_equal(syn, SYN[key])
    old = legacy(IMAGES, TEXTS, {"syn_text": SYN["syn_text"]})
    assert list(old) == ["image_emb", "text_emb"]
    assert old["text_emb"].shape == (6, 24)
    truth, syn = text_rows(old, 1, "syn_text", 5)
    assert np.array_equal(truth, TEXTS)
    assert np.array_equal(syn, SYN["syn_text"])


def test_legacy_holds_one_syn_key():
    with pytest.raises(UserError, match="syn_text, syn_text_coco"):
        legacy(IMAGES, TEXTS, SYN)
    with pytest.raises(UserError, match="none"):
        legacy(IMAGES, TEXTS, {})
    with pytest.raises(UserError, match="the key syn_text alone, here are syn_text_coco"):
        legacy(IMAGES, TEXTS, {"syn_text_coco": SYN["syn_text_coco"]})


@pytest.mark.parametrize(
    ("key", "ground_truth", "synthetic", "said"),
    [
        ("syn_text", 1, 6, "syn_text_emb has 5 rows for 6 captions"),
        ("syn_text_new", 1, 1, "syn_text_new_emb is missing"),
        ("syn_text", 2, 5, "text_emb has 1 rows for 2 captions"),
    ],
)
def test_captions_without_their_rows_are_named(key, ground_truth, synthetic, said):
    with pytest.raises(UserError, match=said):
        text_rows(ARRAYS, ground_truth, key, synthetic)
    with pytest.raises(UserError, match="text_emb is missing"):
        text_rows({"image_emb": IMAGES}, ground_truth, key, synthetic)


class Harmful:
    def __reduce__(self):
        return exec, ("raise SystemExit('code ran')",)


def harmful_npz():
    file = io.BytesIO()
    np.savez(file, image_emb=np.array([Harmful()], dtype=object))
    return file.getvalue()


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    return gzip.compress(file.getvalue())


def enormous_npz():
    """A header that promises 4 TB."""
    npy = io.BytesIO()
    np.lib.format.write_array_header_1_0(npy, {"descr": "<f4", "fortran_order": False, "shape": (10**12, 1)})
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("image_emb.npy", npy.getvalue())
    return file.getvalue()


BAD = {
    "pickle in npz": ("0.npz", harmful_npz()),
    "pickle in pth": ("0.pth.gz", saved({"image_emb": Harmful()})),
    "plain pickle": ("0.pth.gz", gzip.compress(pickle.dumps(IMAGES))),
    "no zip": ("0.npz", b"not a zip"),
    "cut npz": ("0.npz", to_npz(ARRAYS)[:-40]),
    "cut gzip": ("0.pth.gz", to_pth_gz(ARRAYS)[:-40]),
    "enormous": ("0.npz", enormous_npz()),
    "a list": ("0.pth.gz", saved([torch.ones(2, 2)])),
    "empty rows, as the reference generator leaves them": (
        "0.npz",
        to_npz({"image_emb": np.zeros((0, 24), np.float32)}),
    ),
    "one row flat": ("0.npz", to_npz({"image_emb": IMAGES[0]})),
    "not finite": ("0.npz", to_npz({"image_emb": IMAGES * np.float32(np.nan)})),
    "another extension": ("0.npy", to_npz(ARRAYS)),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_embedding_is_refused_by_name_and_never_run(kind):
    name, data = BAD[kind]
    with pytest.raises(UserError, match=f"^{name}: ") as error:
        read(name, data)
    assert "\n" not in str(error.value)


def test_a_bomb_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(embeddings, "LARGEST", 10_000)
    flat = {"image_emb": np.zeros((100, 30), np.float32)}
    for name, write in (("0.npz", to_npz), ("0.pth.gz", to_pth_gz)):
        assert read(name, write(ARRAYS))
        with pytest.raises(UserError, match="10,000 bytes when unpacked"):
            read(name, write({**flat, "text_emb": np.zeros((100, 30), np.float32)}))


def deflated(data):
    """A `.pth.gz` whose inner zip is packed as well."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(gzip.decompress(data))) as old, zipfile.ZipFile(file, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry), zipfile.ZIP_DEFLATED)
    return gzip.compress(file.getvalue())


def bytes_as_numbers():
    file = io.BytesIO()
    np.savez_compressed(file, image_emb=np.zeros((90, 100), np.int8))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("0.pth.gz", saved({"image_emb": torch.zeros(1, 1, dtype=torch.bfloat16).expand(60, 60)})),
        ("0.pth.gz", deflated(saved({"image_emb": torch.zeros(60, 60)}))),
        ("0.npz", bytes_as_numbers()),
    ],
    ids=["stride of 0", "a zip in the gzip", "small numbers"],
)
def test_a_bomb_within_the_bomb_is_not_unpacked_either(name, data, monkeypatch):
    assert read(name, data)["image_emb"].size >= 3600, "the control: nothing else is wrong with it"
    monkeypatch.setattr(embeddings, "LARGEST", 10_000)
    with pytest.raises(UserError, match="10,000 bytes when unpacked"):
        read(name, data)


def test_a_sparse_tensor_is_no_table():
    with pytest.raises(UserError, match="sparse tensor"):
        read("0.pth.gz", saved({"image_emb": torch.eye(3).to_sparse()}))
