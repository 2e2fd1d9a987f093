"""Look at a captioner while it learns: captions of fixed held-out images, their CIDEr-D, the loss; and when to stop."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from captioners.core.errors import NeedsLookError
from captioners.core.seeds import Stream
from captioners.decoding.values import Beam
from captioners.jobs.train.data import HeldOut
from captioners.jobs.train.start import Start
from captioners.kinds.captioner import Request
from captioners.kinds.catalogue import KnownCaptioner, Origin
from captioners.kinds.coca import CocaCaptioner
from captioners.kinds.loading import Loaded
from captioners.metrics.references import cider_d, document_frequencies
from captioners.training.objective import CoCaObjective

COLLAPSED = 0.8
"""Share of the images that may get one and the same caption before it is called a collapse."""
_FEWEST = 8
"""Images that a collapse can be told by."""
_AT_ONCE = 32
"""Images whose loss is computed together."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What one evaluation found; a line of `evaluations.jsonl`."""

    step: int
    """Steps done; 0 before the first."""
    cider_d: float
    """Mean over the images."""
    loss: float
    """Caption loss, nats a token."""
    distinct: float
    """Different captions a caption."""
    commonest: float
    """Share of the images with the commonest caption."""
    length: float
    """Words a caption, the mean."""
    captions: list[str]
    """Of the first images, for the page."""


class Evaluator:
    """Evaluates one run's captioner on the same images each time, and says when to stop.

    Args:
        start: the captioner in training; its model is looked at as it is.
        val: the images.
        loss: returns the caption loss of the model on them (`caption_loss`).
        directory: the run's, where `evaluations.jsonl` is; lines of earlier starts are read, later ones dropped.
        steps: done by earlier starts.
        device: where it is captioned.
        patience: looks without a better CIDEr-D before it says to stop.
        shown: images whose captions are kept.
        writes: whether it writes; one process of several does.
    """

    def __init__(  # noqa: PLR0913  # what is looked at, where, and when to stop
        self,
        start: Start,
        val: HeldOut,
        loss: Callable[[], float],
        directory: Path,
        *,
        steps: int,
        device: str,
        patience: int,
        shown: int,
        writes: bool = True,
    ) -> None:
        self._start, self._val, self._loss, self._device = start, val, loss, device
        self._patience, self._shown, self._writes = patience, shown, writes
        self._df = document_frequencies(val.captions)
        self._repeats = _commonest([captions[0] for captions in val.captions])
        self._file = directory / "evaluations.jsonl"
        self.looks = [look for look in read_looks(self._file) if look.step <= steps]
        self._write()

    @property
    def best(self) -> Look | None:
        """The look after a step with the best CIDEr-D, the first of equals; what it was begun with does not count."""
        return max(
            (look for look in self.looks if look.step), key=lambda look: (look.cider_d, -look.step), default=None
        )

    def look(self, step: int) -> Look:
        """Evaluate the model after `step` steps, and write what was found; a step that was looked at is not again."""
        if self.looks and self.looks[-1].step == step:
            return self.looks[-1]
        captions = self._captions()
        self.looks.append(
            Look(
                step=step,
                cider_d=float(np.mean(cider_d(captions, self._val.captions, self._df))),
                loss=self._loss(),
                distinct=len(set(captions)) / len(captions),
                commonest=_commonest(captions),
                length=float(np.mean([len(text.split()) for text in captions])),
                captions=captions[: self._shown],
            )
        )
        self._write()
        return self.looks[-1]

    def verdict(self) -> str | None:
        """Return why training should end now, or None.

        Raises:
            NeedsLookError: the captioner has collapsed: twice in a row nearly all images get one caption.
        """
        last = [look for look in self.looks[-2:] if look.step]
        enough = len(self._val) >= _FEWEST and self._repeats < COLLAPSED
        if enough and len(last) == 2 and all(look.commonest >= COLLAPSED for look in last):
            raise NeedsLookError(self._collapse(last[-1]))
        best = self.best
        since = [look for look in self.looks if best is not None and look.step > best.step]
        if best is not None and len(since) >= self._patience:
            return (
                f"CIDEr-D on val was best after step {best.step:,} ({best.cider_d:.3f}) and has not been better in "
                f"{len(since)} evaluations"
            )
        return None

    def _collapse(self, look: Look) -> str:
        caption = Counter(look.captions).most_common(1)[0][0] if look.captions else ""
        return (
            f"after step {look.step:,} the captioner says the same of {look.commonest:.0%} of the val images"
            + (f" ({caption!r})" if caption else "")
            + ", twice in a row: it has stopped looking. Likely causes: lr is too high (try a tenth); most captions of "
            "the set are alike (captioners check --data); the captions belong to other images (look at the examples). "
            f"What it said is in {self._file}; the checkpoints stay"
        )

    def _captions(self) -> list[str]:
        """Return the model's greedy captions of all images, in order."""
        start = self._start
        recommended = start.recommended
        greedy = Beam(width=1, min_tokens=recommended.min_tokens, max_tokens=recommended.max_tokens)
        captioner = CocaCaptioner(
            KnownCaptioner("in training", Origin("random", ""), "a model in training"),
            loaded=Loaded(start.loaded, start.tokenizer, {}, recommended),
            device=self._device,
            exact=False,
        )
        captioner.open()
        try:
            requests = (
                Request(index=number, image=self._val.image(number), stream=Stream(0, str(number)), decoding=greedy)
                for number in range(len(self._val))
            )
            found = {result.index: result.text for result in captioner.caption(requests)}
        finally:
            captioner.close()
        return [found[number] for number in range(len(self._val))]

    def _write(self) -> None:
        if not self._writes:
            return
        lines = "".join(json.dumps(asdict(look), ensure_ascii=False) + "\n" for look in self.looks)
        draft = self._file.with_name(f".{self._file.name}")
        draft.write_text(lines, encoding="utf-8")
        draft.replace(self._file)


def read_looks(file: Path) -> list[Look]:
    """Return the looks of an `evaluations.jsonl`; what a killed process left of a line is not one."""
    found = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        try:
            found.append(Look(**json.loads(line)))
        except (ValueError, TypeError):
            break
    return found


def caption_loss(
    start: Start, val: HeldOut, normalised: Callable[[torch.Tensor], torch.Tensor], device: torch.device
) -> float:
    """Return the caption loss of the model as it is, on each image's first caption, in nats a token."""
    objective, total, labels = CoCaObjective(contrastive_weight=0), 0.0, 0
    text = start.tokenizer.batch([captions[0] for captions in val.captions], start.loaded.context_length)
    for at in range(0, len(val), _AT_ONCE):
        pixels = torch.from_numpy(np.stack(val.pixels[at : at + _AT_ONCE])).to(device)
        with torch.no_grad():
            parts = objective(start.loaded.model, normalised(pixels), text[at : at + _AT_ONCE])
        total, labels = total + float(parts.caption) * parts.num_tokens, labels + parts.num_tokens
    return total / labels


def _commonest(captions: Sequence[str]) -> float:
    return Counter(captions).most_common(1)[0][1] / len(captions) if captions else 0.0
