"""What is said, and written to `diverged.json`, when a loss has gone wrong: which samples did it, what is left."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from captioners.core.errors import CaptionersError, NeedsLookError
from captioners.training.checkpoint import Checkpoints
from captioners.training.ranks import Ranks

_SHOWN = 5


def diverged(
    folder: Path, step: int, wrong: str, values: Mapping[str, float], blamed: Mapping[str, float], ranks: Ranks
) -> CaptionersError:
    """Write `diverged.json` into the run's folder and return the error to raise, which the main process says.

    Args:
        folder: the run's.
        step: the step that went wrong, from 1.
        wrong: what is wrong with the loss.
        values: losses and gradient norm.
        blamed: the caption loss of each sample of this process by itself.
        ranks: the processes.
    """
    each = [one for found in ranks.told(list(blamed.items())) for one in found]
    each.sort(key=lambda one: (math.isfinite(one[1]), -one[1]))
    spoilt = [key for key, loss in each if not math.isfinite(loss)]
    keys = spoilt or [key for key, _ in each]
    file = folder / "diverged.json"

    def write() -> None:
        losses = [{"key": key, "caption": str(loss)} for key, loss in each]
        told = {"step": step, "wrong": wrong, **{name: str(value) for name, value in values.items()}, "samples": losses}
        file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    ranks.on_main(write)
    found = Checkpoints(folder / "checkpoints").latest()
    kept = f"the checkpoint of step {found.step} is kept" if found else "no checkpoint was written yet"
    whose = "for" if spoilt else "on the batch of"
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    error = NeedsLookError(
        f"step {step}: the loss {wrong} ({numbers}) {whose} {', '.join(keys[:_SHOWN])}{more} (each sample's loss: "
        f"{file}); {kept}. Look at these samples, or train afresh with a smaller lr"
    )
    return ranks.in_common(error)
