"""Shards of a streaming run: counted once, by headers where that will do, and the same at every start."""

import json

import pytest

from captioners.core.errors import UserError
from captioners.data import webdataset_source
from captioners.data.drawn_source import DrawnOptions
from captioners.data.folder_source import FolderOptions
from captioners.data.frozen import digest_of, frozen_shards
from captioners.data.jsonl_source import JsonlOptions
from captioners.data.mixture_source import MixtureSource
from captioners.data.webdataset_source import WebdatasetOptions
from tests.data.rows import good
from tests.data.tars import foreign, write
from tests.images.pictures import jpeg, noise

PICTURE = jpeg(noise(16, 16))


def _tars(folder, sizes=(3, 2), captions=1):
    folder.mkdir()
    said = json.dumps({"caption": [f"told {c}" for c in range(captions)]}).encode()
    for number, size in enumerate(sizes):
        write(folder / f"{number:05d}.tar", {f"{number}{n}": {"jpg": PICTURE, "json": said} for n in range(size)})
    return WebdatasetOptions(inputs=[str(folder)], caption_key="json:caption")


def test_tars_are_counted_by_their_headers(tmp_path, monkeypatch):
    source = _tars(tmp_path / "tars").open()
    mixed = [("a.jpg", PICTURE), ("a.txt", b"x"), ("b.txt", b"no image"), ("c.jpg", PICTURE), ("x.y.jpg", PICTURE)]
    foreign(tmp_path / "tars" / "00002.tar", mixed)
    (tmp_path / "tars" / "00003.tar").write_bytes((tmp_path / "tars" / "00000.tar").read_bytes()[:4000])
    foreign(tmp_path / "tars" / "00004.tar", [])

    def refuse(*_):
        raise AssertionError("bytes of a member were read")

    with monkeypatch.context() as patched:
        patched.setattr(webdataset_source, "_read", refuse)
        shards = frozen_shards(source, tmp_path / "shards.jsonl")
    by_reading = [sum(1 for row in good(source) if row.shard == entry.shard.path) for entry in shards]
    assert [entry.samples for entry in shards][:3] == by_reading[:3] == [3, 2, 2]
    assert len(shards) in (3, 4), "the empty one is left out"


def test_counts_are_taken_from_what_is_known(tmp_path):
    options = _tars(tmp_path / "tars")
    (tmp_path / "tars" / "sizes.json").write_text(json.dumps({"00000.tar": 7, "00001.tar": 9}))
    assert [entry.samples for entry in frozen_shards(options.open(), tmp_path / "a")] == [7, 9]
    drawn = DrawnOptions(count=1500).open()
    assert [entry.samples for entry in frozen_shards(drawn, tmp_path / "b")] == [1000, 500]


def test_other_sources_are_counted_by_reading(tmp_path):
    lines = [{"image": "a.jpg", "caption": "one"}, {"image": "gone.jpg", "caption": "two"}]
    (tmp_path / "a.jpg").write_bytes(PICTURE)
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = JsonlOptions(inputs=[str(tmp_path / "set.jsonl")], image_column="image", caption_column="caption").open()
    assert [entry.samples for entry in frozen_shards(source, tmp_path / "shards")] == [len(good(source))] == [1]


def test_captions_are_counted_where_each_is_a_sample(tmp_path):
    source = _tars(tmp_path / "tars", captions=3).open()
    assert [entry.samples for entry in frozen_shards(source, tmp_path / "shards", "per_caption")] == [9, 6]


def test_a_mixture_counts_as_its_parts_do(tmp_path):
    source = MixtureSource([(_tars(tmp_path / "tars").open(), 1), (DrawnOptions(count=4).open(), 2)])
    shards = frozen_shards(source, tmp_path / "shards")
    assert [(entry.shard.path, entry.samples) for entry in shards] == [
        ("1/00000.tar", 3), ("1/00001.tar", 2), ("2/drawn-caption-0#00000", 4),
    ]  # fmt: skip
    assert frozen_shards(source, tmp_path / "shards") == shards


def test_a_later_start_has_the_same_shards_or_says_what_changed(tmp_path):
    options, file = _tars(tmp_path / "tars"), tmp_path / "shards.jsonl"
    first = frozen_shards(options.open(), file)
    write(tmp_path / "tars" / "00009.tar", {"9": {"jpg": PICTURE}})
    again = frozen_shards(options.open(), file)
    assert again == first, "what was added since is not read"
    assert digest_of(again) == digest_of(first) != digest_of(first[:1])
    write(tmp_path / "tars" / "00001.tar", {"other": {"jpg": PICTURE}})
    with pytest.raises(UserError, match=r"00001\.tar: has changed since this run began"):
        frozen_shards(options.open(), file)
    (tmp_path / "tars" / "00001.tar").unlink()
    with pytest.raises(UserError, match=r"00001\.tar: was an input when this run began"):
        frozen_shards(options.open(), file)


def test_a_set_without_a_sample_is_an_error(tmp_path):
    (tmp_path / "tars").mkdir()
    foreign(tmp_path / "tars" / "0.tar", [("a.txt", b"no image")])
    with pytest.raises(UserError, match="holds no sample: 1 shards were looked into"):
        frozen_shards(WebdatasetOptions(inputs=[str(tmp_path / "tars")]).open(), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_a_folder_s_shards_survive_the_file(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(PICTURE)
    source = FolderOptions(inputs=[str(tmp_path / "photos")]).open()
    first = frozen_shards(source, tmp_path / "shards")
    assert frozen_shards(FolderOptions(inputs=[str(tmp_path / "photos")]).open(), tmp_path / "shards") == first
