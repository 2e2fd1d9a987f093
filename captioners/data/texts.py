"""What sources share: names that can be shown, captions out of JSON, the exception that becomes a row saying why."""

import os
from typing import Any


class BadSampleError(Exception):
    """A sample cannot be handed out; never leaves a source, which turns it into an `Unreadable`."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


def texts(value: Any) -> tuple[str, ...] | None:
    """Return captions given as a text or a list of texts, blank ones left out; None for anything else.

    Raises BadSampleError (`not_utf8`) for half a surrogate pair, which JSON can hold and no text file can.

    >>> texts(["a cat", " "]), texts(None), texts(3)
    (('a cat',), (), None)
    """
    listed = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in listed):
        return None
    for text in listed:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            said = f"a caption has half of a character ({text[error.start]!a}), which is no UTF-8"
            raise BadSampleError("not_utf8", said) from None
    return tuple(text for text in listed if text.strip())


def field_of(fields: dict[str, Any], name: str) -> Any:
    """Return a field, or with dots one inside another; None where there is none.

    >>> field_of({"captions": {"short": ["a cat"]}}, "captions.short")
    ['a cat']
    """
    if name in fields or "." not in name:
        return fields.get(name)
    first, _, rest = name.partition(".")
    inside = fields.get(first)
    return field_of(inside, rest) if isinstance(inside, dict) else None


def printable(name: str) -> str:
    r"""Return a file's name as one line of storable text: what cannot be printed, or is no UTF-8, stands escaped.

    >>> printable("a\nb \udce9")
    'a\\nb \\xe9'
    """
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
