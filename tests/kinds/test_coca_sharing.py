"""Captioners of one image tower: one encode serves all, and nobody's captions change a bit by it."""

from copy import deepcopy

import pytest
import torch

from captioners.core.errors import CaptionersError
from captioners.core.package_data import SAMPLES
from captioners.core.seeds import Stream
from captioners.decoding.values import Beam, Sample
from captioners.images.decode import read_image
from captioners.kinds import loading
from captioners.kinds.captioner import Request
from captioners.kinds.catalogue import find
from captioners.kinds.coca import CocaCaptioner
from captioners.models import coca

PHOTOS = [read_image(path) for path in sorted(SAMPLES.glob("*.jpg"))[:5]]


def voice(seed, **changes):
    """A fine-tune of random-tiny: its image tower, and a text side of its own."""
    loaded = loading.load(find("random-tiny"))
    config = {**loaded.coca.model_cfg, **changes}
    model = coca.build(config, seed)
    model.visual = deepcopy(loaded.coca.model.visual)
    parts = coca.LoadedCoCa(model, config)
    return CocaCaptioner(
        find("random-tiny"),
        loaded=loading.Loaded(parts, loaded.tokenizer, loaded.licences, loaded.recommended),
    )


def opened(*voices):
    for captioner in voices:
        captioner.open(10**9)
    return voices


DECODINGS = [Sample(top_k=40, max_tokens=5, min_tokens=0), Beam(width=3, max_tokens=5, min_tokens=0)]


def requests(name, encodings=None):
    for index, photo in enumerate(PHOTOS):
        for number, decoding in enumerate(DECODINGS):
            yield Request(
                index=10 * index + number, image=photo.image, stream=Stream(0, photo.sha256, name), draws=3,
                decoding=decoding, encodings=None if encodings is None else encodings[index],
            )  # fmt: skip


def captions(captioner, asked):
    return {(r.index, r.draw): (r.text, r.logprob.hex(), r.finish) for r in captioner.caption(asked)}


def interleaved(voices, asked):
    """What each writes, one result at a time in turns, so that their engines are under way together."""
    runs = [captioner.caption(requests_of) for captioner, requests_of in zip(voices, asked, strict=True)]
    found = [{} for _ in runs]
    while any(run is not None for run in runs):
        for number, run in enumerate(runs):
            result = next(run, None) if run is not None else None
            if result is None:
                runs[number] = None
            else:
                found[number][result.index, result.draw] = result.text, result.logprob.hex(), result.finish
    return found


def test_captions_are_the_same_bit_for_bit_whether_an_encode_is_shared_or_not():
    alone = [captions(captioner, requests(f"v{seed}")) for seed, captioner in enumerate(opened(voice(1), voice(2)), 1)]
    assert alone[0] != alone[1] and len(alone[0]) == 2 * 3 * len(PHOTOS)
    one, other = voice(1), voice(2)
    other.share_tower(one)
    opened(one, other)
    encodings = [{} for _ in PHOTOS]
    assert interleaved([one, other], [requests("v1", encodings), requests("v2", encodings)]) == alone
    encoded = [captioner._engine.images_encoded for captioner in (one, other)]
    assert sum(encoded) == len(PHOTOS), "each image once, by whoever came first"
    assert all(len(of_image) == 1 for of_image in encodings)


def test_wrong_encodings_would_show():
    """Negative control: a captioner does use what it finds."""
    (one,) = opened(voice(1))
    encodings = [{} for _ in PHOTOS]
    right = captions(one, requests("v1", encodings))
    for of_image in encodings:
        (found,) = of_image.values()
        found.tokens = found.tokens.flip(0) * 2
    assert captions(one, requests("v1", encodings)) != right
    assert one._engine.images_encoded == len(PHOTOS)


def test_only_what_encodes_alike_shares():
    one, other = voice(1), voice(2)
    assert one.needs.encoding == other.needs.encoding and one.info.weights_digest != other.info.weights_digest
    another = voice(1)
    with torch.no_grad():
        next(another.loaded.model.visual.parameters()).view(-1)[0] += 1e-3
    heads = voice(1, vision_cfg={**one.loaded.model_cfg["vision_cfg"], "head_width": 64})
    assert heads.info.tower_digest == one.info.tower_digest, "heads are in no tensor"
    plain = CocaCaptioner("random-tiny", exact=False)
    bf16 = CocaCaptioner("random-tiny", precision="bf16")
    different = {captioner.needs.encoding for captioner in (one, another, heads, plain, bf16)}
    assert len(different) == 5
    with pytest.raises(CaptionersError, match="not have the same image tower"):
        another.share_tower(one)


def test_what_it_needs_grows_with_what_it_is():
    tiny, long = voice(1).needs, CocaCaptioner("random-tiny", context_length=255).needs
    assert (tiny.tower, tiny.fit) == (long.tower, long.fit) and tiny.mapped
    assert long.caches > tiny.caches > 1 << 28
    model = voice(1).loaded.model
    assert tiny.tower == sum(p.numel() * 4 for p in model.visual.parameters())
    whole = sum(p.numel() * 4 for p in model.parameters())
    assert tiny.tower + tiny.weights == whole + 49408 * 64 * 4, "and the vocabulary once more, row by row"


def test_threads_are_set_only_while_a_captioner_works():
    one, other = opened(voice(1), voice(2))
    torch.set_num_threads(12)
    try:
        first, second = one.caption(requests("v1")), other.caption(requests("v2"))
        next(first), next(second)
        assert torch.get_num_threads() == 12
        first.close()
        assert torch.get_num_threads() == 12
        second.close()
    finally:
        torch.set_num_threads(1)
