"""Groups stay together, shares are met, small sets get enough, and what was added moves nobody."""

from collections import Counter

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.data.duplicates import near_duplicates
from captioners.data.split import LEAST, TOO_FEW, Split, groups_of, parts_of
from captioners.data.survey import Item

NAMES = [f"{number:064x}" for number in range(50_000)]
THUMBNAILS = np.random.default_rng(0).integers(0, 256, (20, 768)).astype(np.uint8)


def item(number, picture=None, group=None):
    picture = number if picture is None else picture
    return Item(
        shard="s", key=str(number), name=str(number), sha256=NAMES[number], captions=("a",), format="jpg", pixels=1,
        fingerprint=(picture * 0x123456789ABCDEF % 2**64, THUMBNAILS[picture]), group=group,
    )  # fmt: skip


def test_shares_are_met_and_the_split_is_the_same_again():
    parts = parts_of(NAMES, Split())
    counts = Counter(parts)
    assert 2300 < counts["val"] < 2700
    assert 2300 < counts["test"] < 2700
    assert parts == parts_of(NAMES, Split())
    other = dict(zip(reversed(NAMES), parts_of(NAMES[::-1], Split()), strict=True))
    assert [other[name] for name in NAMES] == parts  # in any order


def test_what_is_added_moves_nobody():
    before = parts_of(NAMES[:20_000], Split())
    assert parts_of(NAMES, Split())[:20_000] == before
    small, larger = parts_of(NAMES[:400], Split()), parts_of(NAMES[:440], Split())
    moved = [pair for pair in zip(small, larger, strict=False) if pair[0] != pair[1]]
    assert len(moved) <= 12  # only as the least counts of a small set ask for it
    assert not {("val", "test"), ("test", "val")} & set(moved)


@pytest.mark.parametrize(("count", "held"), [(TOO_FEW - 1, 0), (TOO_FEW, 2), (21, 2), (100, 10), (500, LEAST)])
def test_small_sets_hold_out_enough_to_judge_by(count, held):
    counts = Counter(parts_of(NAMES[:count], Split()))
    assert counts["val"] >= held
    assert counts["test"] >= held
    assert counts["train"] >= 0.7 * count
    if not held:
        assert counts == {"train": count}


def test_groups_are_never_divided():
    groups = [NAMES[number // 3] for number in range(3000)]
    parts = parts_of(groups, Split())
    assert len(set(zip(groups, parts, strict=True))) == 1000
    assert 90 < Counter(parts)["val"] < 230


def test_a_huge_group_is_trained_on_and_nothing_else_suffers():
    for name in NAMES[:40]:  # whatever part it hashes to
        groups = [name] * 600 + NAMES[100:500]
        counts = Counter(parts_of(groups, Split()))
        assert parts_of(groups, Split())[0] == "train"
        assert counts["val"] >= LEAST


def test_groups_too_large_to_hold_out_are_an_error():
    with pytest.raises(UserError, match=r"the smallest group has 500 of 1,000 images; group by a finer field"):
        parts_of(["a"] * 500 + ["b"] * 500, Split())
    counts = Counter(parts_of([f"album {number % 5}" for number in range(1000)], Split()))
    assert counts == {"train": 600, "val": 200, "test": 200}
    assert set(parts_of(["a"] * 100, Split(val=0, test=0))) == {"train"}


def test_near_duplicates_and_equal_fields_make_groups():
    items = [item(0), item(1), item(2, picture=0), item(3, group="june"), item(4, picture=1, group="june")]
    assert groups_of(items, near_duplicates([i.fingerprint for i in items])) == [
        NAMES[0],
        "june",
        NAMES[0],
        "june",
        "june",
    ]


def test_the_shares_must_leave_something():
    with pytest.raises(ValueError, match="less than a tenth"):
        Split(val=0.45, test=0.45)
