"""captioners/report/ablation_{csv,latex,markdown,methods,figures}.py: the same numbers everywhere, and sound texts."""

import csv
import io
import re

import pytest

from captioners.report import ablation_latex, ablation_methods
from captioners.report.ablation import Ablation, Arm, Column
from captioners.report.ablation_csv import figures, slug, tables
from captioners.report.ablation_figures import drawn
from captioners.report.ablation_markdown import markdown
from captioners.report.ablation_page import render_ablation
from captioners.report.ablation_table import number
from tests.report.an_ablation import an_ablation

NASTY = " 50% & a_b {c} #1 $x$ ~^\\end{table} <i> |"


def rows(text):
    return list(csv.reader(io.StringIO(text)))


def test_csv_has_every_number_of_the_ablation_unrounded():
    found = an_ablation()
    made = tables(found)
    cells = {(row[0], row[1]): row for row in rows(made["cells.csv"])[1:]}
    for arm in found.arms:
        for name, cell in arm.cells.items():
            row = cells.pop((arm.name, name))
            assert [float(text) if text else None for text in row[2:5]] == [cell.value, cell.low, cell.high]
            assert (int(row[5]), row[6]) == (cell.count, cell.why)
    assert not cells
    results = rows(made["results.csv"])[1:]
    assert len(results) == sum(
        len(values) for arm in found.arms for tasks in arm.probe.values() for values in tasks.values()
    )
    assert rows(made["arms.csv"])[6][1:3] == ["failed", found.arms[5].reason]


def test_latex_reads_no_name_as_a_length_and_prints_quotes_in_every_font():
    found = an_ablation()
    contrasts = tuple(one.model_copy(update={"arm": '[a] "b"'}) for one in found.contrasts)
    said = ablation_latex.tables(found.model_copy(update={"contrasts": contrasts}))
    assert "\n{}[a] ''b''" in said and "\n[a]" not in said and "textquotedbl" not in said


def test_what_a_figure_shows_stands_in_its_csv():
    found = an_ablation()
    by_kind = {figure.kind: figure for figure in figures(found)}
    assert set(by_kind) == {"frontier", "saturation", "probe", "contrasts", "overlap", "added"}
    assert len({figure.name for figure in figures(found)}) == len(figures(found))
    assert [row[1] for row in by_kind["frontier"].rows] == ["short_1", "short_5", "detailed_5", "web_5", "five_x1"]
    assert len(by_kind["contrasts"].rows) == 3
    assert len(rows(by_kind["overlap"].text)) == 26


def test_what_overlap_and_additions_rest_on_stands_beside_them():
    found = an_ablation()
    (overlap,) = (one.model_copy(update={"images": 4999}) for one in found.overlap)
    found = found.model_copy(update={"overlap": (overlap,)})
    by_kind = {figure.kind: figure for figure in figures(found)}
    assert {row[-1] for row in rows(by_kind["overlap"].text)[1:]} == {"4999"}
    assert {row[-1] for row in rows(by_kind["added"].text)[1:]} == {"24"}
    said = ["Jaccard index of bigrams, on 4,999 images", "facts told: what each captioner adds, on 24 images"]
    assert [by_kind[kind].title for kind in ("overlap", "added")] == said
    assert all(f"![{title}]" in markdown(found, [(title, "x")]) for title in said)
    page = render_ablation(found)
    assert f"<caption>{said[0]}</caption>" in page and page.count('<td data-label="Images">24</td>') == len(found.adds)
    earlier = an_ablation()
    assert "<caption>Jaccard index of bigrams</caption>" in render_ablation(earlier), "which did not say how many"


def test_an_ablation_at_its_beginning_has_no_figures_and_does_not_fail():
    bare = Ablation(name="x", arms=(Arm(name="a"),), frontiers=(("d", "t"),))
    assert figures(bare) == []
    assert "still to come" in markdown(bare)
    assert "still to come" in ablation_latex.tables(bare)
    assert "faghri2025mobileclip2" in ablation_methods.bibtex(bare)


@pytest.mark.parametrize("kind", ["frontier", "contrasts", "overlap"])
def test_a_figure_is_the_same_bytes_again_with_letters_inside(kind):
    found = an_ablation()
    figure = next(figure for figure in figures(found) if figure.kind == kind)
    one, again = drawn(figure, found), drawn(figure, found)
    assert one == again
    assert one["pdf"].startswith(b"%PDF")
    assert b"/FontFile2" in one["pdf"]
    assert b"CreationDate" not in one["pdf"]
    assert b"<text" not in one["svg"]  # outlines
    assert b"http" not in re.sub(rb'xmlns(:\w+)?="[^"]+"|<!DOCTYPE[^>]+>|rdf:\w+="[^"]+"', b"", one["svg"])


@pytest.mark.parametrize("kind", ["saturation", "probe", "added"])
def test_every_kind_of_figure_is_drawn(kind):
    found = an_ablation()
    figure = next(figure for figure in figures(found) if figure.kind == kind)
    assert b"</svg>" in drawn(figure, found)["svg"]


