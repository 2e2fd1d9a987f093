"""Bytes that are not a readable picture: one line that names the file and says what to do, and the right reason."""

import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from captioners.core.errors import ImageError, NotFoundError, UserError
from captioners.images.decode import MAX_PIXELS, list_images, read_image
from tests.images.pictures import encoded, jpeg, noise, png_chunk, png_claiming, quadrants


def refused(data, reason, says, **options):
    with pytest.raises(ImageError) as caught:
        read_image(data, name="holiday/dog.jpg", **options)
    message = str(caught.value)
    assert caught.value.reason == reason, message
    assert message.startswith("holiday/dog.jpg: ")
    assert "\n" not in message
    assert says in message


def test_zero_bytes():
    refused(b"", "empty", "0 bytes")


@pytest.mark.parametrize("data", [b"<html>404</html>", b"%PDF-1.7 ...", b"\0" * 100, b"x", b"%!PS-Adobe-3.0 EPSF"])
def test_not_a_picture(data):
    refused(data, "not_an_image", "not a picture")


@pytest.mark.parametrize("kind", ["JPEG", "progressive", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "BMP"])
@pytest.mark.parametrize("share", [0.03, 0.5, 0.9])
def test_truncated(kind, share):
    options = {"JPEG": {}, "progressive": {"progressive": True}}.get(kind, {})
    whole = encoded(noise(), "JPEG" if kind == "progressive" else kind, **options)
    with pytest.raises(ImageError) as caught:
        read_image(whole[: int(len(whole) * share)], name="dog")
    assert caught.value.reason in ("truncated", "unreadable")
    if kind in ("JPEG", "progressive", "PNG"):
        assert caught.value.reason == "truncated", str(caught.value)


def test_a_jpeg_cut_within_its_header_is_refused_as_trained_too():
    refused(jpeg(noise())[:200], "truncated", "again", profile="as_trained")


def test_too_many_pixels_are_refused_before_decoding():
    refused(png_claiming(20_000, 20_000), "too_large", "20000 x 20000 pixels")
    refused(jpeg(quadrants()), "too_large", "the limit of 1,000", max_pixels=1_000)


def test_the_limit_is_ours_alone(monkeypatch):
    """Pillow's global limit neither warns (an error here) nor refuses, and stays as it was."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    assert read_image(jpeg(quadrants())).width == 48
    assert Image.MAX_IMAGE_PIXELS == 1_000


def test_between_pillows_warning_and_its_error_no_warning_is_raised():
    claimed = png_claiming(12_000, 12_000)  # 144 Mpx: Pillow would warn, and warnings are errors in this suite
    assert MAX_PIXELS > 12_000**2
    refused(claimed, "truncated", "ends before")


def test_a_bomb_in_a_text_chunk():
    bomb = zlib.compress(b"a" * 20_000_000, 9)
    refused(png_claiming(4, 4, extra=png_chunk(b"zTXt", b"Comment\0\0" + bomb)), "too_large", "metadata")


def test_a_bomb_in_a_colour_profile():
    bomb = zlib.compress(b"a" * 20_000_000, 9)
    refused(png_claiming(4, 4, extra=png_chunk(b"iCCP", b"profile\0\0" + bomb)), "too_large", "metadata")


def test_threads_with_other_wishes_do_not_meet():
    """Strict and tolerant readers at once: neither ever sees the other's profile."""
    whole = jpeg(noise())
    cut = whole[: len(whole) // 2]

    def read(turn):
        if turn % 2:
            return read_image(cut, "as_trained").image.tobytes()
        with pytest.raises(ImageError):
            read_image(cut)
        return None

    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(read, range(200)))
    assert len(found) == 2


def test_flipped_bytes_never_raise_anything_else():
    """Five hundred damaged files: each is read or refused as an ImageError (a run would quarantine it)."""
    rng = np.random.default_rng(7)
    kinds = [encoded(noise(64, 48), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")]
    outcomes = {"read": 0, "refused": 0}
    for trial in range(490):
        data = bytearray(kinds[trial % len(kinds)])
        for at in rng.integers(0, min(len(data), 400), 4):
            data[at] = rng.integers(0, 256)
        try:
            read_image(bytes(data), ("upright", "as_trained")[trial % 2], max_pixels=1_000_000)
            outcomes["read"] += 1
        except ImageError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20, outcomes


def test_heic_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    refused(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50, "missing_codec", "pip install 'captioners[heif]'")


def test_heic_is_read_where_the_codec_is(monkeypatch):
    """The extra registers itself with Pillow; a stand-in shows that the bytes reach it."""

    def register():
        Image.register_open("HEIF", lambda fp, name: Image.open(_png()), lambda prefix: True)

    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(register_heif_opener=register))
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    assert read_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50).image.size == (48, 32)


def _png():
    from io import BytesIO

    return BytesIO(encoded(quadrants(), "PNG"))


def test_a_codec_missing_from_pillow(monkeypatch):
    monkeypatch.setitem(Image.OPEN, "WEBP", (Image.OPEN["WEBP"][0], lambda prefix: "WEBP support not installed"))
    refused(b"RIFF\0\0\0\0WEBPVP8 ", "missing_codec", "WEBP")


def test_float_and_integer_pixels_without_a_known_range():
    wild = Image.fromarray(np.array([[0, 700.0]], dtype=np.float32))
    refused(encoded(wild, "TIFF"), "unreadable", "outside 0..1")
    holes = Image.fromarray(np.array([[0, np.nan]], dtype=np.float32))
    refused(encoded(holes, "TIFF"), "unreadable", "outside 0..1")
    wide = Image.fromarray(np.array([[0, 70_000]], dtype=np.int32))
    refused(encoded(wide, "TIFF"), "unreadable", "outside 0..65535")


def test_no_such_file_names_its_neighbours(tmp_path):
    (tmp_path / "kitten.jpg").touch()
    with pytest.raises(NotFoundError, match=r"kiten\.jpg: no such file or folder\. Did you mean 'kitten\.jpg'\?"):
        read_image(tmp_path / "kiten.jpg")
    with pytest.raises(NotFoundError, match="no such file"):
        list_images(tmp_path / "nowhere" / "at all")


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(ImageError, match="a folder, not a picture") as caught:
        read_image(tmp_path)
    assert caught.value.reason == "unreadable"


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux")
def test_a_failing_disk_does_not_blame_the_picture():
    with pytest.raises(UserError) as caught:  # reading address 0 of this process fails with EIO
        read_image("/proc/self/mem")
    assert not isinstance(caught.value, ImageError)


def test_unknown_profile():
    with pytest.raises(UserError, match="upright, as_trained"):
        read_image(jpeg(quadrants()), "sideways")
