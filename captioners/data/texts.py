"""What sources share: captions out of JSON values, and the exception by which a sample becomes a row that says why."""

from typing import Any


class BadSampleError(Exception):
    """A sample cannot be handed out; never leaves a source, which turns it into an `Unreadable`."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


def texts(value: Any) -> tuple[str, ...] | None:
    """Return captions given as a text or a list of texts, blank ones left out; None for anything else.

    >>> texts(["a cat", " "]), texts(None), texts(3)
    (('a cat',), (), None)
    """
    listed = [] if value is None else value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in listed):
        return None
    return tuple(text for text in listed if text.strip())
