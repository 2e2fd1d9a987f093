"""A decode process: pictures' bytes come in, pixels or why there are none go out; only the profile `fast` loads torch.

It is started by `images.pool` as a program of its own (not by multiprocessing, which would run the user's main module
again) and talks over its stdin and stdout: a length, a JSON header, then `bytes` bytes.
"""

import json
import os
import signal
import struct
import sys
import threading
import time
import traceback
from dataclasses import asdict
from typing import Any, BinaryIO

from captioners.core.errors import ImageError
from captioners.images.augment import View
from captioners.images.decode import AnyProfile
from captioners.images.fast import picture_of
from captioners.images.fit import Fit

_LENGTH = struct.Struct("<I")
_WATCH_S = 0.5
"""How often a process looks whether its parent still lives."""


def send(file: BinaryIO, header: dict[str, Any], payload: bytes = b"") -> None:
    """Write a header and the bytes that belong to it."""
    head = json.dumps(header | {"bytes": len(payload)}).encode()
    file.write(_LENGTH.pack(len(head)) + head)
    file.write(payload)
    file.flush()


def receive(file: BinaryIO) -> dict[str, Any]:
    """Read a header; `header["bytes"]` bytes follow it. Raises EOFError when the other side is gone."""
    (length,) = _LENGTH.unpack(receive_bytes(file, _LENGTH.size))
    header: dict[str, Any] = json.loads(receive_bytes(file, length))
    return header


def receive_bytes(file: BinaryIO, count: int) -> bytearray:
    """Read exactly `count` bytes, or raise EOFError."""
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = file.readinto(view)  # type: ignore[attr-defined]
        if not got:
            raise EOFError
        view = view[got:]
    return data


def setup(profile: AnyProfile, max_pixels: int, fit: Fit | None) -> str:
    """Return the argument that tells a process what to do with pictures."""
    return json.dumps({"profile": profile, "max_pixels": max_pixels, "fit": asdict(fit) if fit else None})


def main(parent: int, options: str) -> None:
    """Serve until stdin ends or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes us
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # What libraries print must not get among the pixels.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asked = json.loads(options)
    fit = Fit(**asked["fit"]) if asked["fit"] else None
    send(out, {"ready": True, "torch": "torch" in sys.modules})
    while True:
        try:
            header = receive(sys.stdin.buffer)
            data = bytes(receive_bytes(sys.stdin.buffer, header["bytes"]))
        except EOFError:
            return
        try:
            send(out, *_decode(data, header, asked["profile"], asked["max_pixels"], fit))
        except BrokenPipeError:
            return


def _decode(
    data: bytes, header: dict[str, Any], profile: AnyProfile, max_pixels: int, fit: Fit | None
) -> tuple[dict[str, Any], bytes]:
    try:
        view = View.from_json(header["view"]) if header["view"] else None
        picture = picture_of(data, profile, max_pixels, header["name"], fit, view)
    except ImageError as error:
        return {"reason": error.reason, "error": str(error)}, b""
    except MemoryError:
        return {"no_memory": True}, b""
    except Exception:
        return {"internal": traceback.format_exc()}, b""
    size = {"width": picture.width, "height": picture.height}
    return {"sha256": picture.sha256, "size": picture.image.size, **size}, picture.image.tobytes()


def _end_with(parent: int) -> None:
    # stdin ends with the parent, too, unless a fork of it holds the other end; and a long decode reads no stdin.
    while os.getppid() == parent:
        time.sleep(_WATCH_S)
    os._exit(0)
