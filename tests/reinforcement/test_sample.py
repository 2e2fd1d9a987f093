"""What a sample must hold to be trained on; each way to fall short under the name that `verify` has for it."""

import json

import numpy as np
import pytest

from captioners.data.texts import BadSampleError
from captioners.reinforcement.contract import problems
from captioners.reinforcement.embeddings import split, to_npz, to_pth_gz
from captioners.reinforcement.sample import parse, parse_stored
from captioners.reinforcement.sampling import Sampling
from tests.reinforcement.trained import SYN, sample, unit_rows

RULE = Sampling()


def syn(value):
    return {"syn.json": json.dumps(value).encode()}


def test_a_whole_sample_is_taken_as_it_is():
    members = sample(3)
    found = parse("a", members, RULE)
    assert found.image == members["jpg"]
    assert found.text == "Hund 3, größer"
    assert found.syn == {key: [f"{text} 3" for text in texts] for key, texts in SYN.items()}
    assert list(parse("a", members, Sampling(syn_keys="^syn_text_coco$")).syn) == ["syn_text_coco"]
    stored = parse_stored("a", members)
    assert stored.augmentations == json.loads(members["paug.json"])["param_aug"]
    assert np.array_equal(stored.arrays["image_emb"], unit_rows(4, (3, 0)))


def test_ground_truth_alone_needs_no_synthetic_captions():
    members = {name: data for name, data in sample(3).items() if name != "syn.json"}
    assert parse("a", members, Sampling(syn_keys=None)).syn == {}


def test_float32_is_preferred_where_both_forms_are_there():
    exact, rounded = split(unit_rows(4, 1), unit_rows(1, 2), {}), split(unit_rows(4, 3), unit_rows(1, 4), {})
    members = sample(3) | {"npz": to_npz(exact), "pth.gz": to_pth_gz(rounded)}
    assert np.array_equal(parse_stored("a", members).arrays["image_emb"], exact["image_emb"])
    del members["npz"]
    assert np.allclose(parse_stored("a", members).arrays["image_emb"], rounded["image_emb"], atol=1e-2)


# Trap -> what makes it; None takes a member away.
BAD = {
    "no_image": {"jpg": None},
    "no_text": {"txt": None},
    "no_syn": {"syn.json": None},
    "not_utf8": {"txt": b"\xff\xfe"},
    "not_json": {"syn.json": b"{"},
    "not_an_object": {"syn.json": b"[1]"},
    "empty_list": syn({"syn_text": []}),
    "not_a_list": syn({"syn_text": "a dog"}),
    "not_text": syn({"syn_text": ["a dog", 3]}),
    "no_paug": {"paug.json": None},
    "paug": {"paug.json": json.dumps({"param_aug": "[[1, 2, 3, 4]]"}).encode()},
    "no_emb": {"npz": None},
    "unreadable_emb": {"npz": sample(3)["npz"][:-40]},
    "emb_shape": {"npz": to_npz(split(unit_rows(4, 1), unit_rows(1, 2, width=6), {"syn_text": unit_rows(3, 3)}))},
    "emb_rows": {
        "npz": to_npz(
            split(unit_rows(3, 1), unit_rows(1, 2), {"syn_text": unit_rows(3, 3), "syn_text_coco": unit_rows(2, 4)})
        )
    },
}


@pytest.mark.parametrize("trap", BAD)
def test_each_trap_is_refused_under_the_name_that_verify_gives_it(trap):
    members = {name: data for name, data in (sample(3) | BAD[trap]).items() if data is not None}
    with pytest.raises(BadSampleError) as error:
        parse("000003", members, RULE)
        parse_stored("000003", members)
    assert error.value.reason == trap
    assert str(error.value).startswith("000003")
    assert "\n" not in str(error.value)
    assert trap in {one.trap for one in problems("000003", members)}
    assert problems("000003", sample(3)) == []


def test_half_of_a_character_is_told_as_verify_does():
    members = sample(3) | {"syn.json": b'{"syn_text": ["a \\ud800", "b", "c"]}'}
    with pytest.raises(BadSampleError, match="half of a character") as error:
        parse("000003", members, RULE)
    assert error.value.reason in {one.trap for one in problems("000003", members)}


def test_another_trap_is_a_key_that_nothing_matches():
    with pytest.raises(BadSampleError, match=r"no key matches '\^syn_text_dfn' \(syn_text, syn_text_coco\)"):
        parse("a", sample(3), Sampling(syn_keys="^syn_text_dfn"))
    with pytest.raises(BadSampleError, match="there is none"):
        parse("a", sample(3) | syn({}), RULE)
