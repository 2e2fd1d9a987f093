"""The trimmed loss is open_clip's own: its CoCa, its CoCaLoss, every gradient, in float64."""

import math

import pytest
import torch
from open_clip.loss import CoCaLoss

from captioners.core.errors import UserError
from captioners.models import coca
from captioners.models.coca_training import trim
from captioners.training.objective import CoCaObjective
from captioners.training.optimizer import trained_parameters
from tests.models.tiny import built, images, tiny_config
from tests.training.runs import captions

CASES = {
    "short": ([5, 7, 3, 9], ()),
    "one fills the context": ([24, 7, 3, 9], ()),
    "one leaves one slot": ([23, 2, 3, 9], ()),
    "id 0 within captions": ([12, 7, 3, 9], ((0, 4), (3, 2), (3, 7))),
    "id 0 before the last end": ([24, 7], ((0, 22),)),
    "equal lengths": ([6, 6, 6], ()),
}


@pytest.fixture(scope="module")
def model():
    return coca.build(tiny_config(), seed=1).double().train()


def _variant(which):
    """A configuration whose image tower hands out its tokens in another way."""
    config = tiny_config()
    vision = config["vision_cfg"]
    if which == "cascade":
        vision["attentional_pool"] = "cascade"
    elif which != "pooler":
        for key in ("attentional_pool", "attn_pooler_queries", "attn_pooler_heads"):
            del vision[key]
        vision["final_ln_after_pool"] = which == "patches, norm after"
    return config


VARIANTS = ["pooler", "cascade", "patches", "patches, norm after"]


def _text(case):
    lengths, holes = CASES[case]
    text = captions(lengths)
    for row, at in holes:
        text[row, at] = 0
    return text


def _gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def _of_open_clip(model, pictures, text, caption_weight, contrastive_weight):
    """(loss parts, gradients) of open_clip's forward over all positions and its loss; pads ignored."""
    out = model(pictures, text)
    loss = CoCaLoss(caption_weight, contrastive_weight, pad_id=0)
    contrastive, caption = loss(
        *(out[k] for k in ("image_features", "text_features", "logits", "labels", "logit_scale"))
    )
    return (caption, contrastive), _gradients(model, caption + contrastive)


@pytest.mark.parametrize("weights", [(2.0, 1.0), (1.0, 0.3), (2.0, 0.0)])
@pytest.mark.parametrize("case", CASES)
def test_loss_and_every_gradient_are_those_of_open_clip(model, case, weights):
    text = _text(case)
    pictures = images(len(text)).double()
    (caption, contrastive), wanted = _of_open_clip(model, pictures, text, *weights)
    objective = CoCaObjective(caption_weight=weights[0], contrastive_weight=weights[1])
    parts = objective(model, pictures, text)
    assert parts.num_tokens == int((text[:, 1:] != 0).sum())
    assert abs(weights[0] * parts.caption.item() - caption.item()) < 1e-9
    assert abs(weights[1] * parts.contrastive.item() - contrastive.item()) < 1e-9
    assert abs(parts.total.item() - (caption + contrastive).item()) < 1e-9
    found = _gradients(model, parts.total)
    untrained = objective.untrained(model)
    for name, gradient in wanted.items():
        if name in untrained:
            assert found[name] is None, name
            assert gradient is None or not gradient.any(), name
        else:
            assert (found[name] - gradient).abs().max() < 1e-9, name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coca_ViT-B-32", "coca_ViT-L-14"])
def test_at_real_widths_loss_and_every_gradient_are_those_of_open_clip(name):
    """Two layers a tower; everything else as it is: heads, pooler, vocabulary, context."""
    config = coca.architecture(name)
    for part in ("vision_cfg", "text_cfg", "multimodal_cfg"):
        config[part] = {**config[part], "layers": 2}
    model = coca.build(config, seed=1).double().train()
    text = captions([14, 76, 5], context=76, vocabulary=49408)
    text[0, 4] = 0
    pictures = images(3, 224).double()
    (caption, contrastive), wanted = _of_open_clip(model, pictures, text, 2.0, 1.0)
    parts = CoCaObjective()(model, pictures, text)
    assert abs(parts.total.item() - (caption + contrastive).item()) < 1e-9
    found = _gradients(model, parts.total)
    assert found.keys() == wanted.keys()
    assert all(float((found[key] - gradient).abs().max()) < 1e-9 for key, gradient in wanted.items())
    assert all(float(gradient.abs().max()) > 1e-7 for gradient in wanted.values())


def test_gradients_are_large_enough_to_be_compared(model):
    """The control of the test above: 1e-9 would mean nothing beside gradients of that size."""
    _, wanted = _of_open_clip(model, images(4).double(), _text("short"), 2.0, 1.0)
    assert min(float(gradient.abs().max()) for gradient in wanted.values()) > 1e-5


