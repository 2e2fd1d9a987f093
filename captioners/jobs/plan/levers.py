"""What would make captions cheaper, each with its effect on this very job: the same plan, changed in one thing."""

from collections.abc import Iterator

from captioners.decoding.values import Sample
from captioners.jobs.plan.captioning import Work
from captioners.jobs.plan.pace import Change, encodes_of, matched
from captioners.jobs.plan.rows import Row

_HOUR = 3600.0
_FEW_TOKENS = 20
"""Where captions end if nothing is known of their length."""


def lever_rows(work: Work) -> Iterator[Row]:
    """Yield each lever that this job has, as the machine hours that would be left of it."""
    recipe = work.recipe
    fewer = {m.called: max(1, m.draws // 2) for m in recipe.members if isinstance(m.decoding, Sample) and m.draws > 1}
    if fewer:
        before = sum(member.draws for member in recipe.members)
        after = sum(fewer.get(member.called, member.draws) for member in recipe.members)
        yield _row(work, f"fewer draws: {after} for {before}", Change(draws=fewer))
    cap = _cap(work)
    yield _row(work, f"fewer tokens: at most {cap}", Change(cap=cap))
    encodes = encodes_of(work.calibration, recipe)
    captioners = len(recipe.groups)
    if captioners > 1:
        if sum(len(together) for together in encodes) > 1:
            why = "one frozen tower, all loaded together"
            yield _row(work, "shared tower", Change(share=True), why)
        else:
            yield _same(work, "shared tower", "all captioners share one image encode already")
    yield from _precision(work)


def _row(work: Work, what: str, change: Change, why: str = "") -> Row:
    before, after = work.seconds(), work.seconds(change)
    saved = 1 - sum(after) / sum(before) if sum(before) else 0.0
    how = f"{-saved:+.0%}{f'; {why}' if why else ''}"
    return Row(what, after[0] / _HOUR, after[1] / _HOUR, "h", how, "modelled")


def _same(work: Work, what: str, why: str) -> Row:
    """Return a lever that changes nothing."""
    low, high = work.seconds()
    return Row(what, low / _HOUR, high / _HOUR, "h", f"+0%: {why}")


def _cap(work: Work) -> int:
    """Return the median length of the captions that were measured, or half of it where none is longer."""
    if work.calibration is None:
        return _FEW_TOKENS
    lengths: list[int] = []
    for number in matched(work.calibration, work.recipe):
        for layer in work.calibration.voices[number].layers:
            lengths += [length for length, count in layer.lengths.items() for _ in range(count)]
    if not lengths:
        return _FEW_TOKENS
    median = sorted(lengths)[len(lengths) // 2]
    return max(1, median if median < max(lengths) else median // 2)


def _precision(work: Work) -> Iterator[Row]:
    """Say what bf16 would do: known only of times modelled from peaks, for a measurement has its own precision."""
    if work.workers.measured:
        dtype = work.calibration.environment.get("dtype", "") if work.calibration else ""
        if dtype == "bfloat16":
            yield _same(work, "bf16", "as it was measured already")
        else:
            yield Row("bf16", 0, float("inf"), "", "not known: measure with members.0.precision=bf16", "assumed")
    elif any(member.precision == "fp32" for member in work.recipe.members):
        yield _row(work, "bf16", Change(precision="bf16"), "at the peak of bf16")
    else:
        yield _same(work, "bf16", "planned so already")
