"""Build, load and resize a CoCa: seeded, whole, and the same captioner in another context."""

import copy
import json

import pytest
import torch

from captioners.core.errors import NotFoundError, UserError
from captioners.models import coca
from tests.models.tiny import built, images, shallow_image, tiny_config

POSITIONS = coca.POSITIONS


def _loaded(context=24, seed=0):
    return coca.LoadedCoCa(built(tiny_config(context), seed), tiny_config(context))


@torch.inference_mode()
def _caption_logits(model, text):
    return model(images(1), text)["logits"]


def test_build_depends_on_config_and_seed_alone_and_leaves_the_global_state():
    before = torch.get_rng_state()
    one = coca.build(tiny_config(), 5).state_dict()
    torch.empty(10_000_000).fill_(float("nan"))  # what uninitialised memory might show next
    two, other = coca.build(tiny_config(), 5).state_dict(), coca.build(tiny_config(), 6).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["text_decoder.text_projection"], other["text_decoder.text_projection"])


@pytest.mark.parametrize("name", ["tiny", "coca_ViT-B-32"])
def test_no_tensor_is_left_as_memory_was(name):
    config = tiny_config() if name == "tiny" else shallow_image(name)
    model = built(config)
    assert not model.training
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    projection = model.text_decoder.text_projection
    assert projection.std().item() == pytest.approx(projection.shape[0] ** -0.5, rel=0.05)
    assert torch.isfinite(_caption_logits_of(model, config)).all()


def _caption_logits_of(model, config):
    with torch.inference_mode():
        size = config["vision_cfg"].get("image_size", 224)
        return model(images(1, size), torch.tensor([[5, 6, 7, 8]]))["logits"]


def test_an_unknown_architecture_is_answered_with_the_near_one():
    with pytest.raises(NotFoundError, match="coca_ViT-L-14"):
        coca.architecture("coca_ViT-L14")
    with pytest.raises(NotFoundError, match="no CoCa architecture"):
        coca.architecture("ViT-L-14")


def test_an_architecture_can_be_changed_without_changing_the_next_one():
    coca.with_context(coca.architecture("coca_ViT-B-32"), 255)
    coca.architecture("coca_ViT-B-32")["embed_dim"] = 1
    again = coca.architecture("coca_ViT-B-32")
    assert (again["embed_dim"], again["text_cfg"]["context_length"]) == (512, 76)


@pytest.mark.parametrize(("old", "new"), [(76, 127), (76, 255), (24, 25), (24, 90)])
def test_a_longer_context_keeps_token_rows_and_moves_the_cls_row(old, new):
    loaded = _loaded(old)
    longer = coca.resize_context(loaded, new)
    before, after = (m.model.state_dict()[POSITIONS] for m in (loaded, longer))
    assert after.shape == (new + 1, before.shape[1])
    assert torch.equal(after[:old], before[:old])
    assert torch.equal(after[new], before[old])
    assert torch.isfinite(after).all()
    assert torch.allclose(after[new - 1], before[old - 1], atol=1e-6), "late positions stay late"
    assert (longer.context_length, longer.model_cfg["multimodal_cfg"]["context_length"]) == (new, new)
    assert loaded.context_length == old
    assert longer.model.text.attn_mask.shape == (new + 1, new + 1)
    assert longer.model.text_decoder.attn_mask.shape == (new, new)


def test_a_shorter_context_keeps_the_first_rows_and_the_cls_row():
    table = torch.arange(25.0)[:, None]
    assert coca.resize_positions(table, 10)[:, 0].tolist() == [*range(10), 24.0]
    assert coca.resize_context(_loaded(), 10).context_length == 10


@pytest.mark.parametrize("new", [40, 12])
def test_a_resized_captioner_captions_short_texts_as_before(new):
    loaded = _loaded()
    resized = coca.resize_context(loaded, new)
    text = torch.tensor([[94, 3, 9, 27, 81, 95]])
    ours, theirs = _caption_logits(resized.model, text), _caption_logits(loaded.model, text)
    assert torch.allclose(ours, theirs, atol=1e-5)
    full = torch.zeros(1, new, dtype=torch.long)
    full[:, :6] = text
    assert torch.allclose(_caption_logits(resized.model, full)[:, :5], theirs, atol=1e-5)


def test_the_same_context_is_the_same_captioner_and_too_short_a_one_is_refused():
    loaded = _loaded()
    assert coca.resize_context(loaded, 24) is loaded
    with pytest.raises(UserError, match="context length 2 is too small"):
        coca.resize_context(loaded, 2)


