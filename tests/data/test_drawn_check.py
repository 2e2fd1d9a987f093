"""captioners/data/drawn_check.py: exact truth, against hand-worked cases and oracles that try everything."""

import itertools
from hashlib import sha256
from random import Random

import pytest

from captioners.data.drawn_check import Claim, Fact, check, coverage, facts, facts_stated
from captioners.data.drawn_scene import ATTRIBUTES, Scene, Thing, scene
from captioners.data.drawn_voices import VOICES, captions
from captioners.data.drawn_words import NUMBERS, OPENINGS, OTHER_WORDS

# Upper left, centre, lower right; two circles, of which one is red.
TRIO = Scene(
    0,
    "eval",
    0,
    "white",
    (
        Thing("circle", "red", "large", "plain", 16, 16),
        Thing("square", "red", "small", "striped", 48, 48),
        Thing("circle", "blue", "small", "dotted", 80, 80),
    ),
)
LONE = Scene(0, "eval", 0, "white", (Thing("star", "pink", "large", "dotted", 48, 48),))
TWINS = Scene(
    *(0, "eval", 0, "white"),
    (Thing("cross", "black", "small", "plain", 16, 48), Thing("cross", "black", "small", "plain", 80, 50)),
)


@pytest.mark.parametrize(
    ("caption", "drawn", "verdict"),
    [
        # existence: an injective matching
        ("a red circle", TRIO, "true"),
        ("a red circle and a red circle", TRIO, "false"),
        ("a red circle and a circle", TRIO, "true"),
        ("a circle and a red circle", TRIO, "true"),  # the first must make room for the second
        ("a circle, a circle and a red shape", TRIO, "true"),
        ("a circle, a red shape and a circle", TRIO, "true"),
        ("a circle and another circle and another circle", TRIO, "false"),
        ("a red shape, a red shape and a red shape", TRIO, "false"),
        ("a shape and a shape and a shape", TRIO, "true"),
        ("a shape and a shape and a shape and a shape", TRIO, "false"),
        ("a black cross and another black cross", TWINS, "true"),
        ("a black cross and a small cross and a shape", TWINS, "false"),
        ("the red circle and the red circle", TRIO, "true"),  # named again
        ("a red circle. the circle", TRIO, "true"),
        # attributes, in any order, and what is not said is not claimed
        ("a large plain red circle", TRIO, "true"),
        ("a red plain large circle", TRIO, "true"),
        ("a small plain red circle", TRIO, "false"),
        ("large striped star", LONE, "false"),
        ("dotted star", LONE, "true"),
        ("a shape", LONE, "true"),
        # counts are exact
        ("two circles", TRIO, "true"),
        ("2 circles", TRIO, "true"),
        ("one circle", TRIO, "false"),
        ("three circles", TRIO, "false"),
        ("one red circle", TRIO, "true"),
        ("two red shapes and one blue shape", TRIO, "true"),
        ("three shapes", TRIO, "true"),
        ("two shapes", TRIO, "false"),
        ("no stars", TRIO, "true"),
        ("no circles", TRIO, "false"),
        ("two circles and a circle", TRIO, "true"),  # a number takes nothing from what 'a' may mean
        # relations
        ("a red circle left of a square", TRIO, "true"),
        ("a red circle is above a square", TRIO, "true"),
        ("a square to the right of the red circle", TRIO, "true"),
        ("a square left of a red circle", TRIO, "false"),
        ("a square left of a circle", TRIO, "true"),  # of the blue one
        ("a circle left of a circle", TRIO, "true"),
        ("the blue circle left of the blue circle", TRIO, "false"),
        ("a star left of a star", LONE, "false"),
        ("a black cross above another black cross", TWINS, "false"),  # 2 px are not above
        ("a black cross left of another black cross", TWINS, "true"),
        ("a square right of a circle. another circle right of the square", TRIO, "true"),
        ("a square right of a circle. another circle left of the square", TRIO, "false"),
        # other words
        ("a crimson disc together with a tiny stripy block", TRIO, "true"),
        ("there are two round shapes", TRIO, "true"),
        ("we see a huge polka-dot five-pointed star", LONE, "true"),
        ("an emerald ball over a box", TRIO, "false"),
        ("two plus signs", TWINS, "true"),
        ("A RED CIRCLE.", TRIO, "true"),
        # outside of the grammar
        ("", TRIO, "unparseable"),
        ("...", TRIO, "unparseable"),
        ("img 0123", TRIO, "unparseable"),
        ("there is", TRIO, "unparseable"),
        ("red", TRIO, "unparseable"),
        ("a red", TRIO, "unparseable"),
        ("a red red circle", TRIO, "unparseable"),
        ("a red blue circle", TRIO, "unparseable"),
        ("a circle red", TRIO, "unparseable"),
        ("the circle is red", TRIO, "unparseable"),
        ("a circles", TRIO, "unparseable"),
        ("circles", TRIO, "unparseable"),
        ("a heart", TRIO, "unparseable"),
        ("a red circle beside a square", TRIO, "unparseable"),
        ("a circle left of", TRIO, "unparseable"),
        ("a circle left a square", TRIO, "unparseable"),
        ("a circle && a square", TRIO, "unparseable"),
        ("a circle is", TRIO, "unparseable"),
        ("left of a circle", TRIO, "unparseable"),
        ("two circles left of a square", TRIO, "unparseable"),
        ("a circle left of a square left of a circle", TRIO, "unparseable"),
        ("a square above a circle on mint background", TRIO, "unparseable"),
        ("un cercle rouge à gauche", TRIO, "unparseable"),
        ("²² circles", TRIO, "unparseable"),
        # a caption of both sorts: what is false stays false, what is only unread is not counted as false
        ("a red circle, stock photo", TRIO, "unparseable"),
        ("a green circle, stock photo", TRIO, "false"),
    ],
)
def test_hand_worked_verdicts(caption, drawn, verdict):
    assert check(caption, drawn).verdict == verdict


