"""A picture as a row of a table gives it: a path below a folder, base64, bytes, or the struct of `datasets`.

A path may not lead out of its folder, whatever the row says, and nothing is downloaded.
"""

import re
from base64 import b64decode
from pathlib import Path, PurePosixPath
from typing import Any

from captioners.core.errors import UserError
from captioners.core.remote_file import RemotePath
from captioners.data.texts import BadSampleError

_BASE64 = re.compile(r"(/9j/|iVBORw0KGgo|UklGR|R0lGOD|Qk|SUkq|TU0AK|AAAA)[A-Za-z0-9+/\s]{56,}=*\s*")
"""Base64 of a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC: by its beginning, and without the dot of a file's name."""
_LONGEST_PATH = 4096


def image_bytes(value: Any, column: str, root: Path | RemotePath) -> bytes:
    """Return the picture that a column's value means.

    Raises:
        BadSampleError: no_image, missing, empty, unsafe_name or bad_line, with what was looked for and where.
        UserError: the disk or the permissions refuse.
    """
    if isinstance(value, dict) and {"bytes", "path"} & value.keys():  # the feature `Image` of datasets, undecoded
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        data = value
    elif isinstance(value, str) and value:
        data = _decoded(value) if is_base64(value) else read_inside(root, value)
    else:
        raise BadSampleError("no_image", f"the column {column!r} holds no image: {value!r:.40}")
    if not data:
        raise BadSampleError("empty", f"the image {value!r:.80} is empty (0 bytes)")
    return data


def is_base64(value: str) -> bool:
    """Whether a text is a picture in base64, and no path."""
    return value.startswith("data:") or _BASE64.fullmatch(value) is not None


def _decoded(value: str) -> bytes:
    if value.startswith("data:"):
        value = value.partition(",")[2]
    try:
        return b64decode("".join(value.split()), validate=True)
    except ValueError as error:
        raise BadSampleError("bad_line", f"the image is no whole base64 ({error})") from None


def read_inside(root: Path | RemotePath, value: str) -> bytes:
    """Read a picture below `root`; links are followed first and must stay below, too."""
    if "://" in value:
        raise BadSampleError("no_image", f"the image is an address ({value:.80}); nothing is downloaded here")
    if len(value) > _LONGEST_PATH or not value.isprintable():
        raise BadSampleError("no_image", f"the image is neither a path nor base64 of a known format ({value!r:.40})")
    if isinstance(root, RemotePath):
        return _read_below(root, value)
    try:
        file = (root / value).resolve()
        if not file.is_relative_to(root.resolve()):
            raise BadSampleError("unsafe_name", f"the image {value!r} lies outside {root}; name a folder that holds it")
        if not file.is_file():
            raise BadSampleError("missing", f"the image {value!r} is not there; it is looked for in {root}")
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise BadSampleError("missing", f"the image {value!r} is not there; it is looked for in {root}") from None
    except (OSError, RuntimeError) as error:
        said = getattr(error, "strerror", None) or str(error)
        if said == "File name too long" or isinstance(error, RuntimeError):
            raise BadSampleError("missing", f"the image {value!r:.80} is no usable path ({said})") from None
        raise UserError(f"{root / value}: could not be read ({said}); check its permissions and its disk") from error


def _read_below(root: RemotePath, value: str) -> bytes:
    """Read a picture of a store whose key begins with `root`: it knows no links, and no folders above."""
    if value.startswith("/") or ".." in value.split("/"):
        raise BadSampleError("unsafe_name", f"the image {value!r} lies outside {root}; name a folder that holds it")
    try:
        return (root / PurePosixPath(value).as_posix()).read_bytes()
    except FileNotFoundError:
        raise BadSampleError("missing", f"the image {value!r} is not there; it is looked for in {root}") from None
