"""captioners/metrics/faithfulness.py: sums worked by hand, and coverage against all subsets."""

from itertools import combinations
from math import isnan
from statistics import mean

import pytest

from captioners.core.errors import UserError
from captioners.metrics.faithfulness import (
    Claim,
    Judged,
    Verdict,
    captions_true,
    claims_true,
    coverage,
    coverage_of,
    kinds,
    unparseable,
)


def verdict(says, facts=(), kind="colour"):
    """'TF?' is a true, a false and an unreadable claim."""
    claims = tuple(Claim(kind=kind, true={"T": True, "F": False, "?": None}[letter]) for letter in says)
    return Verdict(claims=claims, facts=frozenset(facts))


IMAGES = [
    Judged(verdicts=(verdict("TTT"), verdict("TF")), num_facts=4),
    Judged(verdicts=(verdict("T?"), verdict("")), num_facts=2),
    Judged(verdicts=(verdict("FF", kind="count"), verdict("T", kind="count")), num_facts=2),
]


def test_claims_are_pooled_and_what_was_not_read_is_neither_true_nor_false():
    assert claims_true(IMAGES).value == 6 / 9
    assert claims_true(IMAGES, "count").value == 1 / 3
    assert claims_true(IMAGES, "colour").value == 5 / 6
    assert isnan(claims_true(IMAGES, "size").value)


def test_a_caption_has_one_of_three_outcomes():
    outcomes = [v.outcome for image in IMAGES for v in image.verdicts]
    assert outcomes == ["true", "false", "unparseable", "unparseable", "false", "true"]
    assert verdict("F?").outcome == "false"
    assert captions_true(IMAGES).value == 2 / 6
    assert unparseable(IMAGES).value == 2 / 6


def test_kinds_are_named_once():
    assert kinds(IMAGES) == ["colour", "count"]


def test_coverage_is_the_mean_over_all_choices_of_m_captions():
    told = [{"a", "b"}, {"b"}, set(), {"c", "a", "b"}, {"d"}]
    image = Judged(verdicts=tuple(verdict("T", facts) for facts in told), num_facts=6)
    for m in range(1, 6):
        brute = mean(len(set().union(*chosen)) / 6 for chosen in combinations(told, m))
        assert coverage_of(image, m) == pytest.approx(brute, abs=1e-12)


def test_coverage_of_everything_told_is_one_and_unknown_facts_are_left_out():
    full = Judged(verdicts=(verdict("T", "ab"), verdict("T", "abc")), num_facts=3)
    unknown = Judged(verdicts=(verdict("T", "ab"), verdict("T", "abc")))
    assert coverage([full, unknown], 2).value == 1
    assert coverage([full, unknown], 2).count == 1
    assert coverage([full, unknown], 1).value == pytest.approx((2 / 3 + 1) / 2)
    assert isnan(coverage_of(unknown, 1))


@pytest.mark.parametrize("m", [0, 3])
def test_coverage_asked_of_more_captions_than_there_are_is_refused(m):
    with pytest.raises(UserError, match=f"told by {m} captions: an image has 2"):
        coverage(IMAGES, m)
