"""How a run over a source starts: its folder can be written, its shards are frozen, and `runs/latest` leads to it."""

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError
from captioners.core.options import meaning_of
from captioners.core.run_dir import RunDir
from captioners.data.inputs import input_root
from captioners.data.source import Shard, SourceOptions
from captioners.data.spread import spread


def identity(source: SourceOptions, seed: int) -> str:
    """Return 6 hex digits for what the run is about: the same data and seed, the same run."""
    about: dict[str, Any] = {"source": meaning_of(source), "seed": seed}
    inputs = getattr(source, "inputs", None)
    if inputs:  # by their folder, so that a pattern of more shards goes on with the run
        about["root"] = str(input_root(inputs, getattr(source, "root", None)))
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:6]


def check_output(source: SourceOptions, run: RunDir) -> None:
    """Refuse an output inside an input folder, or one that cannot be written; nothing is made yet."""
    folder = run.place.local
    if folder is None:
        for given in getattr(source, "inputs", ()):
            if f"{run.url.rstrip('/')}/".startswith(f"{given.rstrip('/')}/"):
                raise UserError(f"output {run.url}: lies inside the input {given}; choose an output= outside of it")
        return
    for given in getattr(source, "inputs", ()):
        inputs = Path(given).expanduser()
        if inputs.is_dir() and folder.resolve().is_relative_to(inputs.resolve()):
            raise UserError(f"output {folder}: lies inside the input {given}; choose an output= outside of it")
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UserError(f"output {folder}: a file stands where a folder is needed; choose another output=")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"output {folder}: may not be written; choose another output=")


def begin(run: RunDir, settled: Mapping[str, Any]) -> dict[str, Any]:
    """Fix what is fixed at a run's first start, and return what was fixed then; UserError if it cannot be written."""
    try:
        return run.begin(settled)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"output {run.url}: cannot be written ({error.strerror}); choose another output=") from None


def shards_of(run: RunDir, source: SourceOptions) -> tuple[list[Shard], int]:
    """Return the shards of the run, those frozen first, and how many those are.

    The others follow in an order whose every beginning is an even sample of those found together.
    """
    frozen = [Shard(**found) for found in run.inputs()]
    found = source.open().shards(frozen)
    return [*frozen, *spread(found[len(frozen) :])], len(frozen)


def freeze(run: RunDir, source: SourceOptions) -> list[Shard]:
    """Return the shards of the run, now frozen: in one order for all processes that start at the same moment."""
    while True:
        freezings = run.freezings()
        shards, frozen = shards_of(run, source)
        if run.freeze([asdict(shard) for shard in shards[frozen:]], freezings):
            return shards


def link_latest(run: RunDir) -> None:
    """Let `runs/latest` lead to the run, if it lies below `runs/`."""
    folder = run.place.local
    if folder is None or folder.parent.name != "runs":
        return
    with suppress(OSError):  # a convenience; some file systems have no links
        part = folder.parent / f".latest.{os.getpid()}"
        part.symlink_to(folder.name)
        part.replace(folder.parent / "latest")
