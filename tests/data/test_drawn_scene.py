"""captioners/data/drawn_scene.py: scenes from a seed, frozen, and no content in two splits."""

import json
import os
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from itertools import combinations
from random import Random

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.data.drawn_scene import (
    ATTRIBUTES,
    SPLITS,
    Draws,
    Scene,
    Thing,
    from_json,
    related,
    scene,
    split_of,
)

GOLDEN = {
    "pretrain": "2a50ab3c01f465c49eb80391c5aea00a7e3217ce126cf8e88fe4552afd12280b",
    "finetune": "df16232a98a021c1765a30722f749d4b87d4df72a9ea1b9c3f9de3e0fd44ddd9",
    "caption": "8bbb84bebd5c36e69fca40740f7191ae9cd57149790172e912f7a856d57734c0",
    "eval": "87c598ba7dbcb08706d41fe54b82d165576f61e7d853ea0524fad43f19e5edcc",
}
"""sha256 of the JSON of scenes 0..199 of seed 0. A new value is a new WORLD_VERSION, and voids old captioners."""


def test_scenes_are_frozen():
    for split, digest in GOLDEN.items():
        text = json.dumps([scene(0, split, k).to_json() for k in range(200)])
        assert sha256(text.encode()).hexdigest() == digest, split


def test_a_scene_written_out():
    assert scene(0, "caption", 0) == Scene(
        seed=0,
        split="caption",
        index=0,
        background="white",
        things=(
            Thing("cross", "blue", "small", "plain", 16, 18),
            Thing("triangle", "green", "large", "plain", 82, 45),
            Thing("cross", "cyan", "large", "striped", 50, 79),
            Thing("square", "pink", "large", "dotted", 83, 80),
        ),
    )


_PRINT_WORLD = """
import json
from hashlib import sha256
from captioners.data.drawn_check import facts, facts_stated
from captioners.data.drawn_render import jpeg
from captioners.data.drawn_scene import SPLITS, scene
from captioners.data.drawn_voices import VOICES, captions
digest = sha256()
for split in SPLITS:
    for k in range(25):
        drawn = scene(3, split, k)
        digest.update(json.dumps(drawn.to_json()).encode() + jpeg(drawn))
        for voice in VOICES:
            for said in captions(drawn, voice, 2, 9):
                digest.update(repr((said, sorted(facts_stated(said, drawn)))).encode())
        digest.update(repr(sorted(facts(drawn))).encode())
print(digest.hexdigest())
"""


