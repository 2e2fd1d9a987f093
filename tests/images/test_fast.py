"""The profile `fast`: `upright` but for a grey level here and there, and `upright` itself where it has no quick way."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from captioners.core.errors import ImageError, UserError
from captioners.images.decode import MAX_PIXELS
from captioners.images.fast import picture_of
from captioners.images.fit import Fit
from captioners.images.pool import DecodePool
from captioners.jobs.bench.io import WANTED_ERROR, photos

FIT = Fit(64, 64)


def pixels(data, profile, fit=FIT, most=MAX_PIXELS):
    return np.asarray(picture_of(data, profile, most, "x", fit).image).astype(int)


def jpeg(image, **more):
    file = BytesIO()
    image.save(file, "JPEG", quality=90, **more)
    return file.getvalue()


@pytest.fixture(scope="module")
def photo():
    return Image.open(BytesIO(photos(256)[0]))


@pytest.mark.parametrize(
    "fit", [FIT, Fit(48, 64), Fit(64, 64, "longest"), Fit(64, 64, "squash"), Fit(256, 256)], ids=str
)
def test_a_jpeg_is_a_grey_level_off_at_the_most_and_two_where_it_is_enlarged(photo, fit):
    wide = photo.crop((0, 40, 256, 200))
    off = abs(pixels(jpeg(wide), "fast", fit) - pixels(jpeg(wide), "upright", fit))
    assert off.max() <= (2 if fit.width == 256 else 1) and off.mean() / 255 / 0.26 < WANTED_ERROR


def test_the_quick_way_is_taken_for_a_jpeg_and_not_for_others(photo, monkeypatch):
    monkeypatch.setattr("captioners.images.fast.read_image", lambda *_: pytest.fail("the common way"))
    picture = picture_of(jpeg(photo.crop((0, 0, 200, 100))), "fast", MAX_PIXELS, "x", FIT)
    assert (picture.width, picture.height, picture.image.size) == (200, 100, (64, 64))
    with pytest.raises(pytest.fail.Exception):
        picture_of(jpeg(photo.convert("L")), "fast", MAX_PIXELS, "x", FIT)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_pictures_stand_upright(photo, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = jpeg(photo.crop((0, 40, 256, 200)), exif=exif)
    assert abs(pixels(data, "fast") - pixels(data, "upright")).max() <= 1
    seen, plain = picture_of(data, "fast", MAX_PIXELS, "x", FIT), picture_of(data, "upright", MAX_PIXELS, "x", FIT)
    assert (seen.width, seen.height, seen.sha256) == (plain.width, plain.height, plain.sha256)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_what_is_no_plain_jpeg_is_upright_to_the_last_bit(photo, mode):
    data = jpeg(photo.convert(mode))
    assert (pixels(data, "fast") == pixels(data, "upright")).all()
    file = BytesIO()
    photo.save(file, "PNG")
    assert (pixels(file.getvalue(), "fast") == pixels(file.getvalue(), "upright")).all()
    assert (pixels(jpeg(photo), "fast", None) == pixels(jpeg(photo), "upright", None)).all()


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data[:200], lambda data: b"\xff\xd8\xff"]
)
def test_what_is_damaged_is_refused_for_the_same_reason(photo, damage):
    data = damage(jpeg(photo))
    reasons = []
    for profile in ("fast", "upright"):
        with pytest.raises(ImageError) as refused:
            picture_of(data, profile, MAX_PIXELS, "x", FIT)
        reasons.append((refused.value.reason, str(refused.value)))
    assert reasons[0] == reasons[1]


def test_without_its_decoder_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("captioners.images.fast.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'captioners\[fast\]'"):
        DecodePool(0, profile="fast")
    DecodePool(0, profile="upright").close()


def test_limits_are_kept(photo):
    with pytest.raises(ImageError, match="more than the limit of 1,000"):
        pixels(jpeg(photo), "fast", most=1000)
    with pytest.raises(ImageError, match="too long and narrow"):
        pixels(jpeg(Image.new("RGB", (60000, 1))), "fast", Fit(224, 224))
