"""The gradient is that of the global batch, in float64: accumulated, shared by processes, with several captions."""

import math

import pytest
import torch
import torch.nn.functional as F

from captioners.models import coca
from captioners.models.coca_blocks import Blocks
from captioners.training.gradients import Losses
from captioners.training.losses import contrastive_share
from captioners.training.objective import CoCaObjective
from tests.models.tiny import tiny_config
from tests.training.batches import IMAGES, OWNERS, batch_of, gradients, seen
from tests.training.launch import two_processes
from tests.training.runs import share_of


def _same(found, wanted, *, within=1e-9):
    assert found[0].caption == pytest.approx(wanted[0].caption, abs=within)
    assert found[0].contrastive == pytest.approx(wanted[0].contrastive, abs=within)
    assert found[0].total == pytest.approx(wanted[0].total, abs=within)
    assert found[1].keys() == wanted[1].keys()
    return max(float((found[1][name] - gradient).abs().max()) for name, gradient in wanted[1].items()) < within


@pytest.fixture(scope="module")
def whole():
    """Loss and gradients of whole batches, by autograd of one expression."""
    found = {}
    for which, owner in OWNERS.items():
        for weight in (1.0, 0.0):
            batch, model = batch_of(owner), coca.build(tiny_config(), 1).double().train()
            parts = CoCaObjective(contrastive_weight=weight)(model, seen(batch.pixels), batch.text, batch.owner)
            parts.total.backward()
            losses = Losses(parts.caption.item(), parts.contrastive.item(), parts.total.item())
            found[which, weight] = losses, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return found


@pytest.mark.parametrize("micro_batch", [6, 4, 1])
@pytest.mark.parametrize("weight", [1.0, 0.0])
@pytest.mark.parametrize("which", OWNERS)
def test_accumulated_is_the_whole_batch(whole, which, weight, micro_batch):
    assert _same(gradients(batch_of(OWNERS[which]), weight=weight, micro_batch=micro_batch), whole[which, weight])


def test_parts_by_themselves_are_another_loss(whole):
    """The control: each part's own mean and own negatives, averaged, as naive accumulation has it."""
    model = coca.build(tiny_config(), 1).double().train()
    batch = batch_of(OWNERS["one each"])
    for rank in range(2):
        part = share_of(batch, rank, 2)
        (CoCaObjective()(model, seen(part.pixels), part.text, part.owner).total / 2).backward()
    wanted = whole["one each", 1.0][1]
    worst = {name: float((p.grad - wanted[name]).abs().max()) for name, p in model.named_parameters()}
    assert worst["logit_scale"] > 1e-3
    assert worst["text_decoder.text_projection"] > 1e-4


def test_recomputed_blocks_give_the_same_gradients(whole):
    found = gradients(batch_of(OWNERS["some"]), micro_batch=4, blocks=Blocks(recomputed=True))
    assert _same(found, whole["some", 1.0])


def test_several_captions_of_an_image_are_those_of_the_image_repeated():
    """An independent answer: open_clip's own forward on repeated images, and the losses written out."""
    batch = batch_of(OWNERS["some"])
    model = coca.build(tiny_config(), 1).double().train()
    parts = CoCaObjective()(model, seen(batch.pixels), batch.text, batch.owner)
    with torch.no_grad():
        out = model(seen(batch.pixels)[batch.owner], batch.text)
        nll = F.cross_entropy(out["logits"].permute(0, 2, 1), out["labels"], ignore_index=0)
        assert parts.caption.item() == pytest.approx(nll.item(), abs=1e-9)
        first = [OWNERS["some"].index(image) for image in range(IMAGES)]
        scores = out["logit_scale"] * out["image_features"][first] @ out["text_features"].T
        to_texts = to_images = 0.0
        for image in range(IMAGES):
            own = [row for row, owner in enumerate(OWNERS["some"]) if owner == image]
            to_texts -= sum(float(scores[image].log_softmax(0)[row]) for row in own) / len(own) / IMAGES
            to_images -= sum(float(scores[:, row].log_softmax(0)[image]) for row in own) / len(OWNERS["some"])
    assert parts.contrastive.item() == pytest.approx((to_texts + to_images) / 2, abs=1e-9)


