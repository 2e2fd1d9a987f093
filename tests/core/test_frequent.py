"""Summaries of what is frequent: bounded, mergeable in any order, never too high and only so much too low."""

import random
from collections import Counter

from captioners.core.frequent import Frequent


def stream(seed=0, things=4000):
    draw = random.Random(seed)
    return [f"often {draw.randrange(3)}" if draw.random() < 0.3 else f"once {n}" for n in range(things)]


def parts(things, size):
    return [Counter(things[start : start + size]) for start in range(0, len(things), size)]


def check(sketch, things, size):
    truth = Counter(things)
    assert sketch.total == len(things) and len(sketch.counts) <= size
    for thing, count in truth.items():
        found = sketch.counts.get(thing, 0)
        assert found <= count and count - found <= len(things) / (size + 1)


def test_counts_are_never_too_high_and_too_low_by_the_bound_only():
    things = stream()
    for size in (4, 16, 64):
        sketch = Frequent(size)
        for part in parts(things, 100):
            sketch.add(part, part.total())
        check(sketch, things, size)
    assert [thing for thing, _ in sketch.above(0.05)] == [f"often {n}" for n, _ in Counter(
        int(thing[6:]) for thing in things if thing.startswith("often")
    ).most_common()]  # fmt: skip
    assert sketch.above(0.05, least=10**6) == [] == sketch.above(0.9)


def test_merged_in_any_order_the_bound_still_holds():
    things = stream(1)
    for order in range(5):
        sketches = []
        for part in parts(things, 250):
            sketches.append(Frequent(16))
            sketches[-1].add(part, part.total())
        draw = random.Random(order)
        while len(sketches) > 1:
            draw.shuffle(sketches)
            sketches[0].merge(sketches.pop())
        check(sketches[0], things, 16)


def test_what_is_no_more_than_its_kind_leaves_nothing():
    sketch = Frequent(8)
    sketch.add({f"{n}": 1 for n in range(1000)}, 1000)
    assert sketch.counts == {} and sketch.total == 1000
