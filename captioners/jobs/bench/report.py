"""What `captioners bench decode` found, as values, and as the table people read."""

import json
import os
import platform
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from captioners import __version__
from captioners.models.cost import Machine

QUIET = 0.5
"""A load average above this before the run means that others were using the machine."""
TOLERANCE = 1e-4
"""Largest difference of logits between the step by step decoder and the full forward pass, fp32 (design promise 4)."""

_CLOSES = (
    "What would close the rest: one compiled decoding step that fuses layer norm, product, bias and GELU, with its own "
    "attention for one query a row, and weights packed once for few rows."
)


@dataclass
class Round:
    """Seconds of one round, in the order they were taken; None where a side was not asked."""

    peer: float | None
    exact: float
    exact_encode: float
    plain: float | None

    @property
    def ratio(self) -> float | None:
        """How many times faster ours is in this round."""
        return None if self.peer is None else self.peer / self.exact


@dataclass
class CaseResult:
    """One case: what was done, how the peer's seconds came about, every round, and the floor."""

    name: str
    what: str
    how: str
    floor: float
    floor_encode: float
    rounds: list[Round] = field(default_factory=list)

    def median(self, name: str) -> float | None:
        """Return the median over rounds of a field or property of `Round`, None if a side was not asked."""
        values = [getattr(one, name) for one in self.rounds]
        return None if None in values else statistics.median(values)


@dataclass
class Agreement:
    """How both sides' outputs compare."""

    logits: float
    """Largest absolute difference of teacher-forced logits."""
    greedy: int
    """Images whose greedy ids are equal, of `images`, over `tokens` tokens."""
    images: int
    tokens: int

    @property
    def good(self) -> bool:
        """Whether both sides are the same model."""
        return self.logits <= TOLERANCE and self.greedy == self.images


@dataclass
class Report:
    """A whole run."""

    size: str
    environment: dict[str, Any]
    machine: Machine
    agreement: Agreement | None = None
    cases: list[CaseResult] = field(default_factory=list)


def integrate(costs: Mapping[int, float], steps: int) -> float:
    """Return the seconds of steps 1 to `steps`, between and beyond the measured ones along straight lines.

    Args:
        costs: prefix length -> seconds of that step; two or more of them.

    >>> integrate({1: 1.0, 3: 3.0}, 4)  # 1 + 2 + 3 + 4
    10.0
    """
    points = sorted(costs.items())
    total = 0.0
    for step in range(1, steps + 1):
        right = next((i for i in range(1, len(points)) if points[i][0] >= step), len(points) - 1)
        (x0, y0), (x1, y1) = points[right - 1], points[right]
        total += y0 + (y1 - y0) * (step - x0) / (x1 - x0)
    return total


