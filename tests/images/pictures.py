"""Pictures with known pixels, for the image tests."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

RED, GREEN, BLUE, YELLOW, WHITE, BLACK = (
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 255, 255), (0, 0, 0),
)  # fmt: skip
LOSSY = 6  # a JPEG of flat colours at quality 95 without chroma subsampling is this exact


def quadrants(width=48, height=32):
    """Red upper left, green upper right, blue lower left, yellow lower right; wider than high, so turns show."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return image


def encoded(image, kind, **options):
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def jpeg(image, **options):
    return encoded(image, "JPEG", **({"quality": 95} | ({"subsampling": 0} if image.mode == "RGB" else {}) | options))


def noise(width=160, height=120, seed=0):
    """Smooth noise, so that a truncated file has many bytes to lose."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def corners(image):
    """The colours in the middle of the four quadrants: upper left, upper right, lower left, lower right."""
    w, h = image.size
    return [image.getpixel((x, y)) for y in (h // 4, 3 * h // 4) for x in (w // 4, 3 * w // 4)]


def far(found, expected):
    """The largest difference of any channel of any colour."""
    return int(np.abs(np.asarray(found, int) - np.asarray(expected, int)).max())


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width, height, *, extra=b""):
    """A PNG whose header claims any size, with next to no pixel data."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + header + extra + body + png_chunk(b"IEND", b"")
