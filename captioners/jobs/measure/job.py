"""Score every caption of a run by one metric, into a score layer beside its layers; what is scored already stays."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from captioners.core.errors import InterruptedRunError, UserError
from captioners.core.layers import Layer
from captioners.core.recipe import options_from
from captioners.core.run_dir import open_run
from captioners.core.run_units import RunUnits
from captioners.core.scores import ScoreAbout, ScoreLayer
from captioners.core.stopping import stoppable
from captioners.data.selection import COLUMNS, FLAGS
from captioners.metrics.caption_score import CaptionScore, Partial, Scoring, Values, caption_scores
from captioners.metrics.metric import Metric

_EVERY_S = 10.0


@dataclass
class Measured:
    """What a start did."""

    run: str
    score: str
    """What it is called, as conditions name it."""
    units: int
    """Of the run, each with all its members."""
    before: int = 0
    """Units that were scored already."""
    captions: int = 0
    """Scored by this start."""
    undefined: int = 0
    """Of these, without a value."""
    away: int = 0
    """Of these, because their pictures were not there; a later start scores them when they are back."""
    total: float = 0.0
    """Sum of their values."""
    folders: list[str] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        """Mean of the values of this start, or None."""
        defined = self.captions - self.undefined
        return self.total / defined if defined else None


def measure_captions(
    given: str, metric: str, changes: Sequence[str] = (), say: Callable[[str], None] = lambda _: None
) -> Measured:
    """Score the captions of a run; the same command goes on where it was stopped, and with what the run made since.

    Args:
        metric: a registered one (`caption_scores`). changes: `key=value` of its options. say: told how far it is.

    Raises:
        NotFoundError: no such run or metric. RecipeError: mistakes in the options. UserError: a scorer that would judge
            its own cause or cannot be had; scores of this name that were made otherwise.
        InterruptedRunError: stopped.
    """
    options = options_from(caption_scores.get(metric), {}, changes, f"--per-caption {metric}")
    units = RunUnits(open_run(given))
    name = options.name or metric
    if name in COLUMNS or name in FLAGS or name in units.flags:
        raise UserError(f"name={name}: a column or flag is called so; choose another name for the score")
    layers = {layer.name: ScoreLayer(units.run.place, layer.name, name) for layer in units.layers}
    scoring = options.ready(units.run, units.layers)
    for layer in units.layers:
        layers[layer.name].claim(_about(name, metric, options, scoring, layer))
    found = Measured(units.run.url, name, len(units))
    found.folders = [units.run.place.at(layer.folder) for layer in layers.values()]
    try:
        with stoppable():
            _measure(units, layers, scoring, found, type(options).metric, say)
    except KeyboardInterrupt:
        raise InterruptedRunError("stopped; what is scored stays. Run the same command again to go on") from None
    return found


def _measure(
    units: RunUnits,
    layers: dict[str, ScoreLayer],
    scoring: Scoring,
    found: Measured,
    metric: Metric,
    say: Callable[[str], None],
) -> None:
    told = time.monotonic()
    for unit in units.units():
        todo = {member: entry for member, entry in unit.entries.items() if entry.file and not layers[member].has(entry)}
        if not todo:
            found.before += 1
            continue
        tables = {member: units.run.rows(entry) for member, entry in todo.items()}
        for member, values in scoring.score(tables).items():
            _count(found, values, metric)
            away = values.away if isinstance(values, Partial) else 0
            found.away += away
            layers[member].write(todo[member], tables[member], values, away)
        if time.monotonic() - told > _EVERY_S:
            told = time.monotonic()
            say(f"{unit.number + 1:,} of {len(units):,} units, {found.captions:,} captions scored")


def _count(found: Measured, values: Values, metric: Metric) -> None:
    defined = [metric.checked(value) for value in values if value is not None]
    found.captions += len(values)
    found.undefined += len(values) - len(defined)
    found.total += sum(defined)


def _about(name: str, metric: str, options: CaptionScore, scoring: Scoring, layer: Layer) -> ScoreAbout:
    told = type(options).metric
    return ScoreAbout(
        name=name,
        metric=metric,
        version=told.version,
        layer_fingerprint=layer.fingerprint,
        scorer=scoring.scorer,
        scorer_digest=scoring.scorer_digest,
        facts={"unit": told.unit, "better": told.better, "source": told.source},
    )
