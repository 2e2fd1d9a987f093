"""captioners/jobs/publish: forms of an ablation, written whole, the same bytes again."""

import json

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.jobs.publish.job import TABLE, ablation_of, publish
from tests.report.an_ablation import an_ablation


@pytest.fixture
def ablation(tmp_path):
    folder = tmp_path / "runs" / "small"
    folder.mkdir(parents=True)
    # Two figures are enough here; tests of the figures draw them all.
    found = an_ablation().model_copy(update={"frontiers": (), "saturation": (), "overlap": (), "adds": ()})
    (folder / TABLE).write_bytes(found.as_json())
    return folder


def everything(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_page_stands_in_the_folder(ablation):
    written = publish(ablation)
    assert written.path == str(ablation / "ablation.html")
    assert b"drawn_table6_small" in (ablation / "ablation.html").read_bytes()
    assert written.size == (ablation / "ablation.html").stat().st_size


def test_latex_has_tables_methods_sources_and_each_figure_thrice(ablation, tmp_path):
    written = publish(ablation, "latex", tmp_path / "paper")
    files = {str(name) for name in everything(tmp_path / "paper")}
    assert {"table.tex", "methods.tex", "references.bib"} <= files
    drawings = {name.rsplit(".", 1)[0] for name in files if name.startswith("figures/")}
    assert len(drawings) == 3
    assert {f"{name}.{ending}" for name in drawings for ending in ("svg", "pdf", "csv")} <= files
    assert written.files == len(files)


@pytest.mark.parametrize("form", ["csv", "markdown"])
def test_the_same_ablation_gives_the_same_bytes(ablation, form):
    publish(ablation, form)
    first = everything(ablation / form)
    publish(ablation, form)
    assert everything(ablation / form) == first
    assert len(first) >= 5


def test_an_ablation_is_found_by_its_name_under_runs(ablation, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ablation_of("small") is not None
    assert ablation_of("other") is None
    assert ablation_of(ablation) == ablation


def test_mistakes_are_named(ablation, tmp_path):
    with pytest.raises(NotFoundError, match="no ablation is there"):
        publish(tmp_path)
    with pytest.raises(NotFoundError, match=r"--to latx: an ablation is written as .*latex"):
        publish(ablation, "latx")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="csv is a folder"):
        publish(ablation, "csv", tmp_path / "file")
    with pytest.raises(UserError, match="cannot be written"):
        publish(ablation, "html", tmp_path / "file" / "page.html")
    told = json.loads((ablation / TABLE).read_text())
    told["arms"][0]["cells"]["Div-2"] = {"value": None}
    (ablation / TABLE).write_text(json.dumps(told))
    with pytest.raises(UserError, match=r"ablation\.json: not what an ablation writes: arms\.0\.cells\.Div-2"):
        publish(ablation)
