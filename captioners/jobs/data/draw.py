"""Draw scenes of the drawn world into webdataset shards.

    OUT/00000.tar    KEY.jpg    the picture, 96 x 96 px
                     KEY.txt    the first caption of the chosen voice
                     KEY.json   {"world": 1, "scene": {...}, "captions": {voice: [...], ...}}
    OUT/sizes.json   {"00000.tar": samples, ...}, written last: without it the folder is not whole

The same options write the same bytes in the same environment.
"""

import errno
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError
from captioners.data.drawn_render import jpeg
from captioners.data.drawn_scene import WORLD_VERSION, scene
from captioners.data.drawn_source import key_of
from captioners.data.drawn_voices import VOICES, captions
from captioners.data.tar import TarWriter


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """What to draw, and where to."""

    out: Path
    """A folder that is new or empty."""
    count: int = 2000
    """Scenes."""
    seed: int = 0
    split: str = "caption"
    """pretrain, finetune, caption or eval."""
    per_shard: int = 1000
    """Scenes of a tar; the last may hold fewer."""
    voice: str = "alt_text"
    """Whose first caption is the `.txt`."""
    captions: int = 5
    """Captions of every voice in the `.json`."""


def data_draw(options: DrawOptions, say: Callable[[str], None] = lambda _: None) -> dict[str, int]:
    """Write the shards and return {tar: scenes}, as `sizes.json` has it; `say` hears of every shard.

    What was written is removed if it cannot be finished. Raises NotFoundError for an unknown split or voice, and
    UserError when `out` is not free or not writable.
    """
    captions(scene(options.seed, options.split, 0), options.voice, 1, options.seed)  # refuse names before any file
    out = options.out.expanduser()
    try:
        made = _free_folder(out)
    except OSError as error:
        raise _not_writable(out, error) from error
    sizes: dict[str, int] = {}
    try:
        for first in range(0, options.count, options.per_shard):
            name = f"{len(sizes):05d}.tar"
            sizes[name] = min(options.per_shard, options.count - first)
            _write_shard(out / name, range(first, first + sizes[name]), options)
            say(f"{name}: {sizes[name]} scenes")
        (out / "sizes.json").write_text(f"{json.dumps(sizes, indent=2)}\n", encoding="utf-8")
    except BaseException as error:
        for name in (*sizes, "sizes.json"):
            (out / name).unlink(missing_ok=True)
        if made:
            with suppress(OSError):  # somebody put something there meanwhile
                out.rmdir()
        if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise _not_writable(out, error) from error
        raise
    return sizes


def _free_folder(out: Path) -> bool:
    """Make the folder unless it is there and empty; return whether it was made."""
    if out.is_dir():
        if any(out.iterdir()):
            raise UserError(f"{out}: is not empty; name a new folder, or remove this one")
        return False
    if out.exists():
        raise UserError(f"{out}: is a file; name a folder")
    out.mkdir(parents=True)
    return True


def _not_writable(out: Path, error: OSError) -> UserError:
    return UserError(f"{out}: cannot be written ({error.strerror or error}); choose another folder")


def _write_shard(path: Path, indices: range, options: DrawOptions) -> None:
    with TarWriter(path) as tar:
        for index in indices:
            drawn = scene(options.seed, options.split, index)
            said = {voice: captions(drawn, voice, options.captions, options.seed) for voice in VOICES}
            about = {"world": WORLD_VERSION, "scene": drawn.to_json(), "captions": said}
            tar.add(
                key_of(index),
                {"jpg": jpeg(drawn), "txt": said[options.voice][0].encode(), "json": _compact(about)},
            )


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
