"""Which augmentation and which captions of a sample a step trains on, by the rule of MobileCLIP2's trainer.

One augmentation uniformly, one key of synthetic captions uniformly among those that match, then one of its captions
uniformly: a captioner that wrote 2 captions is seen as often as one that wrote 5. Unlike the trainer's, the draws are a
function of (seed, epoch, sample).
"""

import re
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import NamedTuple

from captioners.core.errors import UserError
from captioners.core.seeds import uniforms

ALL_KEYS = r"^syn_text.*$"


@dataclass(frozen=True)
class Sampling:
    """How a sample's variants are chosen."""

    seed: int = 0
    sequential: bool = False
    """Augmentation and caption number `epoch mod n` in place of random ones. The key stays random, as there."""
    syn_keys: str | None = ALL_KEYS
    """Regular expression that a key of `syn.json` matches from its start; None trains on ground truth alone."""
    mix_synthetic: float | None = None
    """Share of steps whose ground-truth caption gives way to the synthetic one; None trains on both at once."""

    def __post_init__(self) -> None:
        try:
            re.compile(self.syn_keys or "")
        except re.error as error:
            raise UserError(f"syn_keys {self.syn_keys!r} is no regular expression ({error})") from None
        if self.mix_synthetic is not None and not 0 <= self.mix_synthetic <= 1:
            raise UserError(f"mix_synthetic is {self.mix_synthetic}; it is a share between 0 and 1")
        if self.mix_synthetic is not None and self.syn_keys is None:
            raise UserError("mix_synthetic mixes in synthetic captions, and syn_keys is none; give one of them only")


class Choice(NamedTuple):
    """Numbers from 0 on."""

    augmentation: int
    syn_key: str
    """Empty without synthetic captions."""
    caption: int
    """Of that key's."""
    replace: bool
    """Whether the synthetic caption takes the ground truth's place."""


def matching(rule: Sampling, syn: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the keys to choose from, in their order.

    >>> matching(Sampling(syn_keys="^syn_text_coco$"), {"syn_text": ["a"], "syn_text_coco": ["b"]})
    ['syn_text_coco']
    """
    return [key for key in syn if rule.syn_keys is not None and re.match(rule.syn_keys, key)]


def choose(rule: Sampling, epoch: int, sample: tuple[str, ...], augmentations: int, syn: Mapping[str, Sized]) -> Choice:
    """Return the choice for a `sample` (its names) in an `epoch`; `syn` holds the keys that match, none empty."""
    # A place for each decision: whether a sample has augmentations does not change which captions it shows.
    drawn = uniforms(4, "reinforced sample", rule.seed, epoch, *sample).tolist()

    def one_of(count: int, uniform: float) -> int:
        return epoch % count if rule.sequential else int(uniform * count)

    augmentation = one_of(augmentations, drawn[0]) if augmentations else 0
    if not syn:
        return Choice(augmentation, "", 0, False)
    key = list(syn)[int(drawn[1] * len(syn))]
    replace = rule.mix_synthetic is not None and drawn[3] < rule.mix_synthetic
    return Choice(augmentation, key, one_of(len(syn[key]), drawn[2]), replace)
