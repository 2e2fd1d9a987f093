"""captioners/metrics/packed.py: the same bytes for the same content, and nothing that is not whole."""

from contextlib import suppress

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.metrics.packed import pack, text_of, unpack


def test_arrays_and_texts_come_back():
    data = pack({"numbers": [1, 2], "text": "Kätzchen \ud83d", "one": 3})
    found = unpack(data, "toys", "numbers", "text", "one")
    assert found["numbers"].tolist() == [1, 2] and int(found["one"]) == 3
    assert text_of(found["text"]) == "Kätzchen \ud83d"
    assert data == pack({"numbers": [1, 2], "text": "Kätzchen \ud83d", "one": 3})


@pytest.mark.parametrize("data", [b"", b"nothing", pack({"numbers": [1]}), pack({"numbers": [1], "text": "x"})[:-40]])
def test_what_is_not_whole_is_told(data):
    with pytest.raises(UserError, match=r"no file of toys .*; remove it and measure again"):
        unpack(data, "toys", "numbers", "text")


def test_wherever_it_is_damaged_it_is_told():
    """A compressed part that was damaged was zlib's error, an unknown compression an internal one."""
    whole = pack({"numbers": np.arange(100), "text": "x" * 100})
    for at in range(len(whole)):
        damaged = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
        with suppress(UserError):
            unpack(damaged, "toys", "numbers", "text")


def test_nothing_is_unpickled():
    with pytest.raises(UserError, match="no file of toys"):
        unpack(pack({"x": np.array([{}], dtype=object)}), "toys", "x")
