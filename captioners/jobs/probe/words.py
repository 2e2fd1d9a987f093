"""What a probe found, for a terminal: a table of the arms, the declared contrasts, and the checks."""

from collections.abc import Sequence
from math import isnan
from statistics import fmean, stdev

from captioners.jobs.probe.job import ProbeRun
from captioners.jobs.recipes.probe import ProbeRecipe
from captioners.metrics.contrasts import FEWEST, LEVEL, Contrast, Result

_SHOWN = 6
"""Tasks that are columns; results.jsonl has all."""


def lines(run: ProbeRun, recipe: ProbeRecipe) -> list[str]:
    """Return what there is to say, line by line."""
    if not run.results:
        return []
    return [
        *_table(run.results, recipe),
        *(words_of(one) for one in run.contrasts if one.primary),
        *_too_few(run.contrasts),
        *(f"{'holds' if check.holds else 'FAILS'}: {check.name} ({check.says})" for check in run.checks),
        *(f"left out: {reason}" for reason in run.left_out[:3]),
        *(f"failed: {arm}: {why}" for arm, why in run.failed.items()),
    ]


def words_of(one: Contrast) -> str:
    """Return a contrast in a line: the difference, its interval, what may be concluded."""
    if not one.seeds:
        return f"{one.arm} against {one.against}, distillation {one.distillation:g}: no seed has both"
    interval = "" if isnan(one.low) else f" [{one.low:+.3f}, {one.high:+.3f}]"
    tests = ""
    if one.p_holm is not None and one.p_same is not None:
        tests = f", p {one.p_holm:.3f} after Holm, p of a difference beyond {one.margin:g} {one.p_same:.3f}"
    seeds = f"{len(one.seeds)} seed{'' if len(one.seeds) == 1 else 's'}"
    pair = f"{one.arm} against {one.against}, distillation {one.distillation:g}"
    return f"{pair}: {one.task} {one.difference:+.3f}{interval}, {seeds}{tests}: {one.verdict}"


def _table(results: Sequence[Result], recipe: ProbeRecipe) -> list[str]:
    tasks = list(dict.fromkeys((recipe.declare.primary, *(one.task for one in results))))[:_SHOWN]
    values: dict[tuple[str, float, str], list[float]] = {}
    for one in results:
        values.setdefault((one.arm, one.distillation, one.task), []).append(one.value)
    rows = [["arm", "distillation", "seeds", *tasks]]
    for arm in recipe.arms:
        for weight in recipe.distillation_weights:
            found = [values.get((arm, weight, task), []) for task in tasks]
            if any(found):
                rows.append([arm, f"{weight:g}", str(len(found[0])), *map(_cell, found)])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{fmean(values):.3f}" + (f" ±{stdev(values):.3f}" if len(values) > 1 else "")


def _too_few(contrasts: Sequence[Contrast]) -> list[str]:
    """Say where no result could have been significant.

    Tests are counted as Holm's correction counts them: each declared contrast at each weight of distillation, one
    that has no seed yet among them. Contrasts that share an arm count like any others: it holds under any dependence.
    """
    primary = [one for one in contrasts if one.primary]
    if any(0 < len(one.seeds) < FEWEST for one in primary):
        return [f"under {FEWEST} seeds there are intervals and no p-values"]
    tested = [(one.p_least, len(one.seeds)) for one in primary if one.p_least is not None]
    least, seeds = max(tested, default=(0.0, 0))
    if least > LEVEL:
        return [
            f"p-values are corrected for {len(primary)} tests (contrasts x weights of distillation), and of {seeds} "
            f"seeds none can be below {least:.2f}; declare fewer contrasts, or add seeds"
        ]
    return []
