"""Whether a training set holds pictures of an evaluation set, by their COCO numbers.

MSCOCO's 2017 split reshuffles that of 2014: 4,407 images of Karpathy's test split stand in train2017, and ReCap-COCO is
made of val2014. Sets without such numbers (DOCCI, DCI, GBC) cannot be compared so; near-duplicates may.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from captioners.data.coco_ids import coco_id, image_ids

_EXAMPLES = 5


@dataclass
class Overlap:
    """What a training set shares with one evaluation set."""

    size: int
    """Images of the evaluation set."""
    shared: set[int] = field(default_factory=set)
    """COCO numbers that are in both."""


class LeakReport:
    """Counts, sample by sample, which evaluation sets a training set overlaps."""

    def __init__(self, against: Mapping[str, str | Path]) -> None:
        """`against`: what messages call an evaluation set -> a file that lists its images (`coco_ids.image_ids`).

        Raises UserError for a file that lists none.
        """
        self._ids = {name: image_ids(Path(path).expanduser()) for name, path in against.items()}
        self.overlaps = {name: Overlap(len(ids)) for name, ids in self._ids.items()}
        self.samples = self.with_number = 0

    def add(self, key: str, meta: Mapping[str, Any]) -> None:
        """Count one training sample by its key and meta, as a source gives them."""
        self.samples += 1
        number = coco_id(key, dict(meta))
        if number is None:
            return
        self.with_number += 1
        for name, ids in self._ids.items():
            if number in ids:
                self.overlaps[name].shared.add(number)

    def lines(self) -> list[str]:
        """Return a sentence on each evaluation set, and one on samples that nothing can be said of."""
        said = []
        for name, overlap in self.overlaps.items():
            count = len(overlap.shared)
            some = ", ".join(map(str, sorted(overlap.shared)[:_EXAMPLES]))
            where = f" ({some}{', ...' if count > _EXAMPLES else ''}); leave them out, or evaluate on others"
            said.append(f"{name}: {count:,} of its {overlap.size:,} images are in this set{where if count else ''}")
        unknown = self.samples - self.with_number
        if unknown and said:
            said.append(f"{unknown:,} of {self.samples:,} samples have no COCO number, so they could not be compared")
        return said