def test_scenes_pictures_captions_and_facts_do_not_depend_on_the_process():
    said = set()
    for hash_seed in ("0", "1", "random"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", _PRINT_WORLD], env=environment, capture_output=True, check=True)
        said.add(done.stdout)
    assert len(said) == 1
    assert len(said.pop()) == 65


@pytest.fixture(scope="module")
def many():
    return {split: [scene(seed, split, k) for seed in (0, 1) for k in range(1000)] for split in SPLITS}


def test_no_content_is_in_two_splits(many):
    keys = {split: {one.content_key for one in scenes} for split, scenes in many.items()}
    for one, other in combinations(SPLITS, 2):
        assert not keys[one] & keys[other]
    assert all(split_of(key) == split for split in SPLITS for key in keys[split])
    # The control: contents do come again, so that disjoint splits are not for want of chances.
    first, second = ({one.content_key for one in many["pretrain"][half]} for half in (slice(1000), slice(1000, None)))
    assert first & second


def test_the_splits_share_out_all_contents():
    assert sorted(eighth for eighths in SPLITS.values() for eighth in eighths) == list(range(8))


def test_content_is_what_is_where_and_not_how_it_looks():
    one = Scene(0, "eval", 0, "white", (Thing("star", "red", "small", "plain", 13, 19),))
    moved = Scene(1, "caption", 7, "mint", (Thing("star", "red", "small", "plain", 18, 15),))
    assert one.content_key == moved.content_key
    for other in (
        Thing("star", "red", "small", "plain", 45, 16),
        Thing("star", "red", "small", "dotted", 13, 19),
        Thing("star", "red", "large", "plain", 13, 19),
    ):
        assert Scene(0, "eval", 0, "white", (other,)).content_key != one.content_key


def test_things_are_apart_and_every_pair_stands_clearly(many):
    for one in (one for scenes in many.values() for one in scenes):
        assert 1 <= len(one.things) <= 4
        assert [thing.cell for thing in one.things] == sorted({thing.cell for thing in one.things})
        for this, that in combinations(one.things, 2):
            for gap in (abs(this.x - that.x), abs(this.y - that.y)):
                assert gap <= 6 or gap >= 26  # never near the margin of 12
            assert sum(related(this, relation, that) for relation in ("left", "right", "above", "below")) in (1, 2)


def test_relations_hold_from_13_pixels_on():
    def at(x, y):
        return Thing("star", "red", "small", "plain", x, y)

    assert related(at(10, 10), "left", at(23, 10))
    assert not related(at(10, 10), "left", at(22, 10))
    assert related(at(23, 10), "right", at(10, 10))
    assert related(at(10, 10), "above", at(10, 23))  # y grows downwards
    assert related(at(10, 23), "below", at(10, 10))
    assert not related(at(10, 23), "above", at(10, 10))
    assert not related(at(10, 22), "below", at(10, 10))


def test_every_sort_of_thing_occurs_and_common_ones_are_commoner(many):
    things = [thing for scenes in many.values() for one in scenes for thing in one.things]
    sorts = Counter((thing.shape, thing.colour, thing.size, thing.texture) for thing in things)
    assert len(sorts) == 288
    for name, values in ATTRIBUTES.items():
        shares = [sum(getattr(thing, name) == value for thing in things) / len(things) for value in values]
        assert min(shares) > 0.06
        assert shares[0] > shares[-1] * 1.1
    circles = [thing.colour == "red" for thing in things if thing.shape == "circle"]
    others = [thing.colour == "red" for thing in things if thing.shape != "circle"]
    assert 0.3 < sum(circles) / len(circles) < 0.4
    assert 0.11 < sum(others) / len(others) < 0.18


def test_a_scene_goes_through_json_and_back(many):
    for one in many["eval"][:100]:
        assert from_json(json.loads(json.dumps(one.to_json()))) == one


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {},
        {"things": 3},
        {"seed": 0, "split": "eval", "index": 0, "background": "white", "things": []},
        {"seed": 0, "split": "test", "index": 0, "background": "white", "things": ["a"]},
        {"split": "test"},
        {"index": "0"},
        {"background": "tartan"},
        {"things": [{"shape": "heart", "colour": "red", "size": "small", "texture": "plain", "x": 1, "y": 1}]},
        {"things": [{"shape": "star", "colour": "red", "size": "small", "texture": "plain", "x": 1.5, "y": 1}]},
        {"things": [{"shape": "star", "colour": "red", "size": "small", "texture": "plain", "x": 96, "y": 1}]},
    ],
)
def test_what_is_no_scene_is_refused_in_one_line(broken):
    if isinstance(broken, dict) and len(broken) == 1:
        broken = {**scene(0, "eval", 0).to_json(), **broken}
    with pytest.raises(UserError, match=r"not a scene of the drawn world.*") as refused:
        from_json(broken)
    assert "\n" not in str(refused.value)


def test_an_unknown_split_is_refused_with_near_names():
    with pytest.raises(NotFoundError, match="Did you mean 'eval'"):
        scene(0, "evl", 0)


def test_draws_use_the_one_method_that_python_keeps():
    draws, raw = Draws("x"), Random("x")
    assert draws.uniform(2.0, 4.0) == 2.0 + 2.0 * raw.random()
    assert draws.pick("abcd") == "abcd"[int(raw.random() * 4)]
    assert draws.integer(-3, 3) == -3 + int(raw.random() * 7)


def test_draws_are_fair():
    draws = Draws("fair")
    weighted = Counter(draws.weighted("abc", (1, 2, 5)) for _ in range(8000))
    assert all(abs(weighted[letter] - 1000 * weight) < 150 for letter, weight in zip("abc", (1, 2, 5), strict=True))
    orders = Counter("".join(draws.shuffled("abc")) for _ in range(6000))
    assert len(orders) == 6
    assert all(abs(number - 1000) < 150 for number in orders.values())
    assert {draws.integer(0, 2) for _ in range(100)} == {0, 1, 2}
