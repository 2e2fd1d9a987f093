"""One of two gloo processes: FOLDER. Saves what this rank found as rank-R.pt."""

import os
import sys
from pathlib import Path

import torch

from captioners.models import coca
from tests.models.tiny import tiny_config
from tests.training.batches import OWNERS, batch_of, gradients, seen
from tests.training.runs import share_of


def _group(work):
    """Run a piece of work in a process group of its own (as each call of ours starts one), on the next port."""
    import torch.distributed as dist

    dist.init_process_group("gloo")
    try:
        return work()
    finally:
        dist.destroy_process_group()


def _next_port():
    os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)


def _cases():
    found = {}
    for which, owner in OWNERS.items():
        for weight in (1.0, 0.0):
            for micro_batch in (6, 2):
                losses, each = gradients(batch_of(owner), weight=weight, micro_batch=micro_batch)
                found[f"{which}/{weight}/{micro_batch}"] = {**vars(losses), "gradients": each}
                _next_port()
    return found


def _equal_lengths():
    """A batch whose ranks have equally many labels: so open_clip's caption loss is the global one, and only the
    contrastive gradient differs."""
    batch = batch_of(OWNERS["one each"])
    text = batch.text[:3].repeat(2, 1)
    text[3:][text[3:] > 2] += 1
    return batch.__class__(batch.keys, batch.pixels, text.clamp(max=95), batch.owner, batch.images)


def _open_clip(batch, weight):
    """Gradients of open_clip's CoCa and CoCaLoss with its default flags, under DDP."""
    from open_clip.loss import CoCaLoss

    rank = int(os.environ["RANK"])

    def work():
        model = coca.build(tiny_config(), 1).double().train()
        wrapped = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=not weight)
        part = share_of(batch, rank, 2)
        out = wrapped(seen(part.pixels), batch.text[3 * rank : 3 * rank + 3])
        loss = CoCaLoss(2.0, weight, rank=rank, world_size=2)
        names = ("image_features", "text_features", "logits", "labels", "logit_scale")
        sum(loss(*(out[name] for name in names))).backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    found = _group(work)
    _next_port()
    return found


def main(folder):
    torch.set_num_threads(1)
    found = _cases()
    found["open_clip/0.0"] = _open_clip(batch_of(OWNERS["one each"]), 0.0)
    batch = _equal_lengths()
    found["open_clip/1.0"] = _open_clip(batch, 1.0)
    for meant in ("open_clip_default", "global"):
        found[meant] = gradients(batch, meant=meant)[1]
        _next_port()
    torch.save(found, Path(folder) / f"rank-{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(sys.argv[1])
