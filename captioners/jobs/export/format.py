"""The interface of an export form: it takes a run's selected captions unit by unit, and leaves files behind.

A form is one file `jobs/export/<name>_format.py` with one class, filed by `@formats.register(name)`. Forms of whole
samples derive from `captioned.CaptionedShards`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from captioners.core.registry import Registry
from captioners.core.run_dir import RunDir
from captioners.core.run_units import RunUnits
from captioners.data.run_captions import SelectedUnit
from captioners.jobs.recipes.export import ExportRecipe

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a form writes, and where."""

    folder: Path
    """Not yet under its final name."""
    recipe: ExportRecipe
    run: RunDir
    units: RunUnits
    schema: "pyarrow.Schema"
    """Of the tables that come: captions or images, as the recipe's `rows` says, and pictures if it asks for them."""
    resumed: Sequence[str] = ()
    """Files that are finished already, in their order."""


@dataclass(frozen=True, kw_only=True)
class Added:
    """What became of a unit."""

    finished: Mapping[str, int] = field(default_factory=dict)
    """Files that became finished, name -> rows, if now *everything* taken so far lies in finished files; otherwise
    none. From there a killed export goes on."""
    lost: Sequence[dict[str, Any]] = ()
    """shard, key, index, reason and error of each sample of the unit that cannot be written after all."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """What was noticed, and how often: a sentence that follows its number."""


class Format(Protocol):
    """One form. Every call comes in the order of the run's units: sorted by shard and part, shards whole."""

    def __init__(self, task: Task) -> None:
        """Begin, or go on behind the files that are finished."""

    def add(self, unit: SelectedUnit, table: "pyarrow.Table") -> Added:
        """Take a unit. `table` has the task's schema."""

    def close(self) -> dict[str, int]:
        """Finish what is begun, and return the files that became finished, name -> rows."""

    def drop(self) -> None:
        """Let go of what is begun: the export ends here, by an error."""

    def describe(self, manifest: Mapping[str, Any]) -> None:
        """Write what stands beside the data, such as a card, from what the whole export came to."""


formats: Registry[Callable[[Task], Format]] = Registry(
    "export form of captions", "captioners.jobs.export", suffix="_format"
)
"""By name, as `to:` says it."""