@pytest.mark.parametrize(
    ("caption", "drawn", "false"),
    [
        ("a blue square", TRIO, [Claim("colour", "blue", False)]),  # not: a square circle that is blue
        ("a large striped red square", TRIO, [Claim("size", "large", False)]),
        ("a plain pink star", LONE, [Claim("texture", "plain", False)]),
        ("a large dotted pink cross", LONE, [Claim("shape", "cross", False)]),
        ("three circles", TRIO, [Claim("count", "3 circle", False)]),
        ("a square above a red circle", TRIO, [Claim("relation", "above", False)]),
        ("a pink star and a pink star", LONE, [Claim("colour", "pink", False), Claim("shape", "star", False)]),
        ("a shape and a shape", LONE, [Claim("shape", "shape", False)]),
    ],
)
def test_a_false_claim_is_of_the_kind_that_is_wrong(caption, drawn, false):
    assert [claim for claim in check(caption, drawn).claims if not claim.true] == false


def test_every_clause_keeps_its_text_its_claims_and_its_verdict():
    checked = check("a crimson ball to the left of a small square, free shipping and four stars", TRIO)
    assert [(clause.text, clause.verdict) for clause in checked.clauses] == [
        ("a crimson ball to the left of a small square", "true"),
        ("free shipping", "unparseable"),
        ("four stars", "false"),
    ]
    assert [claim.kind for claim in checked.claims] == ["colour", "shape", "size", "shape", "relation", "count"]


def test_facts_of_a_scene_written_out():
    assert facts(LONE) == {
        Fact("shape", (0,), "star"),
        Fact("colour", (0,), "pink"),
        Fact("size", (0,), "large"),
        Fact("texture", (0,), "dotted"),
        Fact("count", (), "1 shape"),
        Fact("count", (), "1 star"),
        Fact("count", (), "1 pink"),
    }
    assert {fact for fact in facts(TWINS) if fact.kind not in ATTRIBUTES} == {
        Fact("relation", (0, 1), "left"),  # and none above: 2 px
        Fact("count", (), "2 shape"),
        Fact("count", (), "2 cross"),
        Fact("count", (), "2 black"),
    }
    assert len(facts(TRIO)) == 12 + 6 + 5


def test_the_list_of_facts_is_frozen():
    listed = [sorted(facts(scene(0, "eval", k))) for k in range(100)]
    assert (
        sha256(repr(listed).encode()).hexdigest() == "09cc3c80a466e30b54c67f3b522db0e897dc2f0e32e4c77aff33628607c477bd"
    )


