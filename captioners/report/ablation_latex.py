"""An ablation as LaTeX: booktabs tables for a paper to read in, and a methods paragraph with its citations."""

import re
from collections.abc import Sequence

from captioners.report.ablation import Ablation
from captioners.report.ablation_methods import CITATION, methods
from captioners.report.ablation_table import Head, Row, Shown, difference, table
from captioners.report.ablation_words import finding, p_value

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "λ": r"$\lambda$", "ρ": r"$\rho$", "−": r"$-$", "×": r"$\times$", "±": r"$\pm$", "–": "--",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "→": r"$\rightarrow$", "\u00a0": "~", "“": "``", "”": "''", "'": "'",
    '"': "''",
}  # fmt: skip
"""Letters that LaTeX reads as something else, or that its old fonts lack."""


def escaped(text: str) -> str:
    """Return a text as LaTeX that prints it; line breaks become spaces."""
    # Not `split()`: an unbreakable space is one of those letters.
    return "".join(_SPECIAL.get(letter, letter) for letter in re.sub(r"[ \t\r\n]+", " ", text))


def tables(found: Ablation) -> str:
    """Return both tables as floats; they need the package booktabs, and graphicx to fit a column."""
    return "\n".join([_HEAD, _arms(found), *([_contrasts(found)] if found.contrasts else [])])


def methods_paragraph(found: Ablation) -> str:
    """Return the paragraph, its sources as natbib cites them."""
    pieces = re.split(CITATION, methods(found))
    # Every second piece is a key that stood in brackets.
    made = [f"~\\citep{{{piece}}}" if place % 2 else escaped(piece) for place, piece in enumerate(pieces)]
    return "".join(made) + "\n"


_HEAD = "% Written by captioners; needs \\usepackage{booktabs} and \\usepackage{graphicx}."


def _arms(found: Ablation) -> str:
    made = table(found, every=False)
    columns = "rl" + "r" * len(made.heads)
    heads = ["", "arm", *map(_head, made.heads)]
    lines = [line for row in made.rows for line in _row(row, len(made.heads))]
    notes = "".join(f" \\textsuperscript{{{note.letter}}}~{escaped(note.why)}." for note in made.footnotes)
    caption = (
        f"{escaped(found.title or found.name)} In brackets: 95\\,\\% intervals over images; $\\pm$: standard deviation "
        f"over seeds.{notes}"
    )
    return _float(caption, "tab:arms", columns, heads, lines, wide=True)


def _head(head: Head) -> str:
    unit = f", {head.unit}" if head.unit else ""
    return escaped(f"{head.name}{unit}{' ' + head.arrow if head.arrow else ''}")


def _row(row: Row, width: int) -> list[str]:
    name = escaped(row.arm.name) + (r" \emph{(control)}" if row.arm.sanity else "")
    if row.arm.status != "done":
        said = escaped(row.arm.reason) if row.arm.status == "failed" else "still to come"
        said = rf"\emph{{{'failed: ' if row.arm.status == 'failed' else ''}{said}}}"
        return [f"{row.number} & {name} & \\multicolumn{{{width}}}{{l}}{{{said}}} \\\\"]
    values = " & ".join(map(_value, row.cells))
    under = " & ".join(_small(cell.ends or cell.spread) for cell in row.cells)
    return [f"{row.number} & {name} & {values} \\\\", f" & {_small(row.about)} & {under} \\\\"]


def _small(text: str) -> str:
    return rf"{{\scriptsize {escaped(text)}}}" if text else ""


def _value(cell: Shown) -> str:
    return escaped(cell.text) + (f"\\textsuperscript{{{cell.note}}}" if cell.note else "")


def _contrasts(found: Ablation) -> str:
    heads = ["contrast", "task", r"$\lambda$", "difference", "seeds", "$p$", "$p$, Holm", "finding"]
    lines = []
    for one in found.contrasts:
        if one.primary:
            values = (
                f"{one.arm} − {one.against}", one.task, one.distillation, difference(one, found.task_unit),
                str(one.seeds), p_value(one.p), p_value(one.p_holm), finding(one),
            )  # fmt: skip
            line = " & ".join(map(escaped, values)) + r" \\"
            lines.append(f"{{}}{line}" if line.startswith("[") else line)  # or it were the length of the line break
    caption = "Contrasts of the declared endpoint: differences of paired seeds with 95\\,\\% intervals"
    caption += ", in points." if found.task_unit == "share" else "."
    return _float(caption, "tab:contrasts", "lllrrrrl", heads, lines, wide=True) if lines else ""


def _float(caption: str, label: str, columns: str, heads: Sequence[str], lines: Sequence[str], *, wide: bool) -> str:
    star = "*" if wide else ""
    return "\n".join(
        [
            rf"\begin{{table{star}}}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\label{{{label}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            rf"\end{{table{star}}}",
            "",
        ]
    )
