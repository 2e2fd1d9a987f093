"""A store's file as a stream: what is in memory, and what is fetched when."""

import io
import threading
import tracemalloc

import pytest

from captioners.core.remote_file import RemotePath


class Store:
    """A store of one file of zeros, of any size, that holds none of it."""

    def __init__(self, size):
        self.size = size
        self.fetched = []

    def run(self, action, path):
        return action(self)

    def at(self, path):
        return f"zeros://{path}"

    def open(self, path, mode, block_size, cache_type):
        return _Zeros(self)


class _Zeros(io.RawIOBase):
    def __init__(self, store):
        self.store = store
        self.details = {"size": store.size, "ETag": "zeros"}

    def seekable(self):
        return True

    def seek(self, at, whence=0):
        self.at = at
        return at

    def read(self, size):
        self.store.fetched.append((self.at, threading.current_thread() is threading.main_thread()))
        return bytes(size)


@pytest.mark.parametrize("size", [16 << 20, 128 << 20])
def test_memory_does_not_grow_with_the_file(monkeypatch, size):
    monkeypatch.setattr("captioners.core.remote_file.BLOCK", 1 << 20)
    store = Store(size)
    tracemalloc.start()
    try:
        with RemotePath(store, "x", size, "zeros").open() as file:
            total = sum(len(piece) for piece in iter(lambda: file.read(100_000), b""))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == size and peak < 5 << 20
    assert [at for at, _ in store.fetched] == list(range(0, size, 1 << 20)), "each block once, in order"
    assert sum(not main for _, main in store.fetched) > len(store.fetched) // 2, "fetched ahead"


def test_a_look_at_the_beginning_fetches_nothing_ahead(monkeypatch):
    monkeypatch.setattr("captioners.core.remote_file.BLOCK", 1 << 20)
    store = Store(64 << 20)
    with RemotePath(store, "x", 64 << 20, "zeros").open() as file:
        file.seek(0, 2), file.seek(0), file.read(512), file.seek(3 << 20), file.read(9)
    assert [at for at, _ in store.fetched] == [0, 3 << 20]
