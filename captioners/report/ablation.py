"""What an ablation found, as values: arms with their numbers, the probe's results, what follows from them, a gallery.

`ablation.json` in the run is this, and the page and all exports are made of it alone. What could not be measured is
never left out: a cell without a value says why, an arm that failed says why, an arm that is still to come is there.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Literal

from pydantic import Field, FiniteFloat, ValidationError, model_validator

from captioners.core.errors import UserError
from captioners.core.options import Options
from captioners.report.ablation_gallery import Seen

Status = Literal["done", "failed", "missing"]
Better = Literal["higher", "lower", "neither"]
Group = Literal["within an image", "across the set", "across captioners", "quality", "truth", "length"]


class Column(Options):
    """A metric: what stands at the head of its numbers."""

    name: str
    unit: str
    """"share", "words" ...; of one value. Shares are printed in percent."""
    better: Better
    group: Group
    default: bool = True
    """Whether it is one of the few that stand in the table; the others are a click away."""
    source: str = ""
    """Whose definition it is."""
    version: int = 1


class Cell(Options):
    """A number with its 95 % interval over images, or why there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    count: int = 0
    """Images it rests on."""
    why: str = ""
    """What stands in its place, such as "needs two captions an image"; also said of a value, such as "5 of 10"."""

    @model_validator(mode="after")
    def _says_why(self) -> "Cell":
        if self.value is None and not self.why:
            raise ValueError("a cell without a value says why")
        if (self.low is None) != (self.high is None) or (self.value is None and self.low is not None):
            raise ValueError("an interval has both ends, and a value in it")
        return self

    @classmethod
    def of(cls, value: float, low: float, high: float, count: int = 0, why: str = "") -> "Cell":
        """Return an interval of metrics as a cell: what is not finite there (nan) is nothing here.

        >>> Cell.of(float("nan"), float("nan"), float("nan"), why="one caption an image").value is None
        True
        """
        if not isfinite(value):
            return cls(count=count, why=why or "not defined for these captions")
        ends = isfinite(low) and isfinite(high)
        return cls(value=value, low=low if ends else None, high=high if ends else None, count=count, why=why)


class Member(Options):
    """What an arm draws from one captioner."""

    captioner: str
    decoding: str
    """In words, such as "top-p 0.9"."""
    draws: int = Field(ge=1)
    """Captions of an image."""


class Arm(Options):
    """One row of the table."""

    name: str
    members: tuple[Member, ...] = ()
    axes: Mapping[str, str] = {}
    """Axis -> value, such as "decoding" -> "top-p 0.9"."""
    status: Status = "missing"
    reason: str = ""
    """Why it failed."""
    sanity: bool = False
    """A control whose result is known beforehand: copies, shuffled captions, oracle."""
    m: int | None = None
    """Captions of an image."""
    seconds: float | None = None
    """What its captions cost on the machine that made them."""
    cells: Mapping[str, Cell] = {}
    """Metric's name -> its number."""
    probe: Mapping[str, Mapping[str, Mapping[str, FiniteFloat]]] = {}
    """Distillation weight, as text -> task -> seed, as text -> value."""

    @model_validator(mode="after")
    def _says_why(self) -> "Arm":
        if self.status == "failed" and not self.reason:
            raise ValueError(f"arm {self.name}: a failed arm says why")
        return self


class Change(Options):
    """A declaration that was altered after the first probe had begun."""

    what: str
    """Dotted path of the recipe's key."""
    before: str
    after: str
    when: str = ""
    """UTC, ISO 8601."""


class Declared(Options):
    """What was declared before the first probe began."""

    sha256: str
    task: str
    """The primary endpoint: a task of the probe, ..."""
    distillation: str
    """... at this distillation weight."""
    contrasts: tuple[tuple[str, str], ...]
    """(arm, the arm it is held against)."""
    margin: float
    """What counts as no difference, in the task's unit."""
    seeds: int
    when: str = ""
    """UTC, ISO 8601."""
    changes: tuple[Change, ...] = ()


class Contrast(Options):
    """Two arms of the probe, seed by seed."""

    arm: str
    against: str
    task: str
    distillation: str
    seeds: int
    """Pairs."""
    missing: int = 0
    """Seeds that one of both arms lacks."""
    difference: float | None
    """Mean of arm - against; None before there is a pair."""
    low: float | None = None
    """Ends of the 95 % interval of paired differences (Student's t)."""
    high: float | None = None
    p: float | None = None
    """Exact sign-flip test, two-sided; None under six pairs."""
    p_holm: float | None = None
    """The same after Holm's correction for all declared contrasts."""
    p_least: float | None = None
    """The smallest `p_holm` that so many pairs could have given: above 0.05, no result could have been significant."""
    equivalent: bool | None = None
    """Whether two one-sided tests put the difference within the margin; None where they cannot."""
    primary: bool = False
    """Of the declared endpoint."""


