"""An ablation as Markdown: what was found first, then the tables, then how it was made."""

import re
from collections.abc import Sequence

from captioners.report.ablation import Ablation
from captioners.report.ablation_methods import CITATION, methods, sources
from captioners.report.ablation_table import Shown, difference, table
from captioners.report.ablation_words import answers, finding, foretold, p_value, summary


def markdown(found: Ablation, drawings: Sequence[tuple[str, str]] = ()) -> str:
    """Return the text of `ablation.md`, with GitHub's tables; drawings are (title, file beside it)."""
    parts = [f"# {_plain(found.title or found.name)}", _plain(summary(found))]
    parts += ["\n".join(f"- {_plain(answer)}" for answer in answers(found))] if answers(found) else []
    parts += [f"> {_plain(note)}" for note in found.notes]
    parts += ["\n".join(f"- {_plain(one.words)}" for one in found.controls)] if found.controls else []
    if found.declared is not None and found.declared.changes:
        changed = "; ".join(f"{one.what}: {one.before} → {one.after}" for one in found.declared.changes)
        parts.append(f"> **Changed after the first probe had begun:** {_plain(changed)}")
    parts += ["## Arms", _arms(found)]
    if found.contrasts:
        parts += ["## Contrasts", _contrasts(found)]
    for outcome, rows in foretold(found):
        cells = [tuple(map(_plain, (row.metric, row.rho, str(row.arms), row.verdict))) for row in rows]
        parts += [f"## What foretold {_plain(outcome)}", grid(("metric", "ρ", "arms", "finding"), cells)]
    parts += ["## Figures"] if drawings else []
    parts += [f"![{_plain(title)}]({file})" for title, file in drawings]
    parts += ["## Methods", _plain(re.sub(CITATION, r" [\1]", methods(found)))]
    parts += ["## References", "\n".join(f"- \\[{key}\\] {_plain(text)}" for key, text in sources(found))]
    return "\n\n".join(parts) + "\n"


def _arms(found: Ablation) -> str:
    made = table(found, every=False)
    heads = [
        "",
        "arm",
        *(f"{head.name}{f', {head.unit}' if head.unit else ''} {head.arrow}".strip() for head in made.heads),
    ]
    rows = []
    for row in made.rows:
        name = _plain(row.arm.name) + (" (control)" if row.arm.sanity else "")
        if row.arm.status != "done":
            said = _plain(f"failed: {row.arm.reason}") if row.arm.status == "failed" else "still to come"
            rows.append([str(row.number), name, said, *([""] * (len(made.heads) - 1))])
        else:
            rows.append([str(row.number), name, *map(_cell, row.cells)])
    notes = "".join(f"\n\n<sup>{note.letter}</sup> {_plain(note.why)}" for note in made.footnotes)
    return f"{grid(heads, rows)}\n\nIn brackets: 95 % intervals over images; ±: standard deviation over seeds.{notes}"


def _contrasts(found: Ablation) -> str:
    heads = ("contrast", "task", "λ", "difference", "seeds", "p", "p, Holm", "finding")
    rows = [
        (
            f"{one.arm} − {one.against}",
            one.task,
            one.distillation,
            difference(one, found.task_unit),
            str(one.seeds),
            p_value(one.p),
            p_value(one.p_holm),
            finding(one) + ("" if one.primary else " (secondary)"),
        )
        for one in found.contrasts
    ]
    return grid(heads, [tuple(map(_plain, row)) for row in rows])


def _cell(cell: Shown) -> str:
    note = f"<sup>{cell.note}</sup>" if cell.note else ""
    return " ".join(filter(None, (cell.text + note, _plain(cell.ends), cell.spread)))


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of cells that are Markdown already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Return a text that Markdown reads as it stands."""
    kept = "".join(f"\\{letter}" if letter in "\\`*_[]<>|#~" else letter for letter in text)
    return " ".join(kept.split())
