"""What `captioners bench train` found, as values, and as the table people read."""

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-3
"""fp32, relative; the tests hold both sides to 1e-9 in fp64."""


@dataclass
class CaseResult:
    """One case: every round's seconds, peak memory, and how both sides agree."""

    name: str
    what: str
    captions: int
    """In a batch."""
    goal: float | None
    rounds: list[tuple[float, float]] = field(default_factory=list)
    """(open_clip, ours), in the order taken."""
    peak: dict[str, int | None] = field(default_factory=dict)
    """Bytes by side."""
    loss: float = 0.0
    """Relative difference of the losses."""
    gradient: float | None = None
    """Largest difference of a gradient, relative to its tensor's largest; None: not comparable."""

    @property
    def agrees(self) -> bool:
        """Whether both sides computed the same."""
        return self.loss <= LOSS_TOLERANCE and (self.gradient is None or self.gradient <= GRADIENT_TOLERANCE)

    @property
    def ratio(self) -> float:
        """How many times faster ours is, the median over rounds."""
        return statistics.median(theirs / ours for theirs, ours in self.rounds)

    @property
    def memory(self) -> float | None:
        """Our peak memory over open_clip's."""
        theirs, ours = self.peak.get("open_clip"), self.peak.get("ours")
        return ours / theirs if theirs and ours else None


@dataclass
class Report:
    """A whole run."""

    environment: dict[str, Any]
    cases: list[CaseResult] = field(default_factory=list)


def agreement_line(case: CaseResult) -> str:
    """Return the line that tells how both sides agree."""
    gradients = (
        "gradients not compared (several captions an image: another contrastive loss)"
        if case.gradient is None
        else f"gradients within {case.gradient:.1e} of each tensor's largest"
    )
    return f"{case.name}: {case.what}; losses within {case.loss:.1e}, {gradients}"


def round_line(case: CaseResult) -> str:
    """Return the line that tells of the last round."""
    theirs, ours = case.rounds[-1]
    each = 1e3 / case.captions
    return (
        f"{case.name}, round {len(case.rounds)}: open_clip {theirs:.2f} s, ours {ours:.2f} s "
        f"({theirs * each:.0f} and {ours * each:.0f} ms a caption): {theirs / ours:.2f}x"
    )


def text(report: Report) -> str:
    """Return the report as Markdown that is also readable on a terminal."""
    rows = [["case", "open_clip s", "ours s", "times faster", "goal", "peak memory GB", "ours of it"]]
    for case in report.cases:
        if not case.rounds:
            continue
        theirs, ours = (statistics.median(pair[side] for pair in case.rounds) for side in (0, 1))
        peaks = " / ".join("-" if size is None else f"{size / 1e9:.2f}" for size in case.peak.values())
        memory = "-" if case.memory is None else f"{case.memory:.2f}"
        goal = "-" if case.goal is None else f"{case.goal:.1f}x"
        rows.append([case.name, f"{theirs:.2f}", f"{ours:.2f}", f"{case.ratio:.2f}x", goal, peaks or "-", memory])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines = ["# Training: captioners and open_clip's model and loss in one run", ""]
    lines += [table[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *table[1:], ""]
    lines += ["Times faster is the median of the rounds' ratios; the optimizer is the same on both sides.", ""]
    lines += [agreement_line(case) for case in report.cases]
    lines += ["", "Every round, seconds in the order taken (open_clip, ours):"]
    lines += [
        f"- {case.name}, round {number}: {theirs:.2f}, {ours:.2f}: {theirs / ours:.2f}x"
        for case in report.cases
        for number, (theirs, ours) in enumerate(case.rounds, 1)
    ]
    lines += ["", "Environment: " + ", ".join(f"{name} {value}" for name, value in report.environment.items())]
    return "\n".join(lines) + "\n"


def write(report: Report, folder: Path) -> None:
    """Write `bench.json` and `bench.md`, replacing those of an earlier case."""
    whole = asdict(report)
    for case, found in zip(whole["cases"], report.cases, strict=True):
        case["ratio"], case["memory"] = found.ratio if found.rounds else None, found.memory
    (folder / "bench.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    (folder / "bench.md").write_text(text(report), encoding="utf-8")
