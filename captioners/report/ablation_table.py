"""The table of an ablation as text, the same for the page, LaTeX, Markdown: numbers, intervals, footnotes of holes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from captioners.report.ablation import Ablation, Arm, Better, Cell, Contrast, Group

DASH = "–"
MINUS = "−"
_ORDER: tuple[Group, ...] = ("truth", "length", "within an image", "across captioners", "quality", "across the set")
"""Of columns: what is true and how long it is stand before diversity, which means nothing without them."""
MARKS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One cell as text."""

    text: str
    """The number, or a dash."""
    ends: str = ""
    """"[96.1, 98.0]"; empty without an interval."""
    spread: str = ""
    """"± 0.3": the standard deviation over seeds."""
    value: float | None = None
    """What it is sorted by."""
    note: str = ""
    """Letters of its footnotes."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """A column's head."""

    name: str
    unit: str = ""
    """"%", "words" ...; of the numbers as they are printed."""
    better: Better = "neither"
    group: str = ""
    more: bool = False
    """Not one of the few: shown when all are asked for."""

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return {"higher": "↑", "lower": "↓", "neither": ""}[self.better]


@dataclass(frozen=True, kw_only=True)
class Row:
    """An arm."""

    number: int
    """What it is called in drawings."""
    arm: Arm
    about: str
    """Its members in words."""
    cells: Sequence[Shown]


@dataclass(frozen=True, kw_only=True)
class Table:
    """The whole."""

    heads: Sequence[Head]
    rows: Sequence[Row]
    footnotes: Sequence["Footnote"]


@dataclass(frozen=True, kw_only=True)
class Footnote:
    """Why cells are empty, or what is to be known of them."""

    letter: str
    why: str
    more: bool
    """Only cells of columns that are not among the few refer to it."""


def table(found: Ablation, *, every: bool = True) -> Table:
    """Return the table; with `every` all metrics, else the few.

    Columns: captions an image, the probe's primary task at each distillation weight, then the metrics. One that no arm
    has a number of is none of the few.
    """
    few = {column.name for column in found.columns if column.default and _is_measured(found, column.name)}
    columns = sorted(
        (column for column in found.columns if every or column.name in few),
        key=lambda column: _ORDER.index(column.group),
    )
    weights = distillations(found)
    task = primary_task(found)
    unit = "%" if found.task_unit == "share" else found.task_unit
    heads = [Head(name="m", better="neither", group="length")]
    heads += [Head(name=f"{task}, λ {weight}", unit=unit, better="higher", group="probe") for weight in weights]
    heads += [
        Head(
            name=column.name,
            unit="%" if column.unit == "share" else column.unit,
            better=column.better,
            group=column.group,
            more=column.name not in few,
        )
        for column in columns
    ]
    letters: dict[str, str] = {}
    # Those that are shown first, so that their letters follow each other.
    for arm in found.arms:
        for column in columns:
            if column.name in few:
                shown_cell(arm.cells.get(column.name), column.unit, letters)
    rows = []
    for number, arm in enumerate(found.arms, 1):
        cells = [Shown(text=DASH if arm.m is None else str(arm.m), value=arm.m)]
        cells += [shown_seeds(arm.probe.get(weight, {}).get(task, {}), found.task_unit) for weight in weights]
        cells += [shown_cell(arm.cells.get(column.name), column.unit, letters) for column in columns]
        rows.append(Row(number=number, arm=arm, about=about(arm), cells=cells))
    return Table(heads=heads, rows=rows, footnotes=_footnotes(letters, heads, rows))


def _footnotes(letters: Mapping[str, str], heads: Sequence[Head], rows: Sequence[Row]) -> list[Footnote]:
    few = {cell.note for row in rows for head, cell in zip(heads, row.cells, strict=True) if not head.more}
    return [Footnote(letter=letter, why=why, more=letter not in few) for why, letter in letters.items()]


def unmeasured(found: Ablation) -> list[str]:
    """Return what is not measured of any arm, reason by reason: 'CLIPScore, RefCLIPScore: needs --clip NAME'."""
    reasons: dict[str, list[str]] = {}
    for column in found.columns:
        cells = [arm.cells[column.name] for arm in found.arms if column.name in arm.cells]
        if cells and not _is_measured(found, column.name):
            reasons.setdefault(cells[0].why, []).append(column.name)
    return [f"{', '.join(names)}: {why}" for why, names in reasons.items()]


