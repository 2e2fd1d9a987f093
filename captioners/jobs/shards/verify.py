"""Check a set of shards against what a trainer takes, and mend what is safe to mend.

Every trap is told with its shard, its member and a remedy. Mending writes a shard anew beside the old one and renames
it, never touches a picture's bytes, and is followed by another check.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from captioners.core.errors import NotFoundError, UserError, near
from captioners.core.remote_file import RemotePath
from captioners.data.inputs import File, find_inputs, open_file
from captioners.data.tar import COMPRESSED_SUFFIXES
from captioners.reinforcement.check import ShardCheck
from captioners.reinforcement.members import Problem
from captioners.reinforcement.mend import MENDABLE
from captioners.reinforcement.mend_shard import mend_shard
from captioners.reinforcement.set_files import (
    CONFIG,
    INFO,
    MANIFEST,
    SIZES,
    problems_of_set_files,
    set_files,
    wrapped_config,
)

TARGETS = ("mobileclip-dr",)
_BESIDE = {PurePosixPath(name).stem for name in (SIZES, MANIFEST, INFO, CONFIG)}
"""Traps of files beside shards."""
Trap = Problem
"""What is told of a shard."""


@dataclass
class VerifiedShards:
    """What was looked at and what was found."""

    shards: int = 0
    samples: int = 0
    traps: Counter[str] = field(default_factory=Counter)
    """Trap -> how often, after mending."""
    mendable: bool = False
    """Whether `fix` may take out some of them."""
    mended: dict[str, list[str]] = field(default_factory=dict)
    """Shard, or file beside shards -> what was done."""


def verify_shards(
    given: str, target: str, *, fix: bool = False, say: Callable[[str, Problem], None] = lambda _shard, _problem: None
) -> VerifiedShards:
    """Check the shards that a path, a folder or a pattern means; `say` hears of every trap that is left.

    Raises:
        NotFoundError: no such shards, or no such target. UserError: shards elsewhere are to be mended.
    """
    if target not in TARGETS:
        raise NotFoundError(f"no target is named {target!r}.{near(target, TARGETS)} Known: {', '.join(TARGETS)}")
    files = find_inputs([given], (".tar", *COMPRESSED_SUFFIXES), "tar shards")
    if fix and any(isinstance(file, RemotePath) for file in files.values()):
        raise UserError(f"{given}: shards elsewhere are checked where they are; copy them here to mend them")
    return _Verify(files, fix, say).run()


class _Verify:
    def __init__(self, files: Mapping[str, File], fix: bool, say: Callable[[str, Problem], None]) -> None:
        self._files, self._fix, self._say = files, fix, say
        self._found = VerifiedShards(shards=len(files))
        self._counts: dict[str, int] = {}
        """Shard -> samples."""

    def run(self) -> VerifiedShards:
        """Check shard after shard, then what stands beside them."""
        for name, file in self._files.items():
            problems, samples = _check(file)
            if self._fix and isinstance(file, Path) and any(one.trap in MENDABLE for one in problems):
                try:
                    self._found.mended[name] = mend_shard(file)
                except UserError as error:
                    problems.append(Problem("not_mended", "", f"the shard stays as it is: {error}", "write it again"))
                else:
                    problems, samples = _check(file)
            self._tell(name, problems)
            self._found.samples += samples
            self._counts[name] = samples
        self._beside()
        return self._found

    def _tell(self, shard: str, problems: list[Problem]) -> None:
        for problem in problems:
            self._found.traps[problem.trap] += 1
            self._found.mendable |= not self._fix and problem.trap in (MENDABLE | _BESIDE)
            self._say(shard, problem)

    def _beside(self) -> None:
        """Check the files of every folder with shards, and of the folder above all."""
        name, top = next(iter(self._files.items()))
        for _ in name.split("/"):
            top = top.parent
        for folder in dict.fromkeys(("", *(name.rpartition("/")[0] for name in self._counts))):
            place, start = (top / folder, f"{folder}/") if folder else (top, "")
            shards = {name.removeprefix(start): n for name, n in self._counts.items() if name.startswith(start)}
            files = _read(place)
            problems = problems_of_set_files(files, shards)
            if problems and self._fix and isinstance(place, Path):
                problems = self._mend_beside(place, start, problems, files, shards)
            self._tell(folder or ".", problems)

    def _mend_beside(
        self, place: Path, start: str, problems: list[Problem], files: Mapping[str, bytes], shards: Mapping[str, int]
    ) -> list[Problem]:
        """Write what is wrong anew; what tells of shards only where all of them were counted."""
        there = {path.relative_to(place).as_posix() for path in place.rglob("*.tar")}
        whole = set_files(shards, place.name, _date(files.get(INFO, b""))) if there == set(shards) else {}
        left = []
        for problem in problems:
            name = problem.member
            text = _wrapped(files[CONFIG]) if name == CONFIG else whole.get(name)
            if text is None:
                left.append(problem)
                continue
            part = place / f".{name}.part"
            part.write_text(text, encoding="utf-8")
            part.replace(place / name)
            self._found.mended[f"{start}{name}"] = ["written again"]
        return left


def _check(file: File) -> tuple[list[Problem], int]:
    with open_file(file) as opened:
        check = ShardCheck(opened)
        return list(check), check.samples


def _read(place: File) -> dict[str, bytes]:
    found = {}
    for name in (SIZES, MANIFEST, INFO, CONFIG):
        with suppress(FileNotFoundError):
            found[name] = (place / name).read_bytes()
    return found


def _date(info: bytes) -> str:
    value: Any = None
    with suppress(ValueError, RecursionError):
        value = json.loads(info)
    return str(value.get("date", "")) if isinstance(value, dict) else ""


def _wrapped(config: bytes) -> str | None:
    """Return a bare configuration of augmentations as the trainer wants it, or None if it is something else."""
    value: Any = None
    with suppress(ValueError, RecursionError):
        value = json.loads(config)
    known = isinstance(value, dict) and {"random_resized_crop", "rand_augment", "to_tensor", "normalize"} & value.keys()
    return wrapped_config(value) if known else None
