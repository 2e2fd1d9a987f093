"""Write a shard anew without the traps that can be taken out safely: the new file takes the old one's place, whole."""

import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from captioners.core.errors import UserError
from captioners.data.tar import Fault, Member, TarReader, TarWriter
from captioners.reinforcement.mend import mended, plain_name


@dataclass
class _Found:
    """A sample while the shard's names are read."""

    source_key: str
    members: dict[str, Member] = field(default_factory=dict)


def mend_shard(path: Path) -> list[str]:
    """Rename members, bring those of a sample together, strip captions, move keys that mislead; return what was done.

    Raises:
        UserError: what cannot be settled without guessing: two samples of one key, a cut tar, a member without an
            extension. The shard stays as it is then.
    """
    done: dict[str, int] = {}

    def note(what: str) -> None:
        done[what] = done.get(what, 0) + 1

    path = path.resolve()  # the shard itself, and not a link to it, is written anew
    mode = stat.S_IMODE(path.stat().st_mode)
    with path.open("rb") as file:
        reader = TarReader(file)
        samples = _samples(reader, note)
        with TarWriter(path) as tar:
            for key, found in samples.items():
                members = {name: reader.read(one) for name, one in found.members.items()}
                better = mended(key, members, found.source_key if found.source_key != key else None)
                for what in better.done:
                    note(what)
                tar.add(better.key, better.members)
    path.chmod(mode)
    return [f"{what} ({count:,}x)" for what, count in done.items()] or ["members sorted"]


def _samples(reader: TarReader, note: Callable[[str], None]) -> dict[str, _Found]:
    """Return the shard's samples in the order in which they begin."""
    samples: dict[str, _Found] = {}
    last = ""
    for member in reader:
        if isinstance(member, Fault):
            raise UserError(member.error)
        name = member.stored_name
        if member.unsafe:
            raise UserError(f"{name}: {member.unsafe}")
        key, extension = plain_name(name)
        if not key or not extension:
            raise UserError(f"{name}: has no key or no extension, so it belongs to no sample")
        plain = name.removeprefix("./")
        if plain != name:
            note("./ taken from names")
        source_key = plain[: -len(extension) - 1]
        if plain != f"{source_key}.{extension}":
            note("extensions in small letters")
        found = samples.setdefault(key, _Found(source_key))
        if found.source_key != source_key:
            raise UserError(f"{found.source_key} and {source_key} would both be named {key}")
        if extension in found.members:
            if reader.read(found.members[extension]) != reader.read(member):
                raise UserError(f"{name}: is there twice, and the two differ")
            note("a second copy left out")
            continue
        if last not in ("", key) and found.members:
            note("members brought together")
        last = key
        found.members[extension] = member
    return samples