def test_with_one_caption_each_it_is_clips_loss():
    generator = torch.Generator().manual_seed(0)
    one, other = (F.normalize(torch.randn(5, 8, generator=generator, dtype=torch.float64), dim=-1) for _ in range(2))
    scale, own = torch.tensor(7.0, dtype=torch.float64), torch.arange(5)
    scores = scale * one @ other.T
    wanted = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
    shares = [contrastive_share(one, other, own, scale, part, part) for part in (slice(0, 2), slice(2, 5))]
    assert float(sum(shares)) == pytest.approx(float(wanted), abs=1e-12)


@pytest.mark.parametrize(
    ("fits", "calls"), [(1, [4, 2, 4, 2, 2, 2]), (0, [4, 2, 2, 2, 2, 2, 2])], ids=["second pass", "first pass"]
)
def test_memory_that_runs_out_halves_the_micro_batch_and_changes_nothing(whole, fits, calls):
    made = []

    def short_of_memory(pixels):
        made.append(len(pixels))
        if len(pixels) > 2 and len(made) > fits:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return seen(pixels)

    assert _same(gradients(batch_of(OWNERS["some"]), micro_batch=4, images=short_of_memory), whole["some", 1.0])
    assert made == calls


def test_one_image_that_does_not_fit_is_an_error():
    def full(pixels):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        gradients(batch_of(OWNERS["one each"]), images=full)


def test_what_is_no_matter_of_memory_is_raised():
    def broken(pixels):
        raise RuntimeError("shapes")

    with pytest.raises(RuntimeError, match="shapes"):
        gradients(batch_of(OWNERS["one each"]), images=broken)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """All cases on two processes, started once."""
    folder = tmp_path_factory.mktemp("two")
    ended = two_processes("tests.training.two", str(folder))
    assert [code for code, *_ in ended] == [0, 0], ended
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("micro_batch", [6, 2])
@pytest.mark.parametrize("weight", [1.0, 0.0])
@pytest.mark.parametrize("which", OWNERS)
def test_two_processes_are_one(whole, two, which, weight, micro_batch):
    losses, wanted = whole[which, weight]
    for rank in two:
        found = rank[f"{which}/{weight}/{micro_batch}"]
        assert found["total"] == pytest.approx(losses.total, abs=1e-9)
        assert found["caption"] == pytest.approx(losses.caption, abs=1e-9)
        assert found["contrastive"] == pytest.approx(losses.contrastive, abs=1e-9)
        assert found["gradients"].keys() == wanted.keys()
        for name, gradient in wanted.items():
            assert (found["gradients"][name] - gradient).abs().max() < 1e-9, name


def test_the_mean_of_each_process_is_another_gradient(whole, two):
    """The control: open_clip's caption loss, a mean per rank, averaged by DDP, is not the global token mean."""
    found, wanted = two[0]["open_clip/0.0"], whole["one each", 0.0][1]
    assert (found["text_decoder.text_projection"] - wanted["text_decoder.text_projection"]).abs().max() > 1e-5


def test_open_clips_default_flags_give_what_the_recipe_calls_so(whole, two):
    """open_clip's ClipLoss without flags on two processes, under DDP: half the gradient, but for the temperature's."""
    theirs, ours, true = (two[0][k] for k in ("open_clip/1.0", "open_clip_default", "global"))
    worst = 0.0
    for name, gradient in theirs.items():
        assert (ours[name] - gradient).abs().max() < 1e-9, name
        worst = max(worst, float((true[name] - gradient).abs().max()))
    assert worst > 1e-4
    assert math.isclose(float(ours["logit_scale"]), float(true["logit_scale"]), abs_tol=1e-12)
