"""What is measured in Python is what the command prints, of runs, of several, and of their first draws."""

from pathlib import Path

import pytest

import captioners
from captioners.cli.main import run as command
from captioners.core.errors import UserError

MEMBERS = [
    {"name": "one", "captioner": "demo", "decoding": {"top_p": 0.9, "min_tokens": 1}, "draws": 1},
    {"name": "three", "captioner": "demo", "decoding": {"top_p": 0.9, "min_tokens": 1}, "draws": 3},
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measured")
    source = {"kind": "drawn", "count": 6}
    common = {"job": "generate", "source": source, "rules": {"refuse": []}, "decode_workers": 0}
    return [
        captioners.run({**common, "members": MEMBERS, "output": str(folder / "both")}),
        captioners.run({**common, "members": MEMBERS[1:], "output": str(folder / "again")}),
    ]


def cells(table):
    """The numbers of a table's only row, but for Self-CIDEr: its words are weighed by all captions of a run."""
    (row,) = table.as_json()["rows"]
    return {name: cell for name, cell in row["cells"].items() if name != "Self-CIDEr"}


def test_the_table_is_the_command_s(runs, capsys):
    found = captioners.measure(runs[0])
    assert command(["measure", str(runs[0].directory)]) == 0
    assert found.as_text(80) in capsys.readouterr().out
    assert [(row.name, row.m, row.images) for row in found.rows] == [
        ("one", 1, 6),
        ("three", 3, 6),
        ("all members", 4, 6),
    ]


def test_several_runs_stand_side_by_side_and_the_same_captions_measure_the_same(runs):
    found = captioners.measure([runs[0], str(runs[1].directory)])
    cells = {row.name: row.cells["claims true"].interval for row in found.rows}
    assert set(cells) == {"both/one", "both/three", "both/all members", "again/three"}
    assert cells["both/three"] == cells["again/three"]


def test_first_draws_are_what_fewer_draws_would_have_given(runs, tmp_path):
    fewer = captioners.run(
        {
            "job": "generate",
            "source": {"kind": "drawn", "count": 6},
            "rules": {"refuse": []},
            "decode_workers": 0,
            "members": [{**MEMBERS[1], "draws": 2}],
            "output": str(tmp_path / "fewer"),
        }
    )
    taken, made = cells(captioners.measure(runs[1], draws=2)), cells(captioners.measure(fewer))
    assert taken == made
    assert len(taken) > 10
    assert taken != cells(captioners.measure(runs[1]))
    with pytest.raises(UserError, match="4"):
        captioners.measure(runs[1], draws=4)


def test_a_table_is_shown_in_a_notebook(runs):
    found = captioners.measure(runs[0])
    text = found._repr_html_()
    assert text.count("<tr>") == 1 + len(found.as_text(999).partition("\n\n")[0].splitlines()) - 1
    assert '<th scope="col">all members</th>' in text
    assert "not measured" in text
    assert str(Path.cwd()) not in text
