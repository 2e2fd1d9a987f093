"""A held set against the dataset that reads shards sample by sample: the same numbers, and what is left out."""

import json

import numpy as np
import pytest
import torch

from captioners.core.errors import UserError
from captioners.images.preprocess import Preprocess
from captioners.reinforcement.dataset import ReinforcedDataset, StudentTransform
from captioners.reinforcement.held import hold, open_held, teachers_of
from captioners.reinforcement.sampling import Sampling, choose
from tests.reinforcement.trained import SYN, key_of, sample, write

SIZE = (48, 48)
PREPROCESS = Preprocess({"size": 48})


def held(folder, cache, **options):
    return hold([str(folder)], cache, SIZE, "bicubic", **{"most_bytes": 10**9, **options})


def tokenize(text):
    return torch.tensor([[*text.encode()[:40], *[0] * (40 - len(text.encode()[:40]))]])


@pytest.mark.parametrize(("layout", "form"), [("split", "npz"), ("legacy", "pth.gz")])
def test_it_gives_the_numbers_of_the_dataset(tmp_path, layout, form):
    syn = SYN if layout == "split" else {"syn_text": SYN["syn_text"]}
    write(tmp_path / "set", {key_of(at): sample(at, layout, form, syn=syn) for at in range(5)})
    found = held(tmp_path / "set", tmp_path / "cache")
    dataset = ReinforcedDataset([str(tmp_path / "set")], tokenize, StudentTransform(SIZE), Sampling(3))
    assert len(found) == 5 and found.keys == list(syn)
    for epoch in range(4):
        dataset.set_epoch(epoch)
        for at in range(5):
            example = dataset[at]
            choice = choose(Sampling(3), epoch, found.names[at], 4, found.captions[at])
            caption = found.captions[at][choice.syn_key][choice.caption]
            pixels = torch.from_numpy(np.array(found.pixels[at, choice.augmentation]))
            assert torch.equal(PREPROCESS.normalised(pixels[None])[0], example.image)
            assert torch.equal(tokenize(found.caption_texts[caption])[0], example.syn_text)
            assert torch.equal(tokenize(found.texts[at])[0], example.text)
            for rows, theirs in (
                (found.image_emb[at, choice.augmentation], example.image_emb),
                (found.text_emb[at], example.text_emb),
                (found.caption_emb[caption], example.syn_text_emb),
            ):
                assert np.array_equal(rows, theirs.numpy())


def test_it_is_decoded_once_and_again_when_shards_or_size_change(tmp_path):
    write(tmp_path / "set", {key_of(at): sample(at) for at in range(2)})
    said = []
    first = held(tmp_path / "set", tmp_path / "cache", say=said.append)
    again = held(tmp_path / "set", tmp_path / "cache", say=said.append)
    assert len(said) == 1 and np.array_equal(first.pixels, again.pixels)
    assert open_held(tmp_path / "cache").names == first.names
    write(tmp_path / "set", {key_of(at): sample(at) for at in range(3)}, config=False)
    assert len(held(tmp_path / "set", tmp_path / "cache", say=said.append)) == 3
    hold([str(tmp_path / "set")], tmp_path / "cache", (32, 32), "bicubic", most_bytes=10**9, say=said.append)
    assert len(said) == 3


def test_equal_texts_of_a_sample_are_one_caption(tmp_path):
    syn = {"syn_text": ["a dog", "a dog", "a cat"], "syn_text_b": ["a cat"]}
    write(tmp_path / "set", {key_of(0): sample(0, syn=syn), key_of(1): sample(1, syn=syn)})
    found = held(tmp_path / "set", tmp_path / "cache")
    assert found.captions == [
        {"syn_text": [0, 0, 1], "syn_text_b": [1]},
        {"syn_text": [2, 2, 3], "syn_text_b": [3]},
    ]
    assert found.caption_texts == ["a dog 0", "a cat 0", "a dog 1", "a cat 1"] and len(found.caption_emb) == 4


def test_what_cannot_be_trained_on_is_left_out_with_its_reason(tmp_path):
    samples = {key_of(at): sample(at) for at in range(5)}
    samples[key_of(1)]["jpg"] = b"no picture"
    del samples[key_of(2)]["paug.json"]
    samples[key_of(3)] = sample(3, augmentations=3)
    write(tmp_path / "set", samples)
    found = held(tmp_path / "set", tmp_path / "cache")
    assert [key for _, key in found.names] == [key_of(0), key_of(4)]
    assert len(found.pixels) == len(found.meta) == len(found.texts) == 2 and found.num_left_out == 3
    assert all(key_of(at) in reason for at, reason in zip((1, 2, 3), found.left_out, strict=True)), found.left_out
    assert "captioners reinforce" in found.left_out[1] and "3 x 8 where the first sample has 4 x 8" in found.left_out[2]


def test_what_does_not_fit_or_is_not_reinforced_is_refused(tmp_path):
    write(tmp_path / "set", {key_of(0): sample(0)})
    with pytest.raises(UserError, match=r"takes 0\.0 GB .*raise cache_gb"):
        held(tmp_path / "set", tmp_path / "cache", most_bytes=1000)
    bare = {name: data for name, data in sample(0).items() if name not in ("npz", "paug.json")}
    write(tmp_path / "bare", {key_of(0): bare})
    with pytest.raises(UserError, match=r"nothing can be trained on .*captioners reinforce makes such shards"):
        held(tmp_path / "bare", tmp_path / "cache")


def test_the_teachers_are_those_of_the_configuration(tmp_path):
    write(tmp_path, {key_of(0): sample(0)})
    assert teachers_of([str(tmp_path)]) == [(5, 70.0), (3, 60.0)]
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "teachers": "two"}))
    with pytest.raises(UserError, match='lacks "teachers"'):
        teachers_of([str(tmp_path)])
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json: not found; captioners reinforce writes it"):
        teachers_of([str(tmp_path)])