def environment(threads: int) -> dict[str, Any]:
    """Return what the seconds depend on."""
    return {
        "date": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "cpu": _cpu(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": threads,
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "captioners": __version__,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        named = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        return f"{named['model name']} (family {named['cpu family']}, model {named['model']})"
    except (OSError, KeyError):
        return platform.processor() or platform.machine()


def measure_machine() -> Machine:
    """Measure large fp32 products and reading memory, best of several."""
    square, bytes_read = 2048, 1 << 29
    a, b = torch.rand(2, square, square, generator=torch.Generator().manual_seed(0))
    products = [_seconds(lambda: a @ b) for _ in range(12)]
    table = torch.ones(bytes_read // 4 // 8192, 8192)
    vector = torch.ones(8192)
    reads = [_seconds(table.sum) for _ in range(5)] + [_seconds(lambda: table @ vector) for _ in range(5)]
    return Machine(2 * square**3 / min(products) / 1e9, bytes_read / min(reads) / 1e9)


def _seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def text(report: Report) -> str:
    """Return the report as Markdown that is also readable on a terminal."""
    machine, env = report.machine, report.environment
    lines = [f"# Decoding, {report.size}: captioners and open_clip's generate in one run", ""]
    if env["load_before"] > QUIET:
        lines += [
            f"WARNING: the load average was {env['load_before']} before the run; ratios hold, seconds do not.",
            "",
        ]
    peer = env.get("peer")
    if peer and peer["torch"] != env["torch"]:
        lines += [f"WARNING: ours runs torch {env['torch']}, the peer {peer['torch']}; see 'make peer'.", ""]
    lines += [*_table(report.cases), ""]
    lines += ["Times faster is the median of the rounds' ratios. How the peer's seconds came about:"]
    lines += [f"- {case.name}: {case.what}; open_clip {case.how}" for case in report.cases]
    lines += [
        "",
        "Every round, seconds in the order taken (open_clip, ours, ours with exact mode off; ours' image tower):",
    ]
    lines += [
        f"- {case.name}, round {n}: {_round(one)}" for case in report.cases for n, one in enumerate(case.rounds, 1)
    ]
    lines += ["", f"Agreement: {_agreement(report.agreement)}", ""]
    lines += [
        f"Floor: {machine.gflops:.0f} GF/s (sgemm 2048^3) and {machine.gbytes:.1f} GB/s read, best of this run, "
        "applied to the operations and bytes that the architecture needs.",
        _CLOSES,
        "",
        "Environment: " + ", ".join(f"{name} {value}" for name, value in env.items() if name != "peer"),
        "Peer: " + ", ".join(f"{name} {value}" for name, value in (peer or {"none": "asked"}).items()),
    ]
    return "\n".join(lines) + "\n"


def _table(cases: list[CaseResult]) -> list[str]:
    rows = [
        [
            "case",
            "open_clip s",
            "ours s",
            "times faster",
            "exact off s",
            "exact costs",
            "floor s",
            "of floor",
            "tower",
            "decode",
        ]
    ]
    for case in cases:
        ours, plain = case.median("exact") or 0.0, case.median("plain")
        tower = case.median("exact_encode") or 0.0
        peer = _number(case.median("peer"))
        rows.append(
            [
                case.name,
                f"~{peer}" if case.how != "measured" and peer != "-" else peer,
                _number(ours),
                _number(case.median("ratio"), "x"),
                _number(plain),
                "-" if plain is None else f"{100 * (ours / plain - 1):+.0f} %",
                _number(case.floor),
                f"{100 * case.floor / ours:.0f} %",
                f"{100 * case.floor_encode / tower:.0f} %",
                f"{100 * (case.floor - case.floor_encode) / (ours - tower):.0f} %",
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [padded[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *padded[1:]]


def _number(value: float | None, unit: str = "") -> str:
    if value is None:
        return "-"
    return (f"{value:.3g}" if value < 100 else f"{value:.0f}") + unit


def _round(one: Round) -> str:
    ratio = "" if one.ratio is None else f": {one.ratio:.2f}x"
    return f"{_number(one.peer)}, {_number(one.exact)}, {_number(one.plain)}; {_number(one.exact_encode)}{ratio}"


def _agreement(found: Agreement | None) -> str:
    if found is None:
        return "not examined; there was no peer"
    said = "the same model" if found.good else "NOT THE SAME MODEL"
    return (
        f"{said}: teacher-forced logits differ by at most {found.logits:.1e} (allowed {TOLERANCE:.0e}), "
        f"greedy ids equal for {found.greedy} of {found.images} images over {found.tokens} tokens"
    )


def round_line(case: CaseResult) -> str:
    """Return the line that tells of the last round."""
    return f"{case.name}, round {len(case.rounds)}: {_round(case.rounds[-1])}"


def write(report: Report, folder: Path) -> None:
    """Write `bench.json` and `bench.md`, replacing those of an earlier case."""
    whole = asdict(report)
    for case, found in zip(whole["cases"], report.cases, strict=True):
        case["median"] = {name: found.median(name) for name in ("peer", "exact", "exact_encode", "plain", "ratio")}
        case["of_floor"] = found.floor / (found.median("exact") or 1.0)
    (folder / "bench.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    (folder / "bench.md").write_text(text(report), encoding="utf-8")