def test_text_that_is_merely_cut_is_another_model(model):
    """The control: without the pad column and the last position row, the contrastive loss is not open_clip's."""
    text, pictures = _text("short"), images(4).double()
    (_, wanted), _ = _of_open_clip(model, pictures, text, 2.0, 1.0)
    for width in (9, 10):
        (_, found), _ = _of_open_clip(model, pictures, text[:, :width], 2.0, 1.0)
        assert abs(found.item() - wanted.item()) > 1e-6


def test_narrow_text_means_what_padded_text_means(model):
    text, pictures = _text("short"), images(4).double()
    whole = CoCaObjective()(model, pictures, text)
    cut = CoCaObjective()(model, pictures, text[:, :9])
    assert torch.equal(whole.total, cut.total)


def test_trimming_keeps_one_pad_and_no_more():
    assert trim(_text("short"), 24).ids.shape == (4, 10)
    assert trim(_text("one fills the context"), 24).ids.shape == (4, 24)
    trimmed = trim(_text("id 0 within captions"), 24)
    assert trimmed.holes
    assert not trim(_text("short"), 24).holes
    assert 0 not in trimmed.labels


@pytest.mark.parametrize("variant", ["patches", "patches, norm after"])
def test_image_towers_of_other_make_give_open_clips_gradients(variant):
    model = coca.build(_variant(variant), seed=1).double().train()
    text, pictures = _text("id 0 within captions"), images(4).double()
    (caption, contrastive), wanted = _of_open_clip(model, pictures, text, 2.0, 1.0)
    parts = CoCaObjective()(model, pictures, text)
    assert abs(parts.total.item() - (caption + contrastive).item()) < 1e-9
    found = _gradients(model, parts.total)
    for name, gradient in wanted.items():
        assert gradient is None or (found[name] - gradient).abs().max() < 1e-9, name


@pytest.mark.parametrize("tune", ["all", "text"])
@pytest.mark.parametrize("weight", [1.0, 0.0])
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_called_untrained_is_what_gets_no_gradient(variant, weight, tune):
    model = coca.build(_variant(variant), seed=1)
    objective = CoCaObjective(contrastive_weight=weight)
    if variant == "cascade" and weight:
        with pytest.raises(UserError, match="in a way that open_clip has not finished"):
            objective(model, images(4), _text("short"))
        return
    untrained = objective.untrained(model, tune)
    trained_parameters(model, untrained)
    gradients = _gradients(model, objective(model, images(4), _text("short")).total)
    assert {name for name, gradient in gradients.items() if gradient is None} == untrained
    assert any(name.startswith("visual.") for name in untrained) == (tune == "text" or weight == 0)
    assert ("logit_scale" in untrained) == (weight == 0)


@pytest.mark.parametrize("frozen", [True, False])
def test_caption_loss_alone_trains_under_ddp(frozen, tmp_path):
    """open_clip's unused contrastive parameters make DDP fail at the second step. Unfrozen is the control."""
    import torch.distributed as dist

    model = coca.build(tiny_config(), seed=1)
    objective = CoCaObjective(contrastive_weight=0)
    trained_parameters(model, objective.untrained(model) if frozen else ())

    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, pictures, text):
            return objective(self.model, pictures, text)

    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        step = torch.nn.parallel.DistributedDataParallel(Step())

        def three_steps():
            for _ in range(3):
                step(images(4), _text("short")).total.backward()

        if frozen:
            three_steps()
        else:
            with pytest.raises(RuntimeError, match="Expected to have finished reduction"):
                three_steps()
    finally:
        dist.destroy_process_group()


def test_autocast_gives_the_loss_in_fp32_and_nearly_the_same():
    model = built(tiny_config(), 1)
    plain = CoCaObjective()(model, images(4), _text("short"))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = CoCaObjective()(model, images(4), _text("short"))
    assert rounded.caption.dtype is torch.float32
    assert abs(plain.caption.item() - rounded.caption.item()) < 0.05 * plain.caption.item()


def test_the_temperature_stays_in_bounds():
    model = coca.build(tiny_config(), seed=1)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    CoCaObjective(contrastive_weight=0).after_step(model)
    assert float(model.logit_scale.detach()) == 9.0
    CoCaObjective().after_step(model)
    assert float(model.logit_scale.detach()) == pytest.approx(math.log(100))


def test_what_cannot_be_trained_on_is_said():
    model = built(tiny_config(), 1)
    with pytest.raises(UserError, match="no caption of this batch has a token to predict"):
        CoCaObjective()(model, images(2), torch.zeros(2, 24, dtype=torch.long))
    with pytest.raises(UserError, match="captions of 25 token slots do not fit a context of 24"):
        CoCaObjective()(model, images(1), torch.ones(1, 25, dtype=torch.long))


def test_weights_are_values_that_make_sense():
    with pytest.raises(ValueError, match="greater than 0"):
        CoCaObjective(caption_weight=0)
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        CoCaObjective(contrastive_weight=-1.0)
