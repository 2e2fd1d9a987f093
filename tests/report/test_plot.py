"""captioners/report/plot.py: round axes that hold every interval, a frontier, marks that can be read."""

from itertools import combinations
from math import nan

import pytest

from captioners.report.plot import HEIGHT, WIDTH, Point, best, plot


def points(*pairs, **more):
    return [Point(x=x, y=y, name=f"p{place}", mark=str(place), **more) for place, (x, y) in enumerate(pairs, 1)]


def test_axes_hold_the_points_and_their_intervals():
    one = Point(x=50, y=99, x_ends=(41, 62), y_ends=(93, 100), name="one")
    drawn = plot("t", [one], x_name="x", y_name="y")
    placed = drawn.points[0]
    assert 0 <= placed.left < placed.x < placed.right <= WIDTH
    assert HEIGHT >= placed.low > placed.y > placed.high >= 0
    assert float(drawn.x_ticks[0][1]) <= 41
    assert float(drawn.y_ticks[-1][1]) >= 100


def test_a_point_without_interval_has_no_whisker_and_one_without_a_number_is_left_out():
    drawn = plot("t", points((1, 2), (nan, 3)), x_name="x", y_name="y")
    (placed,) = drawn.points
    assert placed.left == placed.x == placed.right
    assert plot("t", points((nan, 1)), x_name="x", y_name="y") is None


def test_heights_that_are_compared_begin_at_nothing():
    assert plot("t", points((1, 40), (2, 60)), x_name="x", y_name="y", from_zero=True).y_ticks[0] == (HEIGHT, "0")


@pytest.mark.parametrize("higher", [(True, True), (False, True), (True, False), (False, False)])
def test_the_frontier_is_what_brute_force_finds(higher):
    cloud = points(*((x * 7 % 11, x * 5 % 13) for x in range(11)))
    ways = [1 if way else -1 for way in higher]

    def beats(one, other):
        a, b = ((ways[0] * p.x, ways[1] * p.y) for p in (one, other))
        return a != b and a[0] >= b[0] and a[1] >= b[1]

    expected = {p.name for p in cloud if not any(beats(q, p) for q in cloud)}
    found = best(cloud, x_higher=higher[0], y_higher=higher[1])
    assert {p.name for p in found} == expected
    assert [p.x for p in found] == sorted(p.x for p in found)


def test_marks_of_near_points_do_not_lie_on_each_other():
    drawn = plot("t", points((0, 0), (100, 100), (50, 50), (51, 50.5), (49, 51)), x_name="x", y_name="y")
    for one, other in combinations(drawn.points, 2):
        assert abs(one.mark_x - other.mark_x) + abs(one.mark_y - other.mark_y) >= 8
