"""Fetched captioners run without a network: the hub's cache is laid out by hand; every test has HF_HUB_OFFLINE on."""

import json
import logging

import huggingface_hub.constants
import pytest
import torch

from captioners.core.errors import NotFoundError, UserError
from captioners.kinds import loading
from captioners.kinds.catalogue import TINY, find
from captioners.models import coca
from captioners.models.weights import weights_digest

REPO = "laion/mscoco_finetuned_CoCa-ViT-L-14-laion2B-s13B-b90k"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub, and a tiny model under the architecture's name."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(coca, "architecture", lambda _: dict(TINY))

    def lay(repo, **files):
        folder = tmp_path / f"models--{repo.replace('/', '--')}"
        snapshot = folder / "snapshots" / "abc123"
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("abc123")
        for name, write in files.items():
            write(snapshot / name.replace("__", "."))

    return lay


@pytest.fixture(scope="module")
def model():
    return coca.build(dict(TINY), seed=7)


def test_a_tag_that_was_fetched_as_bin_loads_offline(cache, model):
    cache(REPO, open_clip_pytorch_model__bin=lambda path: torch.save(model.state_dict(), path))
    loaded = loading.load(find("coca-l14-coco"))
    assert weights_digest(loaded.coca.model.state_dict()) == weights_digest(model.state_dict())
    assert loaded.coca.weights_file.name == "open_clip_pytorch_model.bin"
    assert loaded.licences["weights"] == "MIT"


def test_a_hub_directory_that_was_fetched_loads_offline_with_its_card(cache, model):
    card = {"licences": {"weights": "CC0-1.0"}, "recommended_decoding": {"strategy": "sample", "top_p": 0.8}}
    cache(
        "someone/tiny",
        open_clip_config__json=lambda path: path.write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": {}})),
        captioner__json=lambda path: path.write_text(json.dumps(card)),
        open_clip_pytorch_model__bin=lambda path: torch.save(model.state_dict(), path),
    )
    loaded = loading.load(find("hf-hub:someone/tiny"))
    assert weights_digest(loaded.coca.model.state_dict()) == weights_digest(model.state_dict())
    assert loaded.licences == {"weights": "CC0-1.0"}
    assert loaded.recommended.top_p == 0.8


@pytest.mark.parametrize("captioner", ["coca-l14-coco", "hf-hub:someone/tiny"])
def test_what_was_not_fetched_is_one_line_that_names_fetch(cache, captioner):
    with pytest.raises(UserError, match=rf"cannot be reached.*`captioners fetch {captioner}`") as error:
        loading.load(find(captioner))
    assert "\n" not in str(error.value)


def test_the_hub_s_own_account_of_failed_tries_stays_off_the_terminal(caplog):
    """Without a network the library warned twelve times before our one line came."""
    library = logging.getLogger("huggingface_hub.utils._http")

    def unreachable():
        library.warning("Retrying in 1s")
        raise OSError("no route to host")

    with pytest.raises(UserError, match="cannot be reached"):
        loading._reach(find("coca-l14-coco"), REPO, unreachable)
    assert not caplog.records
    library.warning("Retrying in 1s")  # only while we ask
    assert caplog.records


def test_a_directory_that_is_gone_is_told(tmp_path):
    with pytest.raises(NotFoundError, match="does not exist"):
        loading.load(find(f"local-dir:{tmp_path / 'gone'}"))


def test_a_card_that_is_no_json_is_told(tmp_path):
    (tmp_path / "captioner.json").write_text("{")
    with pytest.raises(UserError, match="not readable JSON"):
        loading._card(tmp_path)
