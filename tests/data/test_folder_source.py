"""Pictures in folders: sorted, each with a key of its own, in shards that later pictures do not change."""

import json
import os
from pathlib import Path

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.data.folder_source import FILES, FolderOptions
from captioners.images.decode import list_images
from tests.data.real import PHOTOS, needs_photos
from tests.data.rows import bad, check_contract, good, rows


def source(*inputs, **options):
    return FolderOptions(inputs=[str(given) for given in inputs], **options).open()


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def test_pictures_are_those_of_list_images_in_its_order(tmp_path):
    fill(
        tmp_path,
        "b/1.JPG",
        "a/2.png",
        "a-b.jpg",
        "a/1.webp",
        "c.txt",
        ".hidden.jpg",
        ".git/x.jpg",
        "__MACOSX/y.jpg",
        "z.tar",
    )
    os.mkfifo(tmp_path / "pipe.jpg")
    found = good(source(tmp_path))
    assert [s.key for s in found] == ["a/1", "a/2", "a-b", "b/1"]
    assert [s.image for s in found] == [b"a/1.webp", b"a/2.png", b"a-b.jpg", b"b/1.JPG"]
    assert [s.name for s in found] == [str(file) for file in list_images(tmp_path) if not file.name.startswith("pipe")]
    check_contract(source(tmp_path))


def test_keys_differ_where_only_suffixes_do(tmp_path):
    fill(tmp_path, "a.jpg", "a.png", "a.png.webp", "a.b.jpg")
    keys = [s.key for s in good(source(tmp_path))]
    assert keys == ["a.b", "a", "a.png", "a.png.webp"]
    check_contract(source(tmp_path))


def test_captions_beside(tmp_path):
    fill(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    (tmp_path / "a.txt").write_text("größer\n", encoding="utf-8")
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    (tmp_path / "c.txt").write_text("  \n")
    assert [s.captions for s in good(source(tmp_path))] == [("größer\n",), (), ()]
    assert bad(source(tmp_path)) == [("b", "not_utf8")]
    assert {s.captions for s in good(source(tmp_path, captions="none"))} == {()}
    assert bad(source(tmp_path, captions="none")) == []


def test_empty_and_vanished_pictures_become_rows(tmp_path):
    fill(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "c.jpg").write_bytes(b"")
    opened = source(tmp_path)
    (shard,) = opened.shards()
    check_contract(opened)
    (tmp_path / "a.jpg").unlink()
    assert [getattr(row, "reason", "") for row in opened.samples(shard)] == ["missing", "", "empty"]
    with pytest.raises(NotFoundError, match="is gone"):
        opened.image(shard, "a", None, 5)
    with pytest.raises(NotFoundError, match="no picture of the key 'x'"):
        opened.image(shard, "x", None, 5)


def test_a_picture_that_may_not_be_read_stops_the_run_instead_of_being_quarantined(tmp_path, monkeypatch):
    fill(tmp_path, "a.jpg")

    def refused(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(UserError, match=r"a\.jpg: could not be read \(Permission denied\); check its permissions"):
        rows(source(tmp_path))


def test_pictures_added_later_make_new_shards_and_change_no_old_one(tmp_path):
    fill(tmp_path, *(f"{n:04}.jpg" for n in range(FILES + 5)))
    frozen = source(tmp_path).shards()
    assert [(shard.path, shard.count) for shard in frozen] == [
        (f"{tmp_path.name}#00000", FILES),
        (f"{tmp_path.name}#00001", 5),
    ]
    before = [list(source(tmp_path).samples(shard)) for shard in frozen]
    fill(tmp_path, "0000.png", "0002a.jpg")
    now = source(tmp_path).shards(frozen)
    assert now[:2] == frozen
    assert [shard.path for shard in now[2:]] == [f"{tmp_path.name}#00002"]
    assert [list(source(tmp_path).samples(shard)) for shard in frozen] == before
    assert [s.image for s in source(tmp_path).samples(now[2])] == [b"0000.png", b"0002a.jpg"]
    # What a run freezes goes through JSON.
    assert json.loads(json.dumps([shard.where for shard in now])) == [shard.where for shard in now]


def test_a_changed_or_vanished_picture_of_a_frozen_shard_is_named(tmp_path):
    fill(tmp_path, "a.jpg", "b.jpg")
    frozen = source(tmp_path).shards()
    (tmp_path / "b.jpg").write_bytes(b"other")
    os.utime(tmp_path / "b.jpg", ns=(0, frozen[0].where["files"][1][2]))
    assert source(tmp_path).shards(frozen) == frozen  # equal size and time: taken for the same
    (tmp_path / "b.jpg").write_bytes(b"longer than before")
    with pytest.raises(UserError, match=r"b\.jpg: has changed .*5 bytes then, 18 now.*output="):
        source(tmp_path).shards(frozen)
    (tmp_path / "b.jpg").unlink()
    with pytest.raises(UserError, match=r"b\.jpg: was an input.*output="):
        source(tmp_path).shards(frozen)


def test_single_pictures_and_several_folders(tmp_path):
    fill(tmp_path, "x/a.jpg", "y/a.jpg", "y/b.jpg")
    assert [s.key for s in good(source(tmp_path / "y", tmp_path / "x" / "a.jpg"))] == ["x/a", "y/a", "y/b"]
    with pytest.raises(NotFoundError, match=r"Did you mean 'a\.jpg'"):
        source(tmp_path / "x" / "aa.jpg").shards()


def test_a_name_of_other_bytes_than_utf8_has_a_key_that_can_be_stored(tmp_path):
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system has no such names")
    (sample,) = good(source(tmp_path))
    assert sample.key == "caf\\xe9"
    assert sample.name.encode()
    check_contract(source(tmp_path))


def test_a_name_of_several_lines_is_shown_in_one(tmp_path):
    fill(tmp_path, "a\nb.jpg")
    (tmp_path / "c\nd.jpg").write_bytes(b"")
    (sample,) = good(source(tmp_path))
    assert (sample.key, sample.image) == ("a\\nb", b"a\nb.jpg")
    check_contract(source(tmp_path))


@pytest.mark.real
@needs_photos
def test_real_photos_are_all_found(tmp_path):
    found = good(source(PHOTOS))
    assert [s.image for s in found] == [file.read_bytes() for file in list_images(PHOTOS)]
    assert len(found) == 21
