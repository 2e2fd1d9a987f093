"""The notebooks run, use the public API alone, and say what they said when they were committed."""

import ast
import re

import nbformat
import pytest

import captioners
from tests.tools import notebooks

NAMES = notebooks.names()
OF_THIS_MACHINE = re.compile(r"/(home|root|tmp|usr|var|work|Users)/|\bsite-packages\b|Traceback|Warning")


def code_of(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


def reaches_inside(source):
    """Return what a cell takes from the package that is not public."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "captioners":
            found.add(node.module)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("captioners.")}
        if isinstance(node, ast.Attribute):
            if (
                isinstance(node.value, ast.Name)
                and node.value.id == "captioners"
                and node.attr not in captioners.__all__
            ):
                found.add(node.attr)
            if node.attr.startswith("_"):
                found.add(node.attr)
    return found


def test_there_are_notebooks():
    assert {name.partition("_")[0] for name in NAMES} >= {"01", "02", "04"}


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_uses_the_public_api_alone(name):
    assert {found for cell in code_of(notebooks.read(name)) for found in reaches_inside(cell.source)} == set()


def test_reaching_inside_is_seen():
    assert reaches_inside("from captioners.core.errors import UserError") == {"captioners.core.errors"}
    assert reaches_inside("import captioners.api.runs") == {"captioners.api.runs"}
    assert reaches_inside("captioners.jobs.listing") == {"jobs"}
    assert reaches_inside("captioners.load('demo')._kind") == {"_kind"}
    assert reaches_inside("captioners.run('x').captions()") == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_committed_as_it_was_run_and_tells_nothing_of_its_machine(name):
    book = notebooks.read(name)
    nbformat.validate(book)
    assert [cell.execution_count for cell in code_of(book)] == list(range(1, len(code_of(book)) + 1))
    assert code_of(book)[0].source.startswith("DATA = None")
    text = (notebooks.FOLDER / f"{name}.ipynb").read_text()
    assert text == notebooks.written(book), "write it with tests/tools/notebooks.py"
    assert not OF_THIS_MACHINE.findall(text)
    assert len(text) < 400_000


@pytest.mark.parametrize("name", NAMES)
def test_the_links_of_a_notebook_lead_somewhere(name):
    told = "\n".join(cell.source for cell in notebooks.read(name).cells if cell.cell_type == "markdown")
    links = re.findall(r"\]\(([^)]+)\)", told)
    assert links
    assert [link for link in links if not (notebooks.FOLDER / link).is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_says_what_it_said(name, tmp_path):
    book = notebooks.read(name)
    assert notebooks.differences(book, notebooks.executed(book, tmp_path)) == []


def tiny(source, *, tags=()):
    cell = nbformat.v4.new_code_cell(source, id="one", metadata={"tags": list(tags)})
    return nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": {"name": "python3", "display_name": "x"}})


@pytest.mark.slow
def test_what_changed_is_told_and_a_failing_cell_raises(tmp_path):
    made = notebooks.executed(tiny("print(1)\n2"), tmp_path)
    other = notebooks.executed(tiny("print(1)\n3"), tmp_path)
    assert notebooks.differences(made, made) == []
    assert "3" in notebooks.differences(made, other)[0]
    for book in (made, other):
        book.cells[0].metadata["tags"] = ["varies"]
    assert notebooks.differences(made, other) == []
    other.cells[0].outputs.pop()
    assert notebooks.differences(made, other), "of a cell that varies, the kinds of outputs count"
    with pytest.raises(Exception, match="no captioner"):
        notebooks.executed(tiny("import captioners\ncaptioners.load('no-such')"), tmp_path)
