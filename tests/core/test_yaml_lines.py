"""captioners/core/yaml_lines.py: YAML 1.2 with lines, and back."""

import math

import pytest

from captioners.core.yaml_lines import read_yaml, write_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("-1E5", -1e5),
        (".5", 0.5),
        ("1.", 1.0),
        ("+3", 3),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("12:30:00", "12:30:00"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("'5'", "5"),
        ('"null"', "null"),
        ("shards/{00000..00099}.tar", "shards/{00000..00099}.tar"),
        (".inf", math.inf),
        ("-.inf", -math.inf),
    ],
)
def test_words_mean_what_yaml_1_2_says(text, value):
    parsed = read_yaml(f"key: {text}\n")
    assert parsed.mistakes == []
    assert parsed.value == {"key": value}
    assert type(parsed.value["key"]) is type(value)


def test_keys_are_always_strings():
    assert read_yaml("no: 1\n3: 2\ntrue: 3\n").value == {"no": 1, "3": 2, "true": 3}


def test_every_key_and_item_has_its_line():
    lines = read_yaml("a: 1\nb:\n  c:\n    - 5\n    - {d: 6}\n").lines
    assert lines == {("a",): 1, ("b",): 2, ("b", "c"): 3, ("b", "c", 0): 4, ("b", "c", 1): 5, ("b", "c", 1, "d"): 5}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "repeated; it first stands in line 1"),
        ("{a: 1, a: 2}", 1, "repeated"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "tags"),
        ("!foo\na: 1\n", 1, "tags"),
        ("a: &x [1]\n", 1, "anchors"),
        ("a: 1\n<<: {b: 2}\n", 2, "extends"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: b: c\n", 1, "quotes"),
        ("a: [1, 2\n", 2, "expected"),
        ("a: 1\n\tb: 2\n", 2, "not YAML"),
        ("a: 1\nb: \x01\n", 2, "special characters"),
        ("[a]: 1\n", 1, "a key must be a word"),
        ("a: " + "[" * 1000, 1, "deeper"),
    ],
)
def test_each_mistake_has_its_line(text, line, says):
    (_, found, message), *_ = read_yaml(text).mistakes
    assert says in message
    assert found == line


def test_an_alias_bomb_is_refused_without_being_built():
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    assert all("anchors" in says for _, _, says in read_yaml(bomb).mistakes)
    assert len(repr(read_yaml(bomb).value)) < 1000


def test_what_is_written_reads_back_equal_and_of_the_same_types():
    value = {
        "words": ["no", "", "null", "~", "1e-5", "12:30", "2026-01-01", "a: b # c", " padded ", "- a", "0x1F", "it's"],
        "numbers": [1, 1e-5, 1e22, 1.5, -0.0, True, None],
        "nested": [[1, [2, []]], {"a": {"b": []}, "c": {}}],
        "letters": "\U0001f600 \x7f\x01\n\t\u2028\ufeff",
        "no": {"yes": "no"},
    }
    again = read_yaml(write_yaml(value))
    assert again.mistakes == []
    assert repr(again.value) == repr(value)


def test_what_is_written_means_the_same_to_a_yaml_1_1_reader():
    yaml = pytest.importorskip("yaml")
    value = {"lr": 1e-5, "big": 1e22, "words": ["no", "on", "y", "12:30:00", "2026-01-01", "~", "1_0"], "none": None}
    assert repr(yaml.safe_load(write_yaml(value))) == repr(value)
