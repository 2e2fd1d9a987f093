"""What a metric says of itself: what it measures, in which unit and range, which way is better, by whose definition.

A metric is a function of one image's captions (or of their verdicts) that gives one number an image, so that an
interval over images needs no knowledge of it. It sees no model and no file.
"""

from dataclasses import dataclass
from math import inf
from typing import Literal

from captioners.core.errors import CaptionersError

Better = Literal["higher", "lower", "neither"]
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The facts that are printed beside a metric's numbers."""

    name: str
    unit: str
    """"share", "words" ...; of one value."""
    low: float = 0.0
    high: float = inf
    """The ends of its range, which a value may reach."""
    better: Better
    version: int = 1
    """Raised when the same captions get another number."""
    source: str
    """Whose definition it is."""

    def checked(self, value: float) -> float:
        """Return the value (nan passes: "undefined here"); raise CaptionersError outside the range, which is a bug."""
        if value < self.low - _ROUNDING or value > self.high + _ROUNDING:
            raise CaptionersError(f"metric {self.name} gave {value}, outside its range {self.low}..{self.high}")
        return value
