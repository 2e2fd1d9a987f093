"""captioners report of an ablation, as a user runs it."""

import pytest

from captioners.cli.main import run as run_captioners
from captioners.jobs.publish.job import FORMS, TABLE
from tests.report.an_ablation import an_ablation


@pytest.fixture
def captioners(capsys, tmp_path, monkeypatch):
    folder = tmp_path / "runs" / "small"
    folder.mkdir(parents=True)
    (folder / TABLE).write_bytes(an_ablation().as_json())
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = run_captioners(list(arguments))
        return (code, *capsys.readouterr())

    return call


def test_the_page_is_written_and_the_next_command_named(captioners):
    code, out, _ = captioners("report", "small")
    assert code == 0
    assert "written: runs/small/ablation.html\nnext:    captioners report small --to latex" in out


def test_a_form_is_chosen_by_name(captioners):
    code, out, _ = captioners("report", "runs/small", "--to", "csv", "--out", "numbers")
    assert code == 0
    assert "written: numbers" in out
    assert "next" not in out


def test_a_form_that_is_none_and_a_run_that_is_no_ablation_are_named(captioners):
    code, _, err = captioners("report", "small", "--to", "word")
    assert code == 1
    assert ", ".join(FORMS) in err
    code, _, err = captioners("report", "other", "--to", "csv")
    assert code == 1
    assert "other: no ablation is there" in err


def test_what_is_not_for_an_ablation_is_refused_and_not_passed_over(captioners):
    code, _, err = captioners("report", "one", "other", "--to", "latex")
    assert code == 1
    assert "--to latex is for an ablation" in err
    code, _, err = captioners("report", "small", "--blind")
    assert code == 1
    assert "are for two captioners" in err
