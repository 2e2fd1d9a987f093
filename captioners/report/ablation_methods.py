"""How an ablation was made, as a paragraph for a paper, and the sources that it rests on, as BibTeX.

Only what this ablation did is said, and only what it used is cited.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from captioners.report.ablation import Ablation
from captioners.report.ablation_table import distillations, number

CITATION = r" \[@([^\]]*)\]"
"""How `methods` cites: ' [@key]'."""


_OF_METRICS: tuple[tuple[str, str], ...] = (
    ("Div-", "shetty2017speaking"), ("mBLEU", "shetty2017speaking"), ("corpus mBLEU", "shetty2017speaking"),
    ("distinct-", "li2016diversity"), ("unique captions", "deshpande2019fast"), ("Self-CIDEr", "wang2019describing"),
    ("LSA", "wang2019describing"), ("embedding distance", "tevet2021evaluating"),
    ("relative embedding distance", "tevet2021evaluating"), ("Vendi", "friedman2023vendi"),
    ("novel", "miltenburg2018measuring"), ("compression ratio", "shaib2024standardizing"),
    ("CLIPScore", "hessel2021clipscore"), ("RefCLIPScore", "hessel2021clipscore"), ("CIDEr-D", "vedantam2015cider"),
    ("BLEU-", "papineni2002bleu"), ("ROUGE-L", "lin2004rouge"), ("claims true", "xie2019going"),
    ("captions wholly true", "xie2019going"), ("captions unparseable", "xie2019going"), ("facts told", "xie2019going"),
)  # fmt: skip
"""How a metric's name begins -> its source."""


def methods(found: Ablation) -> str:
    """Return the paragraph; sources stand in it as [@key]."""
    every = [arm for arm in found.arms if not arm.sanity]
    arms = [arm for arm in every if arm.members]
    captioners = sorted({member.captioner for arm in arms for member in arm.members})
    counts = sorted({arm.m for arm in arms if arm.m})
    plain = len(every) - len(arms)
    truth = f", and {plain} of the pictures' own captions alone," if plain else ""
    several = "" if len(captioners) == 1 else "s"
    drawn = (
        f"We compare {len(arms)} arms of synthetic captions{truth} for multi-modal reinforced training "
        f"[@faghri2025mobileclip2], drawn from {len(captioners)} captioner{several} [@yu2022coca] with "
        f"{_listed(counts)} captions an image; captions are drawn once at the largest count, and smaller counts are "
        "prefixes of the same draws."
    )
    return " ".join([drawn, *_measured(found), *_probed(found), *_missing(found)])


def _measured(found: Ablation) -> list[str]:
    measured = [column.name for column in found.columns if _is_measured(found, column.name)]
    if not measured:
        return []
    named = [f"{name}{_cited(name)}" for name in measured]
    return [
        f"Captions are measured by {_listed(named)}; n-grams are of lower-cased words without punctuation. Diversity "
        "is compared at equal numbers of captions; quality, truth, facts told and length stand at each arm's own "
        "number. Intervals are 95 % bootstrap intervals over "
        "images."
    ]


def _probed(found: Ablation) -> list[str]:
    weights = distillations(found)
    if not weights:
        return []
    probes = [tasks for arm in found.arms for tasks in arm.probe.values()]
    seeds = {seed for tasks in probes for values in tasks.values() for seed in values}
    how = (
        "On each arm's captions another program trained students,"
        if found.trained_elsewhere
        else "On each arm's captions we train a small CLIP student, varying nothing but the table of captions, with "
        "the loss (1 − λ) L_CLIP + λ L_KD of MobileCLIP2, Equations 1 and 2 [@faghri2025mobileclip2],"
    )
    said = [
        f"{how} at λ = {_listed(weights)}, over {len(seeds)} seed{'' if len(seeds) == 1 else 's'} that all arms share."
    ]
    declared = found.declared
    if declared is not None:
        points = " points" if found.task_unit == "share" else ""
        count = len(declared.contrasts)
        said.append(
            f"Declared before the first student began (sha256 {declared.sha256[:12]}): {declared.task} at λ = "
            f"{_listed(declared.distillation.split(', '))}, {count} contrast{'' if count == 1 else 's'}, a margin of "
            f"±{number(declared.margin, found.task_unit)}{points}."
        )
        changes = len(declared.changes)
        said += [f"The declaration was changed {changes} times since."] if changes > 1 else []
        said += ["The declaration was changed once since."] if changes == 1 else []
    if any(one.p is not None for one in found.contrasts):
        said.append(
            "Arms are compared seed by seed: Student's 95 % interval of the paired difference, exact two-sided "
            "sign-flip tests with Holm's correction [@holm1979simple], and two one-sided tests of equivalence at 5 %, "
            "uncorrected [@schuirmann1987comparison], before we say that there is no difference."
        )
    elif found.contrasts:
        said.append("Arms are compared seed by seed by Student's 95 % interval; seeds are too few for a test.")
    return said


def _missing(found: Ablation) -> list[str]:
    failed = [arm.name for arm in found.arms if arm.status == "failed"]
    missing = [arm.name for arm in found.arms if arm.status == "missing"]
    said = [f"Not measured, because they failed: {_listed(failed)}."] if failed else []
    return said + ([f"Still to come: {_listed(missing)}."] if missing else [])


def sources(found: Ablation) -> list[tuple[str, str]]:
    """Return (key, the work in one line) of all that `methods` cites, in the order of the book."""
    used = _keys(found)
    return [(key, _in_one_line(entry)) for key, entry in book().items() if key in used]


def bibtex(found: Ablation) -> str:
    """Return the entries of all that `methods` cites."""
    used = _keys(found)
    return "\n".join(entry for key, entry in book().items() if key in used)


@cache
def book() -> Mapping[str, str]:
    """Return key -> BibTeX entry of every work that may be cited."""
    text = (files("captioners.report") / "templates" / "references.bib").read_text(encoding="utf-8")
    entries = [f"@{entry.strip()}\n" for entry in text.split("\n@") if entry.strip()]
    entries = [entry.replace("@@", "@", 1) for entry in entries]
    return {entry[entry.index("{") + 1 : entry.index(",")]: entry for entry in entries}


def _in_one_line(entry: str) -> str:
    fields = {name: value.strip("{}") for name, value in re.findall(r"(\w+) = (\{.*\})", entry)}
    where = fields.get("booktitle") or fields.get("journal", "")
    arxiv = f" arXiv:{fields['eprint']}" if "eprint" in fields else ""
    return f"{fields['author']}. {fields['title']}. {where}, {fields['year']}.{arxiv}"


def _keys(found: Ablation) -> set[str]:
    return set(re.findall(CITATION, methods(found)))


def _is_measured(found: Ablation, name: str) -> bool:
    return any(name in arm.cells and arm.cells[name].value is not None for arm in found.arms)


def _cited(metric: str) -> str:
    key = next((key for start, key in _OF_METRICS if metric.startswith(start)), "")
    return f" [@{key}]" if key else ""


def _listed(things: Iterable[object]) -> str:
    """Return 'a', 'a and b', 'a, b and c', or 'no'."""
    *first, last = [str(thing) for thing in things] or ["no"]
    return f"{', '.join(first)} and {last}" if first else last
