"""A recipe while it is read: its data, where each key came from, what is wrong so far, and the report of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captioners.core.errors import UserError
from captioners.core.secrets import ADVICE, find_secrets
from captioners.core.yaml_lines import Key, read_yaml

COMMAND_LINE = "command line"
_LARGEST_BYTES = 1_000_000

Origin = tuple[str, int]
"""(the file as the user named it, or "command line"; line from 1, or 0 where there is none)."""


@dataclass
class Draft:
    """What is known of a recipe before it is validated."""

    data: dict[str, Any] = field(default_factory=dict)
    origins: dict[Key, Origin] = field(default_factory=dict)
    mistakes: list[tuple[Origin, Key, str]] = field(default_factory=list)
    secrets: dict[Key, str] = field(default_factory=dict)
    """What looked like a secret, so that no message repeats it."""
    broken: bool = False
    """The text isn't YAML, so what its keys say isn't worth judging."""

    def wrong(self, key: Key, says: str, origin: Origin | None = None) -> None:
        """Note a mistake; its origin is that of the key, or of the nearest key above it."""
        above = key
        while above and above not in self.origins:
            above = above[:-1]
        self.mistakes.append((origin or self.origins.get(above, ("", 0)), key, says))

    def refuse_secrets(self, data: Any, at: Key = (), origin: Origin | None = None) -> bool:
        """Note everything in `data` that looks like a secret, and say whether anything did."""
        found = dict(find_secrets(data, at))
        for key in found:
            self.wrong(key, ADVICE, origin)
        self.secrets.update(found)
        return bool(found)

    def report(self, shown: str) -> str:
        """Return every mistake, one a line: this file's by line, then its base's, then the command line's."""
        order = {shown: 0, "": 0, COMMAND_LINE: 2}
        told = [m for m in self.mistakes if m[2] == ADVICE or m[1] not in self.secrets]
        unique = dict.fromkeys(sorted(told, key=lambda m: (order.get(m[0][0], 1), m[0][1])))
        lines = [_line(origin, key, says, shown) for origin, key, says in unique]
        header = f"{shown} has {len(lines)} mistakes:"
        text = f"{shown}, {lines[0]}" if len(lines) == 1 else "\n  ".join([header, *lines])
        for secret in sorted(self.secrets.values(), key=len, reverse=True):
            # A very short one would tear words apart; its own key says nothing but the advice anyway.
            text = text.replace(secret, "***") if len(secret) > 3 else text
        return text


def _line(origin: Origin, key: Key, says: str, shown: str) -> str:
    file, number = origin
    where = " ".join(part for part in ("" if file == shown else file, f"line {number}" if number else "") if part)
    return ": ".join(part for part in (where, ".".join(map(str, key)), says) if part)


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise UserError(f"larger than {_LARGEST_BYTES:,} bytes; this isn't a recipe")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError("not text in UTF-8; this isn't a recipe") from None
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from None


def read_draft(path: Path, shown: str) -> Draft:
    """Read one recipe file, named `shown` in messages; its mistakes are noted in the draft, not raised."""
    draft = Draft()
    try:
        text = _read_text(path)
    except UserError as error:
        draft.wrong((), str(error), (shown, 0))
        draft.broken = True
        return draft
    parsed = read_yaml(text)
    draft.origins = {key: (shown, line) for key, line in parsed.lines.items()}
    for key, line, says in parsed.mistakes:
        draft.wrong(key, says, (shown, line))
    draft.broken = parsed.broken
    if isinstance(parsed.value, dict):
        draft.data = parsed.value
    elif not parsed.mistakes:
        problem = (
            "not a mapping of keys to values" if parsed.value is not None else "empty; a recipe begins with its job"
        )
        draft.wrong((), problem, (shown, 1))
        draft.broken = True
    draft.refuse_secrets(draft.data)
    return draft
