"""captioners/jobs/ablate/found.py: what a reader has to know of the numbers."""

from captioners.jobs.ablate.found import Progress, images_of, unit_of
from captioners.jobs.measure.cells import MeasureRow
from captioners.report.ablation import Arm
from tests.jobs.test_ablate_recipes import recipe


def test_arms_that_were_measured_on_other_images_are_told_apart():
    rows = recipe(arms={name: {"members": [{"captioner": "a"}]} for name in ("one", "two", "lost")}).rows()

    def said(*counts):
        arms = [
            Progress(row, own=None if images is None else MeasureRow(name=row.name, m=5, images=images, cells={}))
            for row, images in zip(rows.values(), counts, strict=True)
        ]
        return list(images_of(arms))

    assert said(8, 8, None) == []
    (line,) = said(8, 1007, None)
    assert line.endswith("one on 8, two on 1,007.")


def test_one_number_above_1_makes_no_points_of_shares():
    def unit(*values):
        return unit_of([Arm(name="a", probe={"0": {f"task {at}": {"0": value} for at, value in enumerate(values)}})])

    assert (unit(0.4, 0.5, 1.5), unit(40.0, 50.0, 0.5), unit()) == ("share", "points", "share")
