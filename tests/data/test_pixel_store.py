import errno

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.data.pixel_store import PixelStore


def test_what_was_added_is_read_in_any_order_and_leaves_no_file(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6)).astype(np.uint8)
    with PixelStore(tmp_path) as store:
        for picture in pictures:
            store.add(picture)
        with pytest.raises(ValueError, match="one shape"):
            store.add(pictures[0][:, :2])
        rows = store.rows()
    assert len(store) == 5
    assert np.array_equal(rows[[4, 0, 2]], pictures[[4, 0, 2]])
    assert not list(tmp_path.iterdir())
    with PixelStore(tmp_path) as empty:
        assert empty.rows().shape[0] == 0


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    class Full:
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: Full())
    with PixelStore(tmp_path) as store, pytest.raises(UserError, match="out of disk after 0 pictures"):
        store.add(np.zeros((3, 4, 6), dtype=np.uint8))
