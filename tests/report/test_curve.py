import pytest

from captioners.report.curve import HEIGHT, WIDTH, curve


def test_points_stand_between_round_numbers():
    drawn = curve("loss", [("train", [(0, 2.0), (5, 1.0), (10, 0.0)]), ("val", [(10, 0.5)])])
    assert [line.name for line in drawn.lines] == ["train", "val"]
    assert drawn.lines[0].path == f"0.0,0.0 150.0,{HEIGHT / 2} {WIDTH},{HEIGHT}"
    assert drawn.lines[1].dots == ((WIDTH, 90.0),)
    assert drawn.x_ticks == ((0.0, "0"), (150.0, "5"), (WIDTH, "10"))
    assert drawn.y_ticks == ((HEIGHT, "0"), (HEIGHT / 2, "1"), (0.0, "2"))
    assert drawn.words == "train 2.00 at step 0, 0.00 at 10; val 0.50 at step 10, 0.50 at 10"


@pytest.mark.parametrize("value", [0.0, 3.0, 1e-7, 1e-12, -2.0])
def test_one_value_alone_can_be_drawn(value):
    drawn = curve("x", [("one", [(7, value)])])
    (x, y), low, high = drawn.lines[0].dots[0], drawn.y_ticks[0][0], drawn.y_ticks[-1][0]
    assert x == WIDTH / 2
    assert high <= y <= low


def test_values_that_differ_in_the_last_digits_alone_can_be_drawn():
    drawn = curve("x", [("near", [(1, 3.0), (2, 3.0 + 4e-15)])])
    assert len({y for _, y in drawn.lines[0].dots}) == 1
    assert len({text for _, text in drawn.y_ticks}) == len(drawn.y_ticks) >= 2


def test_nothing_to_draw_is_no_drawing_and_much_is_thinned():
    assert curve("x", [("none", []), ("bad", [(1, float("nan"))])]) is None
    drawn = curve("x", [("much", [(step, step % 7) for step in range(100_000)])])
    assert 300 < len(drawn.lines[0].path.split()) <= 402
    assert drawn.lines[0].dots == ()
