"""captioners/core/where.py: conditions over columns, against Python itself on every row; mistakes with their places."""

import itertools

import pyarrow as pa
import pytest

from captioners.core.errors import RecipeError
from captioners.core.where import parse

KINDS = {"a": "number", "b": "number", "t": "text", "f": "truth", "g": "truth"}
ROWS = [
    {"a": a, "b": b, "t": t, "f": f, "g": not f}
    for a, b, t, f in itertools.product((-1.5, 0.0, 0.2, 3.0), (0.0, 3.0), ("dog", "a cat", "größer"), (True, False))
]
COLUMNS = {name: pa.array([row[name] for row in ROWS]) for name in KINDS}


@pytest.mark.parametrize(
    "text",
    [
        "a > 0.2 and not f",
        "f or g and a < b",
        "not (f or a >= b) and t != 'dog'",
        "-1 <= a < b <= 3",
        "a * 2 - b / 4 > +1",
        "t in ['dog', 'größer'] and a in (0, 3)",
        "'a' in t or 'dog' not in t",
        "a not in [0.2] and (True or False)",
        "f == g or f != True",
        "t > 'b'",
    ],
)
def test_a_condition_says_what_python_says(text):
    """The independent answer: the same text, evaluated by Python on every row."""
    expected = [eval(text, {"__builtins__": {}}, row) for row in ROWS]
    assert parse(text, KINDS)(COLUMNS, len(ROWS)).to_pylist() == expected
    assert len(set(expected)) == 2, "the rows must tell the condition from a constant"


def test_numbers_can_be_asked_for_as_well():
    expected = [row["a"] * 0.5 + row["b"] for row in ROWS]
    assert parse("a * 0.5 + b", KINDS, "number")(COLUMNS, len(ROWS)).to_pylist() == expected
    assert parse("1.5", KINDS, "number")(COLUMNS, 3).to_pylist() == [1.5] * 3


def test_what_is_not_there_is_unknown_whatever_is_asked():
    columns = {"a": pa.array([None, 1.0]), "f": pa.array([True, None])}
    known = {"a": "number", "f": "truth"}
    for text, expected in {
        "a > 0": [None, True],
        "not a > 0": [None, False],
        "a in [1, 2]": [None, True],
        "a > 0 or f": [True, True],
        "a > 0 and f": [None, None],
    }.items():
        assert parse(text, known)(columns, 2).to_pylist() == expected, text


def test_a_condition_may_be_long_and_stand_on_several_lines():
    text = "a > 0.1\n  and not f\n  or t == 'dog'"
    assert parse(text, KINDS)(COLUMNS, len(ROWS)) == parse(text.replace("\n", " "), KINDS)(COLUMNS, len(ROWS))
    wide = " or ".join(["f"] * 300)
    assert parse(wide, KINDS)(COLUMNS, len(ROWS)) == COLUMNS["f"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "character 1: nothing is said"),
        ("a", "character 1: a number, where a condition is needed"),
        ("aa > 1", r"character 1: nothing is named 'aa'. Did you mean 'a'\?"),
        ("a > 1 and zzz", "character 11: nothing is named 'zzz'$"),
        ("a < 'x'", "character 1: 'a': a number cannot be compared with a text"),
        ("f and t", "character 7: 't' is a text, and 'and' needs a condition"),
        ("(a > 1", "character 1: not an expression"),
        ("a > 1 # or f", "character 7: a comment"),
        ("größe > 1 and 'ö' == t and b2 > 1", "character 28: nothing is named 'b2'"),
        ("a.real > 1", "character 1: 'a.real' is not part of this language"),
        ("a > 1 or __import__('os').system('x')", "character 10: .*is not part of this language"),
        ("[x for x in t]", "is not part of this language"),
        ("a if f else b", "is not part of this language"),
        ("t[0] == 'd'", "is not part of this language"),
        ("f'{a}' == t", "is not part of this language"),
        ("(lambda: 1)() > 0", "is not part of this language"),
        ("a ** 9 > 1", "of arithmetic there is"),
        ("a is 1", "write =="),
        ("a == None", "'?None'? is neither a number nor a text"),
        ("[1] == a", "a list stands only behind 'in'"),
        ("a in [b]", "a list holds numbers or texts as they are"),
        ("a in [1, 'x']", "numbers or texts, not both"),
        ("a in []", "at least one"),
        ("a in t", "behind 'in' stands a list"),
        ("not " * 120 + "f", "nested too deeply"),
        ("f" * 3000, "longer than 2,000 characters"),
        ("1" * 400 + " < a", "too large a number"),
    ],
)
def test_a_mistake_is_told_with_its_place(text, says):
    with pytest.raises(RecipeError, match=says) as caught:
        parse(text, KINDS)
    assert len(str(caught.value)) < 400


def test_all_mistakes_are_told_at_once():
    with pytest.raises(RecipeError) as caught:
        parse("scor > 1 and (dog.x or a == 'b')", KINDS)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("has 3 mistakes:")
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["character 1", "character 15", "character 24"]


def test_before_the_columns_are_known_the_rest_is_judged():
    assert parse("clipscore > 0.2 and not anything").names == ("anything", "clipscore")
    with pytest.raises(RecipeError, match="is not part of this language"):
        parse("clipscore() > 0.2")


def test_whoever_asks_may_say_what_a_missing_name_is():
    with pytest.raises(RecipeError, match="character 1: dog was never measured"):
        parse("dog > 1", KINDS, unknown=lambda name: f"{name} was never measured")