class Correlation(Options):
    """Whether a metric of the captions told beforehand what they were worth."""

    metric: str
    outcome: str
    """Such as "facts told" or "Avg-S, λ 0"."""
    arms: int
    rho: float | None
    """Spearman's; None where one of both does not vary."""
    low: float | None = None
    high: float | None = None


class Saturation(Options):
    """How a number grows with captions an image, from one source of captions."""

    name: str
    metric: str
    points: tuple[tuple[int, Cell], ...]
    """(captions of an image, the number)."""


class Overlap(Options):
    """How much captioners say the same, pair by pair."""

    title: str
    """Such as "Jaccard index of bigrams"."""
    captioners: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    """0..1; row and column in the order of captioners; None where it is not measured."""
    images: int | None = None
    """That have captions of all of them, and were compared; None where an earlier version did not say."""

    @model_validator(mode="after")
    def _is_square(self) -> "Overlap":
        if any(len(row) != len(self.captioners) for row in (self.values, *self.values)):
            raise ValueError(f"overlap {self.title}: {len(self.captioners)} captioners need as many rows and columns")
        return self


class Added(Options):
    """What one captioner of an ensemble adds: with it less without it."""

    arm: str
    captioner: str
    changes: Mapping[str, Cell]
    """Metric's name -> the change."""


class Control(Options):
    """Students that must come out as known, and whether they did."""

    name: str
    holds: bool
    says: str

    @property
    def words(self) -> str:
        """A sentence for every form."""
        return f"Control: {self.name}: {'so it is' if self.holds else 'NOT SO'} ({self.says})."


class Ablation(Options):
    """All of it."""

    format: Literal["captioners-ablation"] = "captioners-ablation"
    version: Literal[1] = 1
    name: str
    title: str = ""
    """A line for people; the name where it is empty."""
    columns: tuple[Column, ...] = ()
    tasks: tuple[str, ...] = ()
    """Of the probe, in order: the primary one first."""
    task_unit: str = "share"
    """Of all tasks' values; shares are printed in percent."""
    chance: Mapping[str, float] = {}
    """Task -> what guessing gets, where that is known."""
    arms: tuple[Arm, ...]
    declared: Declared | None = None
    contrasts: tuple[Contrast, ...] = ()
    correlations: tuple[Correlation, ...] = ()
    frontiers: tuple[tuple[str, str], ...] = ()
    """Pairs of metrics, what is drawn to the right first: diversity against truth."""
    saturation: tuple[Saturation, ...] = ()
    overlap: tuple[Overlap, ...] = ()
    adds: tuple[Added, ...] = ()
    gallery: tuple[Seen, ...] = ()
    trained_elsewhere: bool = False
    """Whether students were trained by another program, of which nothing else is known."""
    notes: tuple[str, ...] = ()
    """What a reader must know before all else, such as that this is the drawn world."""
    controls: tuple[Control, ...] = ()
    """Built into the probe: where one does not hold, nothing else that it says can be trusted."""
    recipe: str = ""
    """Resolved, as YAML."""
    provenance: Mapping[str, str] = {}
    made_by: str = ""
    """Package and version that wrote it."""

    @model_validator(mode="after")
    def _names_are_known(self) -> "Ablation":
        names = [arm.name for arm in self.arms]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two arms are called {twice[0]}")
        columns = {column.name for column in self.columns}
        for arm in self.arms:
            strange = sorted(set(arm.cells) - columns)
            if strange:
                raise ValueError(f"arm {arm.name} has a number of {strange[0]!r}, which is no column")
        return self

    def as_json(self) -> bytes:
        """Return it as the bytes of `ablation.json`: the same values give the same bytes."""
        return (self.model_dump_json(indent=1) + "\n").encode()


def read_ablation(data: bytes, where: str = "ablation.json") -> Ablation:
    """Return what such a file holds.

    Raises:
        UserError: it is none, or one of another version; `where` is named.
    """
    try:
        return Ablation.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(f"{where}: not what an ablation writes: {place}: {first['msg']}") from None