@pytest.mark.parametrize("kind", ["frontier", "saturation"])
def test_the_name_of_an_ensemble_of_five_leaves_room_for_the_axes(kind, recwarn):
    found = an_ablation()
    figure = next(figure for figure in figures(found) if figure.kind == kind)
    at = figure.columns.index("arm") if kind == "frontier" else 0
    long = " + ".join(f"a captioner of {name} top-p 0.9" for name in ("short", "detailed", "count", "web", "alt"))
    named = [(*row[:at], f"{row[at]} + {long}", *row[at + 1 :]) for row in figure.rows]
    drawn(type(figure)(**{**vars(figure), "rows": named}), found)
    assert [str(one.message) for one in recwarn if "constrained_layout" in str(one.message)] == []


def test_another_number_is_another_figure():
    """The negative control."""
    found = an_ablation()
    figure = next(figure for figure in figures(found) if figure.kind == "contrasts")
    (first, *rest) = figure.rows
    other = type(figure)(**{**vars(figure), "rows": [(*first[:3], first[3] + 0.01, *first[4:]), *rest]})
    assert drawn(figure, found)["svg"] != drawn(other, found)["svg"]


def test_latex_rows_have_as_many_fields_as_columns_and_braces_close():
    text = ablation_latex.tables(an_ablation(NASTY))
    bare = re.sub(r"\\.", "", text.replace("\\\\\n", "@@\n"))
    assert bare.count("{") == bare.count("}")
    for block in text.split(r"\begin{tabular}")[1:]:
        columns = re.match(r"\{(\w+)\}", block)[1]
        for line in block.split(r"\bottomrule")[0].splitlines():
            if line.endswith(r"\\"):
                fields = len(re.split(r"(?<!\\)&", line))
                spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
                assert fields + sum(spans) == len(columns), line
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 2
    assert not set("#$^_<>|") & set(re.sub(r"\$[^$\n]*\$", "", bare))


def test_latex_prints_what_the_page_prints():
    found = an_ablation()
    text = ablation_latex.tables(found)
    told = number(found.arms[4].cells["facts told"].value, "share")
    assert re.search(rf"^5 & five\\_x1 & 5 & .*{re.escape(told)}", text, re.M)
    assert r"\textsuperscript{a}" in text
    assert r"mixed\_255: no weights at runs/mixed" in text


def test_the_paragraph_cites_what_was_used_and_nothing_else():
    found = an_ablation()
    cited = set(re.findall(r"citep\{(\w+)\}", ablation_latex.methods_paragraph(found)))
    entries = set(re.findall(r"^@\w+\{(\w+),", ablation_methods.bibtex(found), re.M))
    assert cited == entries
    assert {"faghri2025mobileclip2", "yu2022coca", "holm1979simple", "xie2019going"} <= cited
    assert "hessel2021clipscore" not in cited  # a column without a number
    assert "friedman2023vendi" not in cited


def test_the_paragraph_says_what_failed_changed_and_is_missing():
    said = ablation_methods.methods(an_ablation())
    for part in ("failed: mixed_255", "Still to come: beam_5", "changed once since", "over 6 seeds", "λ = 0 and 1"):
        assert part in said
    untested = an_ablation(seeds=3)
    few = untested.model_copy(
        update={"contrasts": tuple(one.model_copy(update={"p": None, "p_holm": None}) for one in untested.contrasts)}
    )
    assert "too few for a test" in ablation_methods.methods(few)
    assert "Holm" not in ablation_methods.methods(few)


def test_every_metric_of_the_registry_with_a_paper_behind_it_has_an_entry():
    for name in ("mBLEU-4", "Self-CIDEr", "Vendi beta", "RefCLIPScore", "compression ratio", "novel captions"):
        column = Column(name=name, unit="share", better="higher", group="quality")
        arm = Arm(name="a", status="done", cells={name: an_ablation().arms[1].cells["Div-2"]})
        said = ablation_methods.bibtex(Ablation(name="x", columns=(column,), arms=(arm,)))
        assert said.count("@") == 3, name  # and the two that are always there


def test_the_book_is_sound():
    for key, entry in ablation_methods.book().items():
        assert re.fullmatch(r"[a-z]+\d{4}[a-z0-9]+", key)
        assert entry.count("{") == entry.count("}")
        assert re.search(r"year = \{" + re.search(r"\d{4}", key)[0], entry)
        assert {"author", "title"} <= set(re.findall(r"^  (\w+) = ", entry, re.M))


def test_markdown_tables_hold_whatever_stands_in_a_cell():
    text = markdown(an_ablation(NASTY))
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block
    assert "<i>" not in re.sub(r"\\[<>]", "", text)
    assert "failed: captioner mixed\\_255" in text
    assert "Changed after the first probe had begun" in text


def test_names_of_files_are_plain():
    assert slug("R@1 (of 100), λ 0 / χ") == "r-1-of-100-0"
    assert slug("λ") == "x"