def _is_measured(found: Ablation, name: str) -> bool:
    return any(name in arm.cells and arm.cells[name].value is not None for arm in found.arms)


def primary_task(found: Ablation) -> str:
    """Return the declared task, else the probe's first, else nothing."""
    if found.declared is not None:
        return found.declared.task
    return found.tasks[0] if found.tasks else ""


def distillations(found: Ablation) -> list[str]:
    """Return the distillation weights that any arm was probed at, as texts, in the order of their numbers."""
    weights = {weight for arm in found.arms for weight in arm.probe}
    return sorted(weights, key=lambda weight: (_number(weight), weight))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def about(arm: Arm) -> str:
    """Return an arm's members in one line: '5 x short (top-p 0.9) + 1 x detailed (beam 5)'."""
    return " + ".join(f"{member.draws} × {member.captioner} ({member.decoding})" for member in arm.members)


def shown_cell(cell: Cell | None, unit: str, letters: dict[str, str]) -> Shown:
    """Return a number with its interval, or a dash; `letters` gathers why -> letter of the footnotes."""
    if cell is None:
        return Shown(text=DASH)
    note = letters.setdefault(cell.why, _letter(len(letters))) if cell.why else ""
    if cell.value is None:
        return Shown(text=DASH, note=note)
    ends = "" if cell.low is None or cell.high is None else f"[{number(cell.low, unit)}, {number(cell.high, unit)}]"
    return Shown(text=number(cell.value, unit), ends=ends, value=cell.value, note=note)


def shown_seeds(values: Mapping[str, float], unit: str) -> Shown:
    """Return the mean over seeds and, of two or more, their standard deviation (of a sample)."""
    if not values:
        return Shown(text=DASH)
    mean, spread = mean_and_deviation(list(values.values()))
    said = "" if spread is None else f"± {number(spread, unit)}"
    return Shown(text=number(mean, unit), spread=said, value=mean)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean and the standard deviation of a sample, which one value has not."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def number(value: float, unit: str, *, signed: bool = False) -> str:
    """Return a number as it is printed: shares in percent with one digit, others with three figures or so.

    >>> number(0.9719, "share"), number(7.4, "words"), number(-0.004, "share", signed=True), number(1234.5, "words")
    ('97.2', '7.40', '−0.4', '1,234')
    """
    if unit == "share":
        value, digits = 100 * value, 1
    else:
        digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:{'+' if signed else ''},.{digits}f}"
    if not float(text.replace(",", "")):  # no "-0.0"
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def images(counts: Iterable[int | None]) -> str:
    """Return how many images something rests on; nothing where that is not known.

    >>> images([5000, 5000]), images([2000, 1998]), images([None]), images([0])
    ('5,000', '1,998 to 2,000', '', '')
    """
    known = {count for count in counts if count}
    return " to ".join(f"{count:,}" for count in dict.fromkeys((min(known), max(known)))) if known else ""


def on_images(title: str, counts: Iterable[int | None]) -> str:
    """Return a title with how many images it rests on, where that is known.

    >>> on_images("equal captions", [1]), on_images("equal captions", [2]), on_images("equal captions", [])
    ('equal captions, on 1 image', 'equal captions, on 2 images', 'equal captions')
    """
    said = images(counts)
    return f"{title}, on {said} image{'' if said == '1' else 's'}" if said else title


def difference(contrast: Contrast, unit: str) -> str:
    """Return '+2.1 [1.0, 3.2]', or a dash before there is a pair."""
    if contrast.difference is None:
        return DASH
    text = number(contrast.difference, unit, signed=True)
    if contrast.low is None or contrast.high is None:
        return text
    return f"{text} [{number(contrast.low, unit, signed=True)}, {number(contrast.high, unit, signed=True)}]"


def _letter(place: int) -> str:
    """Return a, b ... z, aa, ab ...

    >>> _letter(0), _letter(25), _letter(26)
    ('a', 'z', 'aa')
    """
    rest, last = divmod(place, len(MARKS))
    return (_letter(rest - 1) if rest else "") + MARKS[last]
