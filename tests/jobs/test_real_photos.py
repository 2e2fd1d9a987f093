"""Real photos through a full-size CoCa of random weights: words without sense, but every step the real one."""

from pathlib import Path

import pytest
import skimage.data
from sklearn.datasets import load_sample_images

import captioners

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "real" / "gbc_wiki" / "images"
DECODING = {"beam": {"width": 3, "max_tokens": 4, "min_tokens": 0}}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def teacher():
    return captioners.load("random-l14")


@pytest.mark.real
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the real photos do not stand beside this checkout")
def test_every_real_photo_gets_a_caption(teacher):
    photos = sorted(PHOTOS.glob("*.jpg"))
    assert len(photos) == 21
    captions = teacher.caption(photos, decoding=DECODING)
    assert len(captions) == 21
    for (caption,) in captions:
        assert caption.text and caption.num_tokens == 4 and caption.logprob < 0
    assert len({caption.text for (caption,) in captions}) > 1, "the captions do not depend on the pictures"


def test_photos_inside_packages_are_captioned_from_bytes_and_arrays(teacher):
    from PIL import Image

    china, flower = (Image.fromarray(image) for image in load_sample_images().images)
    cat = Image.fromarray(skimage.data.chelsea())
    grey = Image.fromarray(skimage.data.camera())
    captions = teacher.caption(
        [china, flower, cat, grey], draws=2, decoding={"top_p": 0.9, "max_tokens": 4, "min_tokens": 0}
    )
    assert [len(draws) for draws in captions] == [2, 2, 2, 2]
    alone = teacher.caption(cat, draws=2, decoding={"top_p": 0.9, "max_tokens": 4, "min_tokens": 0})
    assert [(c.text, c.logprob) for c in alone[0]] == [(c.text, c.logprob) for c in captions[2]]
