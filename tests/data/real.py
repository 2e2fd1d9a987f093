"""The real photos beside the checkout, for tests marked `real`."""

from pathlib import Path

import pytest

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "real" / "gbc_wiki" / "images"
needs_photos = pytest.mark.skipif(not PHOTOS.is_dir(), reason="the real photos do not stand beside this checkout")


def photos():
    return sorted(PHOTOS.glob("*.jpg"))
