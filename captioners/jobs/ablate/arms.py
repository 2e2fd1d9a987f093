"""The arms of an ablation at work: what each has come to, measured, and written down from the first one on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path

from captioners.core.errors import UserError
from captioners.core.run_dir import RunDir
from captioners.data.caption_sets import CaptionSet, Part
from captioners.data.drawn_scene import NOTICE
from captioners.jobs.ablate import folder, found
from captioners.jobs.ablate.between import added, overlaps
from captioners.jobs.ablate.book import Book
from captioners.jobs.ablate.declared import declared
from captioners.jobs.ablate.found import Progress
from captioners.jobs.ablate.gallery import gallery
from captioners.jobs.ablate.layers import Batch, batch_of, batches
from captioners.jobs.ablate.mix import best_mix, spent_on
from captioners.jobs.measure.cells import MeasureTable
from captioners.jobs.measure.table import measure_sets
from captioners.jobs.probe.job import ProbeRun
from captioners.jobs.probe.results import USED, Trained
from captioners.jobs.probe.sanity import Check, checks_of
from captioners.jobs.recipes.ablate import AblateRecipe, Budget, Row
from captioners.jobs.recipes.measure import MeasureOptions
from captioners.metrics.metric import Metric
from captioners.metrics.registry import REGISTRY
from captioners.report.ablation import Ablation, Added, Control, Overlap
from captioners.report.ablation_gallery import Seen
from captioners.report.ablation_page import render_ablation

Say = Callable[[str], None]


class Arms:
    """All arms of an ablation.

    Args:
        recipe: the ablation's. name: what it is called. out: its folder. text: the resolved recipe.
    """

    def __init__(self, recipe: AblateRecipe, name: str, out: Path, text: str, say: Say) -> None:
        self._recipe, self._name, self._out, self._text, self._say = recipe, name, out, text, say
        self.rows: list[Row] = list(recipe.rows().values())
        self.batches: list[Batch] = batches(recipe, self.rows)
        self._progress = {row.name: Progress(row) for row in self.rows}
        self._refused: dict[str, Mapping[str, str]] = {}
        self._metrics: tuple[Metric, ...] = ()
        self._notes: dict[str, None] = {}
        self._gallery: tuple[Seen, ...] = ()
        self._weighed_by: tuple[CaptionSet, ...] = ()
        self._overlap: tuple[Overlap, ...] = ()
        self._adds: list[Added] = []
        self._run: ProbeRun | None = None
        self._controls: list[Trained] = []
        used = out / folder.PROBE / USED
        self._before = recipe.probe is not None and used.is_file() and used.stat().st_size > 0

    @property
    def failed(self) -> dict[str, str]:
        """Arm -> why it failed."""
        return {name: one.reason for name, one in self._progress.items() if one.status == "failed"}

    @property
    def checks(self) -> list[Check]:
        """What had to come out as known, and whether it did."""
        if self._run is None or not self._controls:
            return []
        return checks_of(self._students(), self._progress, self._run.chance)

    @property
    def to_probe(self) -> list[Row]:
        """The arms that did not fail, in their order."""
        return [one.row for one in self._progress.values() if one.status != "failed"]

    def refused(self, batch: Batch) -> Mapping[str, str]:
        """Return the layers of a batch that could not be had, with the reason."""
        return self._refused.get(batch.called, {})

    def batch_of(self, row: Row) -> Batch:
        """Return the batch that an arm's captions are drawn in; of one without captions, the first."""
        return batch_of(self._recipe, row, self.batches) if row.members else self.batches[0]

    def drawn(self, batch: Batch, refused: Mapping[str, str]) -> None:
        """Take note of what could not be had of a batch: the arms that need it fail."""
        self._refused[batch.called] = refused
        for row in self.rows:
            reasons = [refused[one.layer] for one in row.members if one.layer in refused]
            if reasons and self.batch_of(row) is batch:
                self.fail(row, reasons[0])
        self.write()

    def fail(self, row: Row, reason: str) -> None:
        """Take an arm out, with its reason; the others go on."""
        one = self._progress[row.name]
        one.status, one.reason = "failed", reason
        self._say(f"  arm {row.name} failed: {reason}")

    def cost(self, book: Book) -> None:
        """Take note of what each arm's captions cost: its captioners' training, and its share of the drawing."""
        spent = {batch.called: spent_on(RunDir(batch.folder(self._out))) for batch in self.batches}
        for row in self.to_probe:
            layers = spent[self.batch_of(row).called]
            there = [(layers[one.layer], one.draws) for one in row.members if one.layer in layers]
            drawing = sum(one.each * one.images * draws for one, draws in there)
            training = sum(book.seconds(f"captioner {name}") or 0.0 for name in {m.trained for m in row.members})
            self._progress[row.name].seconds = training + drawing

    def measure(self) -> None:
        """Measure every arm's captions, by themselves and at one number for all; who cannot be, fails.

        Raises InterruptedRunError where it was stopped; the same command continues.
        """
        rows = [row for row in self.to_probe if row.members]
        self._weighed_by = tuple(self._set(row) for row in rows)  # one table for all, so that rows compare
        sets: dict[str, CaptionSet] = {}
        for number, row in enumerate(rows, start=1):
            try:
                table = self._together([self._set(row)], row.name)
            except UserError as error:
                self.fail(row, str(error))
                continue
            self._progress[row.name].own = table.rows[0]
            sets[row.name] = self._set(row)
            self._say(f"  arm {number} of {len(rows)}, {row.name}: {_words(table)}")
            self.write()
        several = [one for name, one in sets.items() if self._progress[name].row.m > 1]
        if len({self._progress[one.name].row.m for one in several}) > 1:
            table = self._together(several, "at one number of captions")
            for measured in table.rows:
                # A row says how many captions its set has; what is compared, the stamp.
                self._progress[measured.name].equal = replace(measured, m=min(measured.m, table.stamp["m"]))
        self._between(sets)
        if self._recipe.budget is not None:
            self._mix(self._recipe.budget)
        self._gallery = gallery(list(sets.values()), self._recipe.gallery)
        self.write()

    def _between(self, sets: Mapping[str, CaptionSet]) -> None:
        """Compare the captions that arms share, batch by batch, and say what members add to arms of several."""
        for batch in self.batches:
            there = {name: one for name, one in batch.members.items() if name not in self.refused(batch)}
            draws = min((one.draws for one in there.values()), default=0)
            run = str(batch.folder(self._out))
            plain = self._recipe.decoding
            parts = [
                CaptionSet(f"{one.trained} {found.words_of(one, plain)}", (Part(run, name, draws),))
                for name, one in there.items()
            ]
            self._overlap += overlaps(parts, draws) if parts else ()
        for row in self.to_probe:
            if len(row.members) > 1:
                self._adds += added(sets[row.name], [one.trained for one in row.members])

    def _mix(self, budget: Budget) -> None:
        """Say which mix of captioners gains most per second, among those of the recipe's own rules."""
        batch = self.batches[0]
        draws = {name: one.draws for name, one in batch.members.items() if name not in self.refused(batch)}
        try:
            mix = best_mix(RunDir(batch.folder(self._out)), draws, budget, self._recipe.measure, self._out)
        except UserError as error:
            self._notes[f"No mix was chosen: {error}."] = None
            return
        self._notes[mix.words] = None
        self._say(f"  {mix.words}")

    def _together(self, sets: Sequence[CaptionSet], what: str) -> MeasureTable:
        """Return a table on shared images; where a judge is refused (it has a captioner's tower), one without it."""
        options = self._recipe.measure.model_copy(update={"common": True})
        try:
            return self._measured(sets, options)
        except UserError as error:
            if options.clip is None:
                raise
            table = self._measured(sets, options.model_copy(update={"clip": None}))
            self._notes[f"Measured without a judge, {what}: {error}"] = None
            return table

    def _measured(self, sets: Sequence[CaptionSet], options: MeasureOptions) -> MeasureTable:
        table = measure_sets(sets, options, weighed_by=self._weighed_by)
        known = dict.fromkeys((*self._metrics, *table.metrics))
        order = list(REGISTRY)
        self._metrics = tuple(sorted(known, key=lambda one: order.index(one.name) if one.name in REGISTRY else 0))
        return table

    def _set(self, row: Row) -> CaptionSet:
        run = str(self.batch_of(row).folder(self._out))
        return CaptionSet(row.name, tuple(Part(run, one.layer, one.draws) for one in row.members))

    def show(self, seen: tuple[Seen, ...]) -> None:
        """Take a gallery that was made elsewhere."""
        self._gallery = seen

    def probed(self, run: ProbeRun, upto: Sequence[Row] | None = None) -> None:
        """Take note of what students have come to; an arm that has all of its students is done, unless it failed."""
        probe = self._recipe.probe
        assert probe is not None
        wanted = len(probe.seeds) * len(probe.distillation_weights) if probe.kind == "student" else 1
        for row in self.to_probe if upto is None else upto:
            one = self._progress[row.name]
            one.trained = [student for student in run.used if student.arm == row.name]
            if one.status != "failed":
                one.status = "done" if len(one.trained) >= wanted else "missing"
            if row.name in run.failed:
                self.fail(row, run.failed[row.name])
        self._run = run
        # A run for one arm tells of no control; what the first of this start told of them stays.
        self._controls = [one for one in run.used if one.arm not in self._progress] or self._controls
        self.write()

    def ablation(self) -> Ablation:
        """Return what is found so far."""
        if self._recipe.probe is None:
            for one in self._progress.values():
                one.status = "done" if one.own is not None else one.status
        arms = [found.arm_of(one, self._metrics) for one in self._progress.values()]
        primary = self._recipe.declare.primary
        tasks = dict.fromkeys([primary, *(r.task for one in self._progress.values() for r in one.results)])
        return Ablation(
            name=self._name,
            columns=found.columns(self._metrics),
            tasks=tuple(tasks) if any(arm.probe for arm in arms) else (),
            task_unit=found.unit_of(arms),
            chance={task: value for task, value in self._run.chance.items() if isfinite(value)} if self._run else {},
            arms=(*arms, *found.controls_of(self._controls)),
            declared=declared(self._out),
            contrasts=found.contrasts_of(found.compared(self._recipe, self._progress.values())),
            correlations=found.correlations_of(arms, primary),
            frontiers=found.frontiers_of(arms),
            saturation=found.saturation_of(list(self._progress.values()), self._metrics),
            overlap=self._overlap,
            adds=tuple(self._adds),
            gallery=self._gallery,
            trained_elsewhere=self._recipe.probe is not None and self._recipe.probe.kind == "external",
            notes=self._told(),
            controls=tuple(Control(name=one.name, holds=one.holds, says=one.says) for one in self.checks),
            recipe=self._text,
            provenance=self._provenance(),
            made_by=found.made_by(),
        )

    def _students(self) -> list[Trained]:
        """Return all students that are told of, controls last."""
        return [*(one for arm in self._progress.values() for one in arm.trained), *self._controls]

    def _told(self) -> tuple[str, ...]:
        """Return what a reader must know before all else."""
        drawn = any(seen.facts for seen in self._gallery)
        images = found.images_of(self._progress.values())
        return (*((NOTICE,) if drawn else ()), *images, *self._pictures(), *self._notes)

    def _pictures(self) -> Iterator[str]:
        """Yield how many pictures the students saw."""
        if self._run is not None and self._run.pictures:
            left = f"; {self._run.num_left_out:,} are left out" if self._run.num_left_out else ""
            yield f"Students see the {self._run.pictures:,} pictures that every arm has captions of{left}."

    def _provenance(self) -> dict[str, str]:
        return {
            f"captions: {layer.name}": f"{layer.draws} draws, fingerprint {layer.fingerprint[:16]}"
            for batch in self.batches
            for layer in RunDir(batch.folder(self._out)).layers()
        }

    def finish(self) -> None:
        """Write what there is, though it be less than an earlier start found."""
        self._before = False
        self.write()

    def write(self) -> None:
        """Write `ablation.json`, and the page of it; a page with results stays until students are read again."""
        if self._before and self._run is None:
            return
        made = self.ablation()
        if (self._out / folder.PROBE).is_dir():
            used = "".join(one.lines() for one in self._students())
            folder.write(self._out / folder.PROBE / USED, used)
        folder.write(self._out / folder.TABLE, made.as_json())
        folder.write(self._out / folder.PAGE, render_ablation(made))


def _words(table: MeasureTable) -> str:
    """Return the first numbers of a row in a line."""
    row = table.rows[0]
    told = [(one.name, row.cells[one.name].interval) for one in table.metrics]
    return ", ".join(f"{name} {one.value:.2f}" for name, one in told if one is not None)