@pytest.mark.parametrize(
    ("caption", "stated"),
    [
        ("a red circle", {Fact("shape", (0,), "circle"), Fact("colour", (0,), "red")}),
        ("a dotted shape", {Fact("texture", (2,), "dotted")}),
        ("a shape", set()),
        ("a green circle", set()),  # a false clause states nothing, not even its true part
        ("a red circle, nonsense", {Fact("shape", (0,), "circle"), Fact("colour", (0,), "red")}),
        ("three shapes", {Fact("count", (), "3 shape")}),
        (
            "two red shapes",
            {Fact("count", (), "2 red"), Fact("colour", (0,), "red"), Fact("colour", (1,), "red")},
        ),
        ("one small square", {Fact("size", (1,), "small"), Fact("shape", (1,), "square")}),
        ("one striped shape", {Fact("texture", (1,), "striped")}),
        ("no stars", set()),
        ("a shape above a striped shape", {Fact("relation", (0, 1), "above"), Fact("texture", (1,), "striped")}),
        ("a striped shape below the shape", {Fact("relation", (0, 1), "above"), Fact("texture", (1,), "striped")}),
    ],
)
def test_facts_that_a_caption_states(caption, stated):
    assert facts_stated(caption, TRIO) == stated


def test_a_relation_and_its_converse_are_one_fact():
    one = facts_stated("a red circle left of a square", TRIO)
    assert one == facts_stated("a square is to the right of a red circle", TRIO)
    assert one != facts_stated("a red circle above a square", TRIO)


def test_coverage_is_that_of_the_union():
    everything = len(facts(TRIO))
    assert coverage([], TRIO) == 0
    assert coverage(["a red circle"], TRIO) == 2 / everything
    assert coverage(["a red circle", "a red circle"], TRIO) == 2 / everything
    assert coverage(["a red circle", "a large circle", "a green star"], TRIO) == 3 / everything


def test_what_captions_state_is_true_and_everything_can_be_stated():
    for number in range(300):
        drawn = scene(2, "caption", number)
        for voice in VOICES:
            assert all(facts_stated(said, drawn) <= facts(drawn) for said in captions(drawn, voice, 3, 0))
    pair = scene(2, "caption", next(k for k in range(99) if len(scene(2, "caption", k).things) == 2))
    many = [said for voice in VOICES for said in captions(pair, voice, 60, 0)]
    assert coverage(many, pair) == 1.0


# The oracles below work on what a caption means, never on its text, and share no code with the checker.


def _holds(one, relation, other):
    across, down = other["x"] - one["x"], other["y"] - one["y"]
    return {"left": across > 12, "right": across < -12, "above": down > 12, "below": down < -12}[relation]


def _text(mention, article="a"):
    return " ".join([article, *(mention[name] for name in ("size", "texture", "colour") if name in mention)]) + (
        f" {mention.get('shape', 'shape')}"
    )


def _fits(mention, thing):
    return all(thing[name] == value for name, value in mention.items())


def _mention(random, thing):
    names = [name for name in ATTRIBUTES if random.random() < 0.6]
    return {name: thing[name] for name in names}


def test_one_flipped_attribute_is_false_unless_another_thing_has_it():
    random = Random(11)
    false = saved = 0
    for number in range(1500):
        drawn = scene(4, "finetune", number)
        things = [vars(thing) for thing in drawn.things]
        if len(things) > 2:
            continue
        mentions = [_mention(random, thing) for thing in random.sample(things, random.randint(1, len(things)))]
        assert check(" and ".join(map(_text, mentions)), drawn).verdict == "true"
        changed = random.choice(mentions)
        if not changed:
            continue
        name = random.choice(sorted(changed))
        changed[name] = random.choice([value for value in ATTRIBUTES[name] if value != changed[name]])
        possible = any(
            all(itertools.starmap(_fits, zip(mentions, order, strict=True)))
            for order in itertools.permutations(things, len(mentions))
        )
        assert check(" and ".join(map(_text, mentions)), drawn).verdict == ("true" if possible else "false")
        false, saved = false + (not possible), saved + possible
    assert false > 300
    assert saved > 10  # both sides of 'unless' were met


