"""Turn the bytes of a picture into RGB pixels, by a named decode profile.

`upright` is for reading captions: the picture as a person sees it. The EXIF orientation is applied, transparency shows
white paper, 16-bit grey keeps its high byte, and a file that ends too early is refused.
`as_trained` is what a CLIP trainer does, pixel for pixel: `Image.open(...).convert("RGB")`, with truncated files
decoded as far as they go. No orientation (save for TIFF, where Pillow itself applies it), colours hidden under
transparency come to light, 16-bit grey clips to white.

Pillow's two global switches (`Image.MAX_IMAGE_PIXELS`, `ImageFile.LOAD_TRUNCATED_IMAGES`) are never set: limits are
arguments here, and threads with other wishes stay undisturbed. Neither profile applies colour profiles (ICC), as in
training.
"""

import os
import struct
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageFile

from captioners.core.errors import ImageError, NotFoundError, UserError, near

Profile = Literal["upright", "as_trained"]
AnyProfile = Literal["upright", "as_trained", "fast"]
"""`fast` is for pictures that are brought to a captioner's size at once (`images.fast`)."""

MAX_PIXELS = 178_956_970
"""Width x height at most, asked before any pixel is decoded: where Pillow, too, refuses (0.5 GiB of RGB)."""

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
OTHER_SUFFIXES = (".png", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".avif", ".jp2", ".ppm", ".pgm", ".qoi")
HEIC_SUFFIXES = (".heic", ".heif")  # listed so that they are reported, not overlooked, where the codec is missing
SUFFIXES = frozenset(JPEG_SUFFIXES + OTHER_SUFFIXES + HEIC_SUFFIXES)
"""What `list_images` takes for a picture."""

# Tried in this order. A closed list: Pillow's others are no photographs, and one of them (EPS) runs a program.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM", "QOI")
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ORIENTATION = 0x0112  # EXIF 2.32, section 4.6.4


@dataclass(frozen=True)
class Picture:
    """One decoded picture and where it came from."""

    image: Image.Image
    """RGB, of `width` x `height` px, without metadata."""
    sha256: str
    """Of the file's bytes, hexadecimal: the picture's identity."""
    source: str
    """The file's path, or the name given with the bytes."""
    width: int
    height: int


def sha256_of(data: bytes) -> str:
    """Return the hexadecimal sha256 of `data`."""
    return sha256(data).hexdigest()


def read_image(
    source: bytes | str | Path, profile: Profile = "upright", max_pixels: int = MAX_PIXELS, name: str = "<bytes>"
) -> Picture:
    """Decode a file, or the bytes of one, to RGB; the first frame or page where there are several.

    `name` stands for bytes in messages. Raises ImageError with a `reason` out of `empty not_an_image truncated
    too_large missing_codec unreadable`, NotFoundError when there is no such file, and UserError when the file could
    not be read at all (which says nothing about the picture).
    """
    if profile not in get_args(Profile):
        raise UserError(f"no decode profile is named {profile!r}: it is one of {', '.join(get_args(Profile))}")
    if isinstance(source, bytes):
        data = source
    else:
        name, data = str(source), _read_bytes(Path(source))
    if not data:
        raise ImageError(f"{name}: the file is empty (0 bytes); copy or download it again", "empty")
    image = open_header(data, name)
    if image.width * image.height > max_pixels:
        found = f"{image.width} x {image.height} pixels, more than the limit of {max_pixels:,}"
        raise ImageError(f"{name}: {found}; make the picture smaller, or raise max_pixels", "too_large")
    try:
        _load(image, tolerant=profile == "as_trained")
        rgb = _upright(image, name) if profile == "upright" else _as_trained(image)
    except (ImageError, MemoryError):  # a machine short of memory says nothing about the picture
        raise
    except Exception as error:  # a hostile file makes Pillow's plugins raise nearly anything
        raise _broken(name, error) from error
    rgb.info = {}
    return Picture(rgb, sha256_of(data), name, rgb.width, rgb.height)


