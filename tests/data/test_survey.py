"""Every sample once: what can be trained on, and why the rest cannot."""

from dataclasses import dataclass

from PIL import Image

from captioners.data.source import Sample, Shard, Unreadable
from captioners.data.survey import survey
from tests.images.pictures import encoded, jpeg, noise


@dataclass
class Scripted:
    """A source of one shard."""

    rows: list

    def shards(self, frozen=()):
        return [Shard(path="one", size=0, stamp="")]

    def samples(self, shard, start=0):
        return iter(self.rows[start:])

    def image(self, shard, key, offset, size):
        raise AssertionError


def sample(index, image, captions=("a photo",), **meta):
    return Sample(shard="one", key=f"k{index}", index=index, image=image, captions=tuple(captions), meta=meta)


def test_items_and_skipped_are_all_samples_in_order():
    picture = noise()
    rows = [
        sample(0, jpeg(picture), ["a red thing", "  "], album="june"),
        sample(1, encoded(picture, "PNG"), info={"album": 3}),
        sample(2, b"no picture"),
        sample(3, jpeg(picture), [" "]),
        sample(4, jpeg(picture)[:2000]),
        Unreadable(shard="one", key="k5", index=5, reason="missing", error="k5: is gone since the run began"),
    ]
    kept, seen = [], []
    found = survey(
        Scripted(rows),
        group_by="album",
        prepare=lambda image: image.size,
        keep=lambda size, file: kept.append(size),
        seen=seen.append,
    )
    assert [(item.key, item.captions, item.format, item.group) for item in found.items] == [
        ("k0", ("a red thing",), "jpg", "june"),
        ("k1", ("a photo",), "png", None),
    ]
    assert [(r["key"], r["reason"]) for r in found.skipped] == [
        ("k2", "not_an_image"), ("k3", "no_caption"), ("k4", "truncated"), ("k5", "missing"),
    ]  # fmt: skip
    assert "give it one, or leave the image out" in found.skipped[1]["error"]
    assert (kept, seen, found.read) == ([(160, 120), (160, 120)], [6], 6)
    assert found.items[0].sha256 != found.items[1].sha256
    assert survey(Scripted(rows), group_by="info.album").items[1].group == "3"


def test_the_profile_is_the_recipes():
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    seen = []
    for profile in ("upright", "as_trained"):
        survey(
            Scripted([sample(0, encoded(image, "PNG"))]),
            profile=profile,
            prepare=lambda image: image.getpixel((0, 0)),
            keep=lambda pixel, file: seen.append(pixel),
        )
    assert seen == [(255, 255, 255), (255, 0, 0)]
