"""A set in numbers; each warning and each refusal with a set that must not meet it."""

from dataclasses import replace

from captioners.data.facts import facts_of
from captioners.data.survey import Survey
from tests.data.test_split import item


class Words:
    """A tokenizer of one token a word, or a letter."""

    def __init__(self, letters=False):
        self.letters = letters

    def encode(self, text):
        return list(text.replace(" ", "")) if self.letters else text.split()


def make(texts, skipped=(), letters=False, context=10):
    items = [replace(item(number % 20), captions=tuple(captions)) for number, captions in enumerate(texts)]
    survey = Survey(items, [{"shard": "s", "key": "k", "reason": r, "error": e} for r, e in skipped])
    return facts_of(survey, list(range(len(items))), Words(letters), context)


GOOD = [[f"a thing of the number {number}", f"number {number} on the left"] for number in range(20)]


def test_the_numbers_and_their_lines():
    facts = make([["A red dog."], ["a red dog", "one two three four five six seven eight nine"], ["left, right"]],
                 [("missing", "x.jpg: not there"), ("missing", "y.jpg: not there")])  # fmt: skip
    assert (facts.images, facts.captions, facts.read, facts.different, facts.repeated) == (3, 4, 5, 3, 2)
    assert (facts.fewest, facts.most, facts.longest_tokens, facts.room, facts.cut) == (1, 2, 9, 8, 1)
    assert (facts.per_word, facts.sides, facts.typical_tokens) == (1.0, 1, 3.0)
    lines = "\n".join(facts.lines("CC0"))
    for part in ("3 of 5 samples (3 jpg)", "1 to 2 an image; 3 different", "1 (25.0%) are cut to the context",
                 "1.00 a word", "no exact copies; no near-duplicates", "licence     CC0", "2 missing",
                 "x.jpg: not there", "0  [3 tokens]  A red dog."):  # fmt: skip
        assert part in lines


def test_near_duplicates_and_copies_are_counted():
    items = [item(0), item(0), item(1), item(2)]
    facts = facts_of(Survey(items), [0, 0, 0, 3], Words(), 10)
    assert (facts.copies, facts.near_groups, facts.near_images) == (1, 1, 3)
    assert "1 exact copies; 3 images in 1 groups" in "\n".join(facts.lines())


def test_a_good_set_has_no_warning_and_no_problem():
    facts = make(GOOD)
    assert facts.warnings() == []
    assert facts.problem(0.05) is None


def test_each_warning_has_its_figure():
    assert "4.5 tokens a word" in make([["word thing"]], letters=True).warnings()[0]
    long = [["a b c d e f g h i j k"], *GOOD[:9]]
    assert make(long).warnings()[0].startswith("5.3% of the captions are longer than the 8 tokens that fit")
    same = [["A photo"], ["a photo."], ["a photo"], *GOOD[:3]]
    assert "33% of the captions are 'A photo'" in make(same).warnings()[0]
    assert "20 captions say left or right" in make(GOOD).warnings(flips=True)[0]
    assert make([["a dog"], ["two dogs"], ["three dogs"], ["dogs"], ["no dogs"]]).warnings(flips=True) == []


def test_what_cannot_be_trained_on_is_one_line():
    assert "no picture with a caption (1 samples skipped; the first: x: gone)" in make(
        [], [("missing", "x: gone")]
    ).problem(1)
    assert make([], []).problem(0.05).startswith("the source holds no picture")
    one = make([["a photo"], ["A photo!"]]).problem(0.05)
    assert (
        one
        == "all 2 captions are 'a photo': there is nothing to learn but that sentence; is it the right caption column?"
    )
    assert make([["a photo"]]).problem(0.05) is None
    lost = make(GOOD, [("missing", "x.jpg: not there")] * 2)
    assert "2 of 22 samples cannot be used (9.1%: 2 missing), more than the 5%" in lost.problem(0.05)
    assert lost.problem(0.1) is None