def list_images(path: str | Path) -> list[Path]:
    """Return the pictures under a folder, by suffix, recursively, sorted by path; a file returns itself.

    Hidden files and folders and links to folders are left out. Raises NotFoundError when there is no such path.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise _missing(root)
    found: list[Path] = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        shown = (Path(folder, name) for name in files if not name.startswith("."))
        found += [file for file in shown if file.suffix.lower() in SUFFIXES]
    return sorted(found)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _missing(path) from None
    except IsADirectoryError:
        raise ImageError(f"{path}: a folder, not a picture; name the pictures in it", "unreadable") from None
    except OSError as error:
        what = error.strerror or str(error)
        raise UserError(f"{path}: could not be read ({what}); check its permissions and its disk") from error


def _missing(path: Path) -> NotFoundError:
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return NotFoundError(f"{path}: no such file or folder.{near(path.name, siblings) or ' Check the path.'}")


def open_header(data: bytes, name: str) -> ImageFile.ImageFile:
    """Read the header only: `Image.open` without its bomb check, whose limit is global and whose warning may raise."""
    Image.init()
    heif = data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS
    failure: Exception | None = None
    for kind in (*_FORMATS, "HEIF") if heif and _heif_codec() else _FORMATS:
        if kind not in Image.OPEN:
            continue
        factory, accept = Image.OPEN[kind]
        accepted = accept(data[:16]) if accept else True
        if isinstance(accepted, str):  # Pillow's way to say that it was built without this codec
            advice = "install a Pillow that can, or convert it to JPEG"
            raise ImageError(f"{name}: a {kind} picture, which this Pillow cannot read; {advice}", "missing_codec")
        if accepted:
            try:
                return factory(BytesIO(data), "")
            except Exception as error:  # as above; another format may still know these bytes
                failure = error
    if heif and not _heif_codec():
        raise ImageError(f"{name}: a HEIC picture; to read it, pip install 'captioners[heif]'", "missing_codec")
    if failure is not None:
        raise _broken(name, failure) from failure
    start = f"it starts with {data[:8]!r}"
    raise ImageError(f"{name}: not a picture of a known format ({start}); convert it to JPEG or PNG", "not_an_image")


def _heif_codec() -> bool:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _load(image: ImageFile.ImageFile, *, tolerant: bool) -> None:
    """Decode all pixels; if `tolerant`, keep what a truncated file gave, as LOAD_TRUNCATED_IMAGES would.

    Pillow decodes into `image.im` piece by piece and raises when the file ends early: what was decoded is there
    already, so nothing global needs to be switched. libtiff decodes by itself and fails under the switch, too.
    """
    libtiff = bool(image.tile) and image.tile[0][0] == "libtiff"
    if tolerant and image.format in ("JPEG", "MPO"):
        _end_jpeg(image)
    try:
        image.load()
    except (OSError, SyntaxError, IndexError, struct.error):
        if not tolerant or libtiff or image._im is None:
            raise
        image.tile = []
        image.load()


def _end_jpeg(image: ImageFile.ImageFile) -> None:
    """Give a JPEG that ends early an end-of-image marker, once, so that libjpeg hands out all it has decoded."""
    file, ends = image.fp, [b"\xff\xd9"]
    assert file is not None

    def load_read(count: int) -> bytes:
        return file.read(count) or (ends.pop() if ends else b"")

    image.load_read = load_read  # type: ignore[attr-defined]


def _as_trained(image: Image.Image) -> Image.Image:
    # Plain convert warns when a palette has several transparent entries; by way of RGBA it gives the same colours.
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")
    return image.convert("RGB")


def _upright(image: Image.Image, name: str) -> Image.Image:
    try:
        method = _TRANSPOSE.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a broken tag is no reason to lose the picture
        method = None
    if method is not None:
        image = image.transpose(method)
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled(image, name).convert("RGB")
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return image.convert("RGB")


def _scaled(image: Image.Image, name: str) -> Image.Image:
    """Return 8-bit grey of deep grey: the high byte of 16 bits (as Pillow reads 16-bit colour), 0..1 floats x 255."""
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not (low >= 0 and high <= 1):  # NaN fails this, too
            found = f"float pixels of {low:g}..{high:g}, outside 0..1"
            raise ImageError(f"{name}: {found}; save it with 8 or 16 bits", "unreadable")
        return Image.fromarray((values * 255 + 0.5).astype(np.uint8))
    if low < 0 or high > 0xFFFF:
        found = f"integer pixels of {low}..{high}, outside 0..65535"
        raise ImageError(f"{name}: {found}; save it with 8 or 16 bits", "unreadable")
    return Image.fromarray((values.astype(np.uint16) >> 8).astype(np.uint8))


def _broken(name: str, error: Exception) -> ImageError:
    """Return the one-line ImageError for what a Pillow plugin raised."""
    said = " ".join(str(error).split()) or type(error).__name__
    again = "copy or download it again"
    if "too large" in said:  # a bomb in a text or colour-profile chunk, stopped by Pillow
        return ImageError(f"{name}: metadata that unpack beyond all measure ({said}); save it anew", "too_large")
    early = any(word in said.lower() for word in ("truncated", "incomplete", "unexpected end"))
    if early or isinstance(error, struct.error | IndexError | EOFError):
        return ImageError(f"{name}: the file ends before the picture does ({said}); {again}", "truncated")
    found = f"a damaged picture, or a variant of its format that Pillow cannot read ({said})"
    return ImageError(f"{name}: {found}; {again}, or convert it to JPEG or PNG", "unreadable")
