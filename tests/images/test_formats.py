"""Formats by first bytes, against Pillow's own encoders."""

import pytest

from captioners.images.formats import extension_of
from tests.images.pictures import encoded, quadrants

KINDS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "tif": "TIFF", "bmp": "BMP", "avif": "AVIF"}
KINDS |= {"jp2": "JPEG2000", "ppm": "PPM"}


@pytest.mark.parametrize(("extension", "kind"), KINDS.items())
def test_a_format_is_told_by_its_first_bytes(extension, kind):
    assert extension_of(encoded(quadrants(), kind)) == extension


def test_what_is_no_picture_has_no_format():
    for data in (b"", b"hello", b"RIFFxxxxWAVE", b"<svg/>", b"\0\0\0\x18ftypmp42", b"%PDF-1.7"):
        assert extension_of(data) is None
