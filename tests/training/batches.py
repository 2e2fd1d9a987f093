"""Batches with several captions an image, whole or one rank's share, for tests of gradients."""

import torch

from captioners.data.batches import Batch
from captioners.models import coca
from captioners.training.devices import accelerator_for
from captioners.training.gradients import Count, GlobalGradient
from captioners.training.objective import CoCaObjective
from captioners.training.optimizer import trained_parameters
from captioners.training.ranks import Ranks
from tests.models.tiny import tiny_config
from tests.training.runs import captions, normalised, share_of

OWNERS = {
    "one each": [0, 1, 2, 3, 4, 5],
    "three each": [i // 3 for i in range(18)],
    "some": [0, 0, 1, 2, 2, 2, 3, 4, 5, 5],
}
IMAGES = 6


def batch_of(owner, *, seed=0):
    """Six images, and captions of different lengths of these owners; one holds the pad's id within."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (IMAGES, 3, 32, 32), generator=generator).to(torch.uint8)
    text = captions([3 + (7 * row + seed) % 20 for row in range(len(owner))], seed=seed)
    text[1, 2] = 0
    keys = tuple(f"image {number}" for number in range(IMAGES))
    return Batch(keys, pixels, text, torch.tensor(owner), torch.arange(IMAGES))


def gradients(batch, *, weight=1.0, micro_batch=IMAGES, tune="all", images=None, model=None, meant="global", **more):
    """(losses, gradients by name) of a tiny float64 CoCa for a batch, or for this process's share of it."""
    if model is None:
        model = coca.build(tiny_config(), 1).double()
    model.train()
    objective = CoCaObjective(contrastive_weight=weight, contrastive_gradient=meant)
    parameters = trained_parameters(model, objective.untrained(model, tune))
    with accelerator_for("cpu", "fp32") as accelerator:
        ranks = Ranks(accelerator)
        compute = GlobalGradient(
            model, objective, parameters, images or seen, ranks=ranks, micro_batch=micro_batch, **more
        )
        mine = share_of(batch, ranks.rank, ranks.world) if ranks.world > 1 else batch
        losses = compute(mine, ranks.told(Count.of(mine)))
    return losses, {name: parameter.grad for name, parameter in parameters.items()}


def seen(pixels):
    return normalised(pixels).double()