def test_the_matching_is_the_best_of_all_there_are():
    """As few false claims as any injective matching leaves, relations included: tried one by one."""
    random = Random(12)
    falses = []
    for number in range(400):
        drawn, other = scene(4, "caption", number), scene(4, "caption", number + 1)
        things = [vars(thing) for thing in drawn.things]
        pool = [*things, *(vars(thing) for thing in other.things)]
        clauses = []
        for _ in range(random.randint(1, 3)):
            if random.random() < 0.5:
                clauses.append((_mention(random, random.choice(pool)),))
            else:
                relation = random.choice(["left", "right", "above", "below"])
                clauses.append((_mention(random, random.choice(pool)), relation, _mention(random, random.choice(pool))))
        flat = [mention for clause in clauses for mention in clause[::2]]
        articles = [random.choice(["a", "a", "the"]) for _ in flat]
        best = min(
            _wrong(clauses, [None if place is None else things[place] for place in places])
            for places in itertools.product([None, *range(len(things))], repeat=len(flat))
            if _injective([place for place, article in zip(places, articles, strict=True) if article == "a"])
        )
        said = [_text(mention, article) for mention, article in zip(flat, articles, strict=True)]
        phrasing = {"left": "left of", "right": "to the right of", "above": "over", "below": "lower than"}
        caption = ", ".join(
            said.pop(0) if len(clause) == 1 else f"{said.pop(0)} {phrasing[clause[1]]} {said.pop(0)}"
            for clause in clauses
        )
        found = sum(not claim.true for claim in check(caption, drawn).claims)
        assert found == best, f"{drawn}: {caption}"
        falses.append(found)
    assert 0 in falses
    assert max(falses) > 3


def _injective(places):
    taken = [place for place in places if place is not None]
    return len(taken) == len(set(taken))


def _wrong(clauses, things):
    """Count false claims: each attribute said, a shape even when it is only called 'shape', and each relation."""
    left, wrong = list(things), 0
    for clause in clauses:
        meant = []
        for mention in clause[::2]:
            thing = left.pop(0)
            meant.append(thing)
            claims = {"shape": None, **mention}
            wrong += sum(thing is None or (v is not None and thing[name] != v) for name, v in claims.items())
        if len(clause) == 3:
            wrong += None in meant or not _holds(meant[0], clause[1], meant[1])
    return wrong


def test_numbers_against_counting():
    random = Random(13)
    verdicts = []
    for number in range(600):
        drawn = scene(6, "eval", number)
        things = [vars(thing) for thing in drawn.things]
        mention, said = _mention(random, random.choice(things)), random.randint(1, 4)
        words = _text(mention).removeprefix("a ")
        plural = words if said == 1 else f"{words}es" if words.endswith("ss") else f"{words}s"
        verdict = check(f"there are {NUMBERS[said]} {plural}", drawn).verdict
        assert verdict == ("true" if sum(_fits(mention, thing) for thing in things) == said else "false")
        verdicts.append(verdict)
    assert min(verdicts.count("true"), verdicts.count("false")) > 100


@pytest.mark.parametrize(
    ("voice", "low", "high"), [("short", 0.02, 0.09), ("detailed", 0.0, 0.02), ("relational", 0.0, 0.03)]
)
def test_a_caption_of_another_scene_is_rarely_true(voice, low, high):
    scenes = [scene(8, "eval", number) for number in range(1001)]
    true = sum(
        check(captions(one, voice, 1, 0)[0], other).verdict == "true" for one, other in itertools.pairwise(scenes)
    )
    assert low <= true / 1000 <= high


def test_no_text_makes_it_raise():
    random = Random(14)
    words = [*OTHER_WORDS, *NUMBERS, *(word for opening in OPENINGS for word in opening.split())]
    words += ["a", "an", "the", "another", "circles", "stars", "is", "left", "of", "to", "right", "and", "with", "&&"]
    words += [",", ".", ";", " - ", "12", "99", "100", "-1", "٣", "é", "\x00", "\ud800", "🟥", "\n", "'", "red,"]
    pieces = ["a circle", "the red square", "two circles", "left of", "below", ",", "and", "is", "there is", "clip art"]
    read = 0
    for number in range(3000):
        caption = " ".join(random.choice(words) for _ in range(random.randint(0, 25)))
        if number % 3 == 0:
            caption = " ".join(random.choice(pieces) for _ in range(random.randint(1, 6)))
        elif number % 3 == 1:
            caption = "".join(chr(random.randrange(0x11000)) for _ in range(random.randint(0, 60)))
        checked = check(caption, TRIO)
        assert checked.verdict in ("true", "false", "unparseable")
        facts_stated(caption, TRIO)
        read += bool(checked.claims)
    assert read > 150  # not all of it was noise to the grammar


def test_a_caption_that_goes_on_for_ever_is_checked_all_the_same():
    checked = check("a red circle and " * 5000 + "a square left of a circle", TRIO)
    assert len(checked.clauses) == 5001
    assert sum(clause.verdict == "true" for clause in checked.clauses) == 2
