"""The cases of a bench by their names: what `--cases a,b` means."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from captioners.core.errors import UserError, near


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """As it stands on the command line."""


C = TypeVar("C", bound=Named)


def chosen(cases: Sequence[C], names: str | None) -> tuple[C, ...]:
    """Return the cases that a comma-separated list names, in their own order; all for None.

    Raises:
        UserError: there is no case of a name; the nearest and all that exist are said.
    """
    known = {case.name: case for case in cases}
    wanted = [name.strip() for name in names.split(",")] if names else list(known)
    for name in wanted:
        if name not in known:
            raise UserError(f"no case is named '{name}'.{near(name, known)} Known: {', '.join(known)}")
    return tuple(case for case in cases if case.name in wanted)
