"""Arms as tables of captions: which pictures, which captions, and the arms that must come out as known."""

from dataclasses import replace

import numpy as np
import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.data.drawn_check import check
from captioners.data.drawn_scene import scene
from captioners.jobs.probe.table import copies, is_drawn, key_of, oracle, shuffled, tables_of
from captioners.jobs.recipes.probe import Arm
from captioners.reinforcement.held import Held

COUNT = 12


def held(first=0, without=(), tag=""):
    """A set without a file: three captions of `short`, two of `long`; those in `without` lack the latter."""
    captions, texts = [], []
    for at in range(COUNT):
        own = {"syn_text_short": 3, **({} if at in without else {"syn_text_long": 2})}
        captions.append({})
        for key, number in own.items():
            captions[-1][key] = list(range(len(texts), len(texts) + number))
            texts += [f"{key}{tag} {at} {k}" for k in range(number)]
    rows = np.arange(len(texts) * 4, dtype=np.float32).reshape(-1, 4)
    return Held(
        names=[("00000.tar", f"{first + at:04d}") for at in range(COUNT)],
        texts=[f"text {at}" for at in range(COUNT)],
        captions=captions,
        caption_texts=texts,
        meta=[{"scene": scene(0, "caption", at).to_json()} for at in range(COUNT)],
        pixels=np.stack([np.full((2, 3, 4, 4), first + at, np.uint8) for at in range(COUNT)]),
        image_emb=np.zeros((COUNT, 2, 4), np.float32),
        text_emb=np.zeros((COUNT, 4), np.float32),
        caption_emb=rows,
        left_out=[],
        num_left_out=0,
    )


def arm(**captions):
    return Arm(captions=captions)


def texts(table, at):
    return {key: [table.captions[number] for number in own] for key, own in table.of_image[at].items()}


def test_an_arm_has_the_first_captions_of_the_keys_it_names():
    base = held()
    arms = {"none": arm(), "one": arm(short=1), "both": arm(short=2, syn_text_long=9)}
    tables = tables_of(arms, [base] * 3)
    assert texts(tables["none"], 3) == {}
    assert texts(tables["one"], 3) == {"syn_text_short": ["syn_text_short 3 0"]}
    assert texts(tables["both"], 3) == {
        "syn_text_short": ["syn_text_short 3 0", "syn_text_short 3 1"],
        "syn_text_long": ["syn_text_long 3 0", "syn_text_long 3 1"],
    }
    assert len(tables["one"]) == COUNT and key_of("short", base.keys) == key_of("syn_text_short", base.keys)


def test_all_arms_have_the_pictures_that_every_arm_has_captions_of():
    base = held(without=(2, 5))
    tables = tables_of({"short": arm(short=1), "long": arm(long=1)}, [base] * 2)
    for table in tables.values():
        assert [key for _, key in table.names] == [f"{at:04d}" for at in range(COUNT) if at not in (2, 5)]
        assert table.rows.tolist() == table.truth.tolist() == [at for at in range(COUNT) if at not in (2, 5)]
    assert texts(tables["long"], 2) == {"syn_text_long": ["syn_text_long 3 0"]}, "captions go with their pictures"


def test_an_arm_may_have_shards_of_its_own_with_the_same_pictures():
    base, other = held(), held(first=4, tag=" of another")
    tables = tables_of({"a": arm(short=1), "b": arm(short=1)}, [base, other])
    assert len(tables["b"]) == COUNT - 4 and tables["b"].held is base
    assert texts(tables["a"], 0) == {"syn_text_short": ["syn_text_short 4 0"]}
    assert texts(tables["b"], 0) == {"syn_text_short": ["syn_text_short of another 0 0"]}
    assert np.array_equal(tables["b"].caption_emb, other.caption_emb)
    with pytest.raises(UserError, match="arm b: 0004 is another picture, or augmented otherwise"):
        tables_of({"a": arm(short=1), "b": arm(short=1)}, [base, replace(other, pixels=base.pixels)])
    with pytest.raises(UserError, match="captions of no picture in common"):
        tables_of({"a": arm(short=1), "b": arm(short=1)}, [base, held(first=COUNT)])


def test_a_word_that_means_no_captions_is_said():
    with pytest.raises(NotFoundError, match=r"arm a: no captions are named 'shrt'.*Did you mean 'short'.*short, long"):
        tables_of({"a": arm(shrt=1)}, [held()])


def test_mixed_by_image_keeps_one_captioner_an_image_for_good():
    both = {"short": 3, "long": 2}
    table = tables_of({"a": Arm(captions=both, mixed="by_image"), "b": arm(**both)}, [held()] * 2)
    kept = [list(one) for one in table["a"].of_image]
    assert all(len(one) == 1 for one in kept) and {one[0] for one in kept} == {"syn_text_short", "syn_text_long"}
    assert kept == [list(one) for one in tables_of({"a": Arm(captions=both, mixed="by_image")}, [held()])["a"].of_image]
    assert all(len(one) == 2 for one in table["b"].of_image)


def test_the_sanity_arms():
    table = tables_of({"both": arm(short=2, long=2)}, [held()])["both"]
    assert texts(copies(table, 3), 7) == {"syn_text_short": ["syn_text_short 7 0"] * 3}
    other = shuffled(table)
    assert not np.any(other.truth == table.truth) and sorted(other.truth) == sorted(table.truth)
    assert not any(mine == theirs for mine, theirs in zip(other.of_image, table.of_image, strict=True))
    assert texts(other, 0) == texts(table, COUNT // 2) and other.rows.tolist() == table.rows.tolist()


def test_the_oracle_says_only_what_is_true_in_every_manner():
    table = tables_of({"a": arm(short=1)}, [held()])["a"]
    assert is_drawn(table)
    best = oracle(table)
    assert set(best.of_image[0]) == {"short", "detailed", "relational", "count", "paraphrased"}
    for at in range(COUNT):
        said = [text for own in texts(best, at).values() for text in own]
        said.append(best.held.texts[at])
        assert len(said) == 11 and all(check(text, scene(0, "caption", at)).verdict == "true" for text in said)
    assert best.caption_emb.shape == (len(best.captions), 4)
    bare = replace(table, held=replace(table.held, meta=[{}] * COUNT))
    assert not is_drawn(bare)
