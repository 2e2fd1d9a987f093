"""Real photos through a full-size CoCa of random weights: words without sense, but every step the real one."""

import json
from pathlib import Path

import pytest
import skimage.data
from sklearn.datasets import load_sample_images

import captioners
from captioners.jobs.data.pack import data_pack

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


@pytest.mark.real
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the real photos do not stand beside this checkout")
def test_folder_tar_and_jsonl_of_the_same_photos_give_the_same_captions(run_dir):
    """21 photos, coca_ViT-B-32 of random weights, two draws each: equal words and log-probabilities from all three."""
    photos = sorted(PHOTOS.glob("*.jpg"))
    listing = run_dir / "photos.jsonl"
    listing.write_text("".join(json.dumps({"image": photo.name}) + "\n" for photo in photos))
    data_pack(str(PHOTOS), run_dir / "packed")
    sources = {
        "folder": {"kind": "folder", "inputs": [str(PHOTOS)]},
        "tar": {"kind": "webdataset", "inputs": [str(run_dir / "packed")]},
        "jsonl": {"kind": "jsonl", "inputs": [str(listing)], "image_column": "image", "image_root": str(PHOTOS)},
    }
    member = {"captioner": "random-b32", "decoding": {"top_p": 0.9, "max_tokens": 4, "min_tokens": 0}, "draws": 2}
    captions = {}
    for name, source in sources.items():
        run = captioners.run(
            "generate/shards", source=source, members=[member], canary_units=0, output=str(run_dir / name)
        )
        assert run.quarantine() == []
        rows = run.captions().select(["image_sha256", "draw", "text", "logprob", "num_tokens"]).to_pylist()
        captions[name] = sorted(rows, key=lambda row: (row["image_sha256"], row["draw"]))
    assert len(captions["folder"]) == 42
    assert captions["tar"] == captions["folder"]
    assert captions["jsonl"] == captions["folder"]
    assert len({row["text"] for row in captions["folder"]}) > 21, "the captions do not depend on the pictures"
