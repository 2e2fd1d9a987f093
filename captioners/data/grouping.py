"""Group the members of a tar into samples by their names, as the webdataset library does."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from captioners.data.tar import Fault, Member, TarReader
from captioners.images.decode import HEIC_SUFFIXES, JPEG_SUFFIXES, OTHER_SUFFIXES

IMAGE_EXTENSIONS = tuple(suffix[1:] for suffix in (*JPEG_SUFFIXES, *OTHER_SUFFIXES, *HEIC_SUFFIXES))
"""Which member is the image; the first of these that a sample has."""


@dataclass
class Group:
    """The members of one sample, by extension."""

    key: str
    members: dict[str, Member] = field(default_factory=dict)

    def image(self, wanted: str | None) -> str | None:
        """Return the extension of the image, if there is one."""
        names = (wanted,) if wanted else IMAGE_EXTENSIONS
        return next((name for name in names if name in self.members), None)

    def dotted(self) -> list[Member]:
        """Return images whose name has a dot more than an extension: `0001.v2.jpg`."""
        return [self.members[name] for name in self.members if name.rpartition(".")[2] in IMAGE_EXTENSIONS]


@dataclass
class Stray:
    """An unsafe member that belongs to no sample."""

    member: Member


def split_name(name: str) -> tuple[str, str] | None:
    """Return a member's key and extension (small letters), or None for what is no part of a sample.

    >>> split_name("a.b/0001.Syn.JSON")
    ('a.b/0001', 'syn.json')
    """
    folder, slash, base = name.rpartition("/")
    stem, dot, extension = base.partition(".")
    first = name.split("/", 1)[0]
    if not stem or not dot or first == "__MACOSX" or (first.startswith("__") and first.endswith("__")):
        return None
    return folder + slash + stem, extension.lower()


def group_members(reader: TarReader) -> Iterator[Group | Fault | Stray]:
    """Yield samples in order; on a fault, the sample that it may have cut is left out."""
    group: Group | None = None
    for member in reader:
        if isinstance(member, Fault):
            cut = f"; {group.key}, which may lack members, is left out" if group else ""
            yield Fault(member.reason, member.error + cut, member.offset)
            return
        parts = split_name(member.name)
        if parts is None:
            if member.unsafe:
                yield Stray(member)
            continue
        key, extension = parts
        if group is None or key != group.key or extension in group.members:
            if group is not None:
                yield group
            group = Group(key)
        group.members[extension] = member
    if group is not None:
        yield group
