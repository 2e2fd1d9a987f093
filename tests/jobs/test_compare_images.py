"""captioners/jobs/compare/images.py: what --data may be, and which images are taken."""

from pathlib import Path

import pytest
from PIL import Image

from captioners.core.errors import NotFoundError, UserError
from captioners.core.package_data import SAMPLES
from captioners.jobs.compare.images import ComparedImage, choose_images, opened


@pytest.fixture
def folder(tmp_path):
    for number in range(12):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number:02d}.png")
        (tmp_path / f"{number:02d}.txt").write_text(f"caption {number}")
    (tmp_path / "03.txt").unlink()
    return tmp_path


def test_nothing_means_the_packaged_photos():
    chosen = choose_images(None, 99)
    assert [one.key for one in chosen.images] == [path.stem for path in sorted(SAMPLES.glob("*.jpg"))]
    assert chosen.about == "6 packaged photos, which have no references"


def test_a_folder_gives_its_captions_as_references(folder):
    chosen = choose_images(str(folder), 99)
    told = {one.key: one.references for one in chosen.images}
    assert told["02"] == ("caption 2",)
    assert told["03"] == ()
    assert len(told) == 12
    assert chosen.about == f"{folder}: 12 pictures"


def test_of_more_some_are_chosen_by_hash_the_same_every_time(folder):
    chosen = choose_images(str(folder), 5)
    keys = [one.key for one in chosen.images]
    assert len(keys) == 5
    assert [one.key for one in choose_images(str(folder), 5).images] == keys
    assert [one.key for one in choose_images(str(folder), 7).images][:5] == keys, "more of them hold the same"
    assert [one.key for one in choose_images(str(folder), 5, seed=1).images] != keys
    assert chosen.about.endswith("5 of the 12 read, chosen by hash")


def test_the_hash_bounds_what_is_held_and_loses_none(folder):
    assert {one.key for one in choose_images(str(folder), 1).images} <= {f"{n:02d}" for n in range(12)}
    first = choose_images(str(folder), 12).images
    for count in (1, 2, 3):
        assert [one.key for one in choose_images(str(folder), count).images] == [one.key for one in first[:count]]


def test_a_source_may_be_named_or_written_out():
    assert len(choose_images("drawn", 4).images) == 4
    chosen = choose_images("{kind: drawn, split: eval, voice: short, count: 9, captions: 3}", 20)
    assert len(chosen.images) == 9
    assert all(len(one.references) == 3 for one in chosen.images)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("{kind: drawn, voise: short}", "unknown key. Did you mean 'voice'"),
        ("{kind: drwan}", "none of"),
        ("{kind: drawn", "--data"),
    ],
)
def test_a_source_with_mistakes_is_refused_in_one_line(data, says):
    with pytest.raises(UserError, match=says) as caught:
        choose_images(data, 4)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_is_told_and_nothing_at_all_is_a_mistake(folder):
    (folder / "bad.png").touch()
    chosen = choose_images(str(folder), 99)
    assert len(chosen.images) == 12
    assert len(chosen.skipped) == 1 and "bad.png: the file is empty" in chosen.skipped[0]
    for path in folder.iterdir():
        path.unlink()
    (folder / "bad.png").touch()
    with pytest.raises(UserError, match=r"not one of 1 samples can be read .*bad.png"):
        choose_images(str(folder), 9)
    with pytest.raises(NotFoundError):
        choose_images(str(Path("nowhere")), 9)


def test_a_key_of_two_shards_is_told_with_its_shard(tmp_path):
    from tests.jobs.shards import write_shards

    write_shards(tmp_path / "shards", shards=2)
    keys = [one.key for one in choose_images(str(tmp_path / "shards"), 99).images]
    assert len(set(keys)) == len(keys)


def test_the_same_pixels_have_the_same_digest_and_others_another():
    one = ComparedImage(key="a", image=Image.new("RGB", (4, 4), "red"))
    same = ComparedImage(key="b", image=Image.new("RGB", (4, 4), "red"))
    wide = ComparedImage(key="c", image=Image.new("RGB", (8, 2), "red"))
    assert opened(one)[1] == opened(same)[1] != opened(wide)[1]
    assert opened(ComparedImage(key="d", image=(SAMPLES / "cat.jpg").read_bytes()))[0].mode == "RGB"
