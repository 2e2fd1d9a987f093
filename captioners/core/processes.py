"""Which of the processes of one run this is, by what `torchrun` and `accelerate launch` tell each of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from captioners.core.errors import CaptionersError, OtherProcessError


def is_main() -> bool:
    """Whether this process speaks for the run: the only one, or the first of all."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def said_once() -> Iterator[None]:
    """Let an error that every process of a machine meets alike be said by the first of them alone."""
    try:
        yield
    except CaptionersError as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            raise
        raise OtherProcessError(str(error), error.exit_code) from None