def test_from_state_takes_the_tensors_as_they_are():
    state = built(tiny_config()).state_dict()
    model = coca.from_state(tiny_config(), state, "here")
    taken = model.state_dict()
    assert all(taken[name].data_ptr() == tensor.data_ptr() for name, tensor in state.items())
    assert not any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers()))
    text = torch.tensor([[94, 3, 9, 95]])
    assert torch.equal(_caption_logits(model, text), _caption_logits(built(tiny_config()), text))


def test_half_precision_weights_are_read_as_float32():
    state = {name: tensor.half() for name, tensor in built(tiny_config()).state_dict().items()}
    model = coca.from_state(tiny_config(), state, "here")
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_file_of_another_context_brings_its_own(tmp_path):
    torch.save(built(tiny_config(40)).state_dict(), tmp_path / "long.pt")
    loaded = coca.load_file(tiny_config(24), tmp_path / "long.pt", {"mean": [0, 0, 0]})
    assert loaded.context_length == loaded.model_cfg["multimodal_cfg"]["context_length"] == 40
    assert loaded.weights_file == tmp_path / "long.pt"
    assert loaded.preprocess_cfg["mean"] == [0, 0, 0]
    assert loaded.preprocess_cfg["interpolation"] == "bicubic"
    text = torch.tensor([[94, *[7] * 38, 95]])
    assert torch.equal(_caption_logits(loaded.model, text), _caption_logits(built(tiny_config(40)), text))


def _directory(path, config=None, weights="open_clip_pytorch_model.bin", **more):
    config = tiny_config() if config is None else config
    path.mkdir()
    (path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, **more}))
    if weights:
        torch.save(built(tiny_config()).state_dict(), path / weights)
    return path


def test_a_directory_loads_with_its_own_preprocessing(tmp_path):
    loaded = coca.load_directory(_directory(tmp_path / "a", preprocess_cfg={"mean": [0.5, 0.5, 0.5]}))
    assert loaded.preprocess_cfg["mean"] == [0.5, 0.5, 0.5]
    text = torch.tensor([[94, 3, 9, 95]])
    assert torch.equal(_caption_logits(loaded.model, text), _caption_logits(built(tiny_config()), text))


def test_a_directory_that_is_no_captioner_says_why(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(NotFoundError, match=r"holds no open_clip_config\.json"):
        coca.load_directory(tmp_path / "none")
    with pytest.raises(NotFoundError, match="holds no weights"):
        coca.load_directory(_directory(tmp_path / "light", weights=None))
    clip = {key: value for key, value in tiny_config().items() if key != "multimodal_cfg"}
    with pytest.raises(UserError, match="CLIP, not a CoCa"):
        coca.load_directory(_directory(tmp_path / "clip", clip))
    (tmp_path / "clip" / "open_clip_config.json").write_text("{oh no")
    with pytest.raises(UserError, match="not readable JSON"):
        coca.load_directory(tmp_path / "clip")
    for number, bad in enumerate(({"multimodal_cfg": {}}, {"multimodal_cfg": 3, "text_cfg": {}}, [1], 7)):
        with pytest.raises(UserError):
            coca.load_directory(_directory(tmp_path / str(number), bad))


def test_a_configuration_open_clip_cannot_build_is_refused():
    broken = copy.deepcopy(tiny_config())
    broken["text_cfg"]["no_such_option"] = 1
    with pytest.raises(UserError, match=r"no CoCa configuration.*no_such_option"):
        coca.build(broken)


def test_weights_of_another_architecture_name_what_differs(tmp_path):
    torch.save(built(tiny_config(width=128)).state_dict(), tmp_path / "wide.pt")
    with pytest.raises(UserError, match=r"don't fit the architecture: .* is .*128.*, the architecture wants .*64"):
        coca.load_file(tiny_config(), tmp_path / "wide.pt")
    state = dict(built(tiny_config()).state_dict())
    del state["text_decoder.text_projection"]
    state["more.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(UserError, match=r"text_projection is missing; more\.weight has no place"):
        coca.load_file(tiny_config(), tmp_path / "other.pt")
    torch.save({"weight": torch.ones(2, 2)}, tmp_path / "linear.pt")
    with pytest.raises(UserError, match=r"and \d+ more"):
        coca.load_file(tiny_config(), tmp_path / "linear.pt")
