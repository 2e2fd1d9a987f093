"""captioners/kinds/scorer.py: any model of open_clip by name, its own features, and clear refusals."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from captioners.core.errors import NotFoundError, UserError
from captioners.core.package_data import SAMPLES
from captioners.kinds.catalogue import find
from captioners.kinds.coca import CocaCaptioner
from captioners.kinds.scorer import _open_clip_names, open_scorer, refuse_own_tower

TINY_CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


def write_clip(folder, seed=1):
    """Write a plain CLIP of random weights as a directory; return the directory and the model."""
    import open_clip

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**{**TINY_CLIP, "vision_cfg": open_clip.CLIPVisionCfg(**TINY_CLIP["vision_cfg"]),
                                  "text_cfg": open_clip.CLIPTextCfg(**TINY_CLIP["text_cfg"])})  # fmt: skip
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY_CLIP, "preprocess_cfg": {}}))
    return folder, model


def photos():
    return [Image.open(path).convert("RGB") for path in sorted(SAMPLES.glob("*.jpg"))[:3]]


def test_a_plain_clip_scores_as_it_does_by_itself(clip):
    import open_clip

    folder, model = clip
    scorer = open_scorer(f"local-dir:{folder}")
    images, texts = scorer.image_features(iter(photos())), scorer.text_features(["a cat", "a cup of coffee"])
    with torch.random.fork_rng():
        _, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.inference_mode():
        own_images = model.eval().encode_image(torch.stack([preprocess(photo) for photo in photos()]))
        own_texts = model.encode_text(open_clip.get_tokenizer("ViT-B-32")(["a cat", "a cup of coffee"]))
    np.testing.assert_allclose(images, own_images.numpy(), atol=1e-5)
    np.testing.assert_allclose(texts, own_texts.numpy(), atol=1e-5)
    assert scorer.text_features([]).shape[0] == 0


def test_a_captioner_may_score_others_but_not_itself():
    scorer = open_scorer("demo")
    assert scorer.tower_digest == CocaCaptioner("demo").info.tower_digest
    features = scorer.image_features(photos()), scorer.text_features(["a red circle"])
    assert features[0].shape[1] == features[1].shape[1]
    refuse_own_tower(scorer, CocaCaptioner("random-tiny").info)
    with pytest.raises(UserError, match=r"scorer .*demo.*: has the image tower of demo, which it is to judge"):
        refuse_own_tower(scorer, CocaCaptioner("random-tiny").info, CocaCaptioner("demo").info)


def test_a_weights_file_is_met_by_its_path_also_with_slashes_and_called_like_a_tag(tmp_path, monkeypatch):
    """ "/" was split at first, so that no path with a folder in it was found."""
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / "openai"
    file.touch()
    assert _open_clip_names(f"ViT-B-32@{file}") == ("ViT-B-32", str(file))
    assert _open_clip_names(f"coca_ViT-B-32@{file}") == ("coca_ViT-B-32", str(file))
    monkeypatch.chdir(file.parent)
    assert _open_clip_names("ViT-B-32@openai") == ("ViT-B-32", str(file))
    for name in ("ViT-B-32@folder/none.pt", "coca_ViT-B-32@folder/none.pt"):
        with pytest.raises(NotFoundError, match=rf"scorer {name}: there is no file folder/none.pt"):
            open_scorer(name)


def test_a_model_of_which_nothing_was_loaded_is_no_judge(clip, tmp_path):
    """open_clip only warned, and judged by the weights that it had drawn."""
    folder, _ = clip
    (tmp_path / "open_clip_config.json").write_text((folder / "open_clip_config.json").read_text())
    with pytest.raises(UserError, match=r"open_clip cannot open it \(Required pretrained weights .* not be loaded"):
        open_scorer(f"local-dir:{tmp_path}")


@pytest.mark.parametrize(
    ("file", "data"),
    [
        ("open_clip_pytorch_model.bin", b"garbage"),
        ("open_clip_pytorch_model.bin", b""),
        ("open_clip_model.safetensors", b"garbage"),
        ("open_clip_model.safetensors", b""),
    ],
)
def test_damaged_weights_are_told_in_one_line(clip, tmp_path, file, data):
    """What their readers raise was an internal error, or was taken for the end of the program's input."""
    (tmp_path / "open_clip_config.json").write_text((clip[0] / "open_clip_config.json").read_text())
    (tmp_path / file).write_bytes(data)
    with pytest.raises(UserError, match=rf"scorer local-dir:{tmp_path}: open_clip cannot open it \(") as caught:
        open_scorer(f"local-dir:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_names_are_those_of_captioners_and_of_open_clip():
    assert _open_clip_names("ViT-B-32/openai") == ("ViT-B-32", "openai")
    assert _open_clip_names("hf-hub:org/clip") == ("hf-hub:org/clip", None)
    assert _open_clip_names("coca-l14-coco") == ("coca_ViT-L-14", "mscoco_finetuned_laion2b_s13b_b90k")
    assert _open_clip_names("demo") == (f"local-dir:{find('demo').origin.where}", None)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("random-tiny", "has random weights"),
        ("local-dir:nowhere", "open_clip cannot open it"),
        ("ViT-B-32/never-trained", "open_clip cannot open it"),
        ("ViT-B-32/openai", "open_clip cannot open it"),  # offline, and nothing fetched
        ("dmo", "Did you mean 'demo'"),
    ],
)
def test_what_is_no_scorer_is_refused_in_one_line(name, says, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(UserError, match=says) as caught:
        open_scorer(name)
    assert "\n" not in str(caught.value)
