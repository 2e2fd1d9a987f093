"""captioners/report/ablation.py: what is written is read again, and nothing lacks without saying why."""

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.report.ablation import Ablation, Arm, Cell, Column, Overlap, read_ablation
from tests.report.an_ablation import an_ablation


def test_what_is_written_is_read_again_to_the_byte():
    found = an_ablation()
    written = found.as_json()
    assert read_ablation(written) == found
    assert read_ablation(written).as_json() == written


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'"value": 0.5', b'"value": NaN', "finite number"),
        (b'"format": "captioners-ablation"', b'"format": "other"', "format"),
        (b'"version": 1,\n "name"', b'"version": 2,\n "name"', "version"),
        (b'"status": "done"', b'"status": "fine"', "status"),
        (b'"made_by"', b'"unheard_of"', "unheard_of"),
        (b"{", b"[", "the file"),
    ],
)
def test_a_file_that_is_none_is_refused_by_name_and_place(old, new, said):
    written = an_ablation(value=0.5).as_json()
    assert old in written
    with pytest.raises(UserError, match=r"^runs/x/ablation\.json: not what an ablation writes: ") as caught:
        read_ablation(written.replace(old, new, 1), "runs/x/ablation.json")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_missing_says_why():
    assert Cell.of(np.nan, np.nan, np.nan, 7, "one caption an image") == Cell(count=7, why="one caption an image")
    assert Cell.of(np.nan, np.nan, np.nan).why
    with pytest.raises(ValueError, match="says why"):
        Cell()
    with pytest.raises(ValueError, match="says why"):
        Arm(name="a", status="failed")


def test_an_interval_has_both_ends():
    assert Cell.of(np.float64(2), np.nan, np.nan, 1).low is None  # one image alone has a value and no interval
    with pytest.raises(ValueError, match="both ends"):
        Cell(value=1.0, low=0.5)


def test_names_are_distinct_and_numbers_have_a_column():
    column = Column(name="words", unit="words", better="neither", group="length")
    with pytest.raises(ValueError, match="two arms are called a"):
        Ablation(name="x", arms=(Arm(name="a"), Arm(name="a")))
    with pytest.raises(ValueError, match="arm a has a number of 'wrods', which is no column"):
        Ablation(name="x", columns=(column,), arms=(Arm(name="a", cells={"wrods": Cell(value=1.0)}),))
    with pytest.raises(ValueError, match="as many rows"):
        Overlap(title="t", captioners=("a", "b"), values=((1.0, 0.5),))
