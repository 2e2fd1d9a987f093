"""The same picture, edited, is found again; other pictures are not taken for it; against an all-pairs answer."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.fft import dctn

import captioners
from captioners.data.drawn_source import DrawnOptions
from captioners.data.duplicates import LEAST_CORRELATION, MOST_BITS, Groups, fingerprint, near_duplicates

# Without the galaxies: points of light on black, of which a thumbnail keeps little.
PHOTOS = sorted((Path(captioners.__file__).parent / "samples").glob("[!g]*.jpg"))


def photos():
    return [Image.open(path).convert("RGB") for path in PHOTOS]


def jpeg(image, quality):
    file = BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


EDITS = {
    "re-encoded": lambda image: jpeg(image, 30),
    "half as large": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "a pixel cut": lambda image: image.crop((1, 1, image.width - 1, image.height - 1)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_photo_is_found_again_and_no_other(edit):
    found = [fingerprint(image) for image in photos()]
    edited = [fingerprint(EDITS[edit](image)) for image in photos()]
    count = len(found)
    assert near_duplicates(found + edited).tolist() == [*range(count), *range(count)]


def test_a_mirrored_photo_is_another_picture():
    image = photos()[0]
    assert near_duplicates([fingerprint(image), fingerprint(image.transpose(0))]).tolist() == [0, 1]


def test_the_hash_is_the_dct_hash():
    """By scipy's transform: the 63 lowest frequencies but the mean, above their median."""
    for image in photos():
        grey = np.asarray(image.resize((32, 32), Image.Resampling.BOX, reducing_gap=2.0).convert("L"), dtype=float)
        low = dctn(grey)[:8, :8].ravel()[1:]
        bits = "".join(str(int(value > np.median(low))) for value in low) + "0"
        assert fingerprint(image)[0] == int(bits, 2)


def test_one_layout_in_two_colours_is_two_pictures():
    def disc(colour):
        picture = np.full((64, 64, 3), 245, dtype=np.uint8)
        picture[20:44, 20:44] = colour
        return fingerprint(Image.fromarray(picture))

    red, green, blue = disc((200, 60, 60)), disc((60, 160, 60)), disc((60, 60, 200))
    assert abs(red[0] ^ blue[0]).bit_count() <= MOST_BITS  # so the hash alone would join them
    assert near_duplicates([red, green, blue]).tolist() == [0, 1, 2]


def test_plain_pictures_are_the_same_only_in_the_same_colour():
    colours = [(255, 255, 255), (0, 0, 0), (255, 0, 0), (254, 254, 254)]
    found = [fingerprint(Image.new("RGB", (50, 40), colour)) for colour in colours]
    assert near_duplicates(found).tolist() == [0, 1, 2, 0]
    assert near_duplicates([]).tolist() == []


def test_bands_find_what_all_pairs_find():
    """Drawn scenes are near each other by the hundred; compared all against all, plainly."""
    source = DrawnOptions(split="finetune", count=250).open()
    pictures = [Image.open(BytesIO(s.image)).convert("RGB") for shard in source.shards() for s in source.samples(shard)]
    found = [fingerprint(image) for image in [*pictures, *(jpeg(image, 40) for image in pictures[:60])]]
    groups = Groups(len(found))
    for i, (a, thumbnail) in enumerate(found):
        for j, (b, other) in enumerate(found[:i]):
            near = (a ^ b).bit_count() <= MOST_BITS
            if near and np.corrcoef(thumbnail.astype(float), other.astype(float))[0, 1] >= LEAST_CORRELATION:
                groups.join([i], [j])
    expected = [groups.find(number) for number in range(len(found))]
    assert near_duplicates(found).tolist() == expected
    assert 250 - 60 <= len(set(expected)) <= 250


def test_many_copies_are_no_many_pairs():
    """40,000 pictures, most of them copies of two: a second, not hours."""
    generator = np.random.default_rng(0)
    base = generator.integers(0, 256, (2, 768)).astype(np.uint8)
    found = [(int(n % 2) << 40, base[n % 2]) for n in range(38_000)]
    found += [(int(h), generator.integers(0, 256, 768).astype(np.uint8)) for h in generator.integers(0, 2**63, 2000)]
    groups = near_duplicates(found)
    assert len(set(groups.tolist())) == 2002
    assert groups[:4].tolist() == [0, 1, 0, 1]
