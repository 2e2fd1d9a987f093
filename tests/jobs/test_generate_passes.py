"""Which captioners are loaded together: by fit, by memory, towers of a kind side by side; and what is said of it."""

import pytest

from captioners.images.fit import Fit
from captioners.jobs.generate.passes import Sharing, budgets, fits, form, sharing
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.kinds.captioner import Needs


def need(encoding="", *, tower=3, weights=2, caches=1, side=224, mapped=True):
    return Needs(fit=Fit(side, side), encoding=encoding, tower=tower, weights=weights, caches=caches, mapped=mapped)


def test_captioners_share_a_pass_as_long_as_they_fit():
    alone = 6
    needs = [need(name) for name in "abcde"]
    assert form(needs, 5 * alone) == [(0, 1, 2, 3, 4)]
    assert form(needs, 2 * alone) == [(0, 1), (2, 3), (4,)]
    assert form(needs, 1) == [(0,), (1,), (2,), (3,), (4,)], (
        "each has its pass, and says when it opens that it is short"
    )


def test_a_tower_counts_once_and_its_captioners_come_together():
    needs = [need("x"), need("y"), need("x"), need("y")]
    assert fits([needs[0], needs[2]], 9) and not fits([needs[0], needs[2]], 8)
    assert not fits([needs[0], needs[1]], 11), "two towers"
    assert form(needs, 9) == [(0, 2), (1, 3)]


def test_no_tower_is_shared_by_captioners_that_name_none():
    assert not fits([need(""), need("")], 11) and fits([need(""), need("")], 12)


def test_a_smaller_one_fills_the_room_that_an_earlier_pass_has_left():
    assert form([need("a"), need("b", weights=20), need("c")], 12) == [(0, 2), (1,)]


def test_pictures_of_another_size_and_kinds_that_say_nothing_are_passes_of_their_own():
    assert form([need("a"), need("b", side=336), None, need("c"), None], 100) == [(0, 3), (1,), (2,), (4,)]


def test_the_memory_is_shared_out_after_the_weights():
    on_gpu = [need("x", mapped=False), need("x", mapped=False), need("y", mapped=False, weights=4)]
    assert budgets(on_gpu, 44) == [5 + 10, 2 + 10, 7 + 10]
    assert sum(budgets(on_gpu, 44)) == 44
    assert budgets([need("x"), need("x")], 27) == [10, 10], "mapped weights are in nobody's budget"


def said(needs, memory, names="abcd"):
    members = [{"captioner": "random-tiny", "context_length": 20 + n, "name": name} for n, name in enumerate(names)]
    recipe = GenerateRecipe.model_validate({"source": {"kind": "drawn"}, "members": members}, strict=False)
    return Sharing(tuple(recipe.groups), tuple(needs), memory, tuple(form(needs, memory)))


@pytest.mark.parametrize(
    ("encodings", "memory", "line"),
    [
        ("xxxx", 10**9, "pass 1: a, b, c, d share the read and the image encode (a worker may use 1.0 GB)"),
        ("xyxz", 10**9, "pass 1: a, c, b, d share the read, a, c the image encode, too (a worker may use 1.0 GB)"),
        ("wxyz", 10**9, "pass 1: a, b, c, d share the read (a worker may use 1.0 GB)"),
        ("xxyz", 9, "pass 1: a, b share the read and the image encode; pass 2: c; pass 3: d (a worker may use 0.0 GB)"),
    ],
)
def test_one_line_says_who_shares_what(encodings, memory, line):
    assert said([need(encoding) for encoding in encodings], memory).line == line


def test_each_encode_is_listed_with_all_that_it_serves():
    assert said([need(encoding) for encoding in ("x", "", "x", "")], 100).encodes(0) == [(0, 2), (1,), (3,)]


def test_a_single_captioner_shares_with_nobody_and_nothing_is_said():
    assert said([need("x")], 100, "a").line == ""


def test_sharing_asks_the_captioners_themselves():
    members = [
        {"captioner": "random-tiny", "name": "a"},
        {"captioner": "random-tiny", "name": "b", "context_length": 20},
        {"captioner": "random-tiny", "name": "c", "context_length": 20},
    ]
    recipe = GenerateRecipe.model_validate({"source": {"kind": "drawn"}, "members": members, "memory_gb": 2.0})
    found = sharing(recipe)
    assert found.passes == ((0, 1),) and found.memory == 2 * 10**9
    assert found.line == "pass 1: a, b, c share the read and the image encode (a worker may use 2.0 GB)"
    assert sharing(recipe.model_copy(update={"memory_gb": 0.4})).passes == ((0,), (1,))
    assert sharing(recipe.model_copy(update={"memory_gb": 2.0, "workers": 4})).memory == 5 * 10**8
