"""The trainer's rule of choice: each probability against counts, and each draw a function of its names."""

import math
from collections import Counter

import pytest

from captioners.core.errors import UserError
from captioners.reinforcement.sampling import Sampling, choose, matching

SYN = {"syn_text": ["a", "b", "c", "d", "e"], "syn_text_coco": ["f", "g"]}
RULE = Sampling()
COUNT = 4000


def chi_square(counts, shares):
    return sum((counts[value] - COUNT * share) ** 2 / (COUNT * share) for value, share in shares.items())


def choices(rule=RULE, augmentations=3, epochs=range(COUNT)):
    return [choose(rule, epoch, ("00000.tar", "a"), augmentations, SYN) for epoch in epochs]


def test_first_a_key_uniformly_then_one_of_its_captions():
    found = choices()
    captions = Counter((one.syn_key, one.caption) for one in found)
    shares = {(key, at): 1 / 2 / len(texts) for key, texts in SYN.items() for at in range(len(texts))}
    assert chi_square(captions, shares) < 22.5  # 6 degrees of freedom, 0.1 %
    assert chi_square(captions, dict.fromkeys(shares, 1 / 7)) > 100, "the control: uniform over all captions"
    augmentations = Counter(one.augmentation for one in found)
    assert chi_square(augmentations, dict.fromkeys(range(3), 1 / 3)) < 13.8  # 2 degrees
    both = Counter((one.augmentation, one.syn_key) for one in found)
    assert chi_square(both, {(at, key): 1 / 6 for at in range(3) for key in SYN}) < 20.5  # 5 degrees: independent
    assert not any(one.replace for one in found)


def test_a_choice_depends_on_seed_epoch_and_sample_alone():
    one = choose(Sampling(3), 7, ("0.tar", "a"), 30, SYN)
    assert choose(Sampling(3), 7, ("0.tar", "a"), 30, SYN) == one
    for other in ((Sampling(4), 7, "a"), (Sampling(3), 8, "a"), (Sampling(3), 7, "b")):
        rule, _, key = other
        again = [choose(rule, other[1] + 100 * more, ("0.tar", key), 30, SYN) for more in range(4)]
        assert again != [choose(Sampling(3), 7 + 100 * more, ("0.tar", "a"), 30, SYN) for more in range(4)]
    # Captions are the same where there are no augmentations to choose.
    assert choose(Sampling(3), 7, ("0.tar", "a"), 0, SYN)[1:] == one[1:]


def test_sequential_goes_round_by_epoch_and_leaves_the_key_random():
    found = choices(Sampling(sequential=True), epochs=range(60))
    for epoch, one in enumerate(found):
        assert one.augmentation == epoch % 3
        assert one.caption == epoch % len(SYN[one.syn_key])
    assert 15 < Counter(one.syn_key for one in found)["syn_text"] < 45


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_synthetic_caption_takes_the_ground_truths_place_in_its_share(share):
    replaced = sum(one.replace for one in choices(Sampling(mix_synthetic=share)))
    assert abs(replaced - COUNT * share) <= 4 * math.sqrt(COUNT * share * (1 - share))


def test_keys_match_from_their_start_as_the_trainers_expression_does():
    keys = {"syn_text": ["a"], "syn_text_dfn_mscoco38k": ["b"], "my_syn_text": ["c"], "syn_captions": ["d"]}
    assert matching(Sampling(), keys) == ["syn_text", "syn_text_dfn_mscoco38k"]
    assert matching(Sampling(syn_keys="^syn_text_dfn_mscoco38k$"), keys) == ["syn_text_dfn_mscoco38k"]
    assert matching(Sampling(syn_keys="syn_text$"), keys) == ["syn_text"]
    assert matching(Sampling(syn_keys=None), keys) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"syn_keys": "("}, "no regular expression"),
        ({"mix_synthetic": 1.5}, "between 0 and 1"),
        ({"mix_synthetic": 0.5, "syn_keys": None}, "one of them"),
    ],
)
def test_mistakes_are_said(options, said):
    with pytest.raises(UserError, match=said):
        Sampling(**options)
