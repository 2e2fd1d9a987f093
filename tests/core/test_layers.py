"""Layers: the fingerprint hashes the meaning alone, and another meaning under the same name is refused with reasons."""

import hashlib
import json

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.core.layers import Layer, claim, read_layer, read_layers
from captioners.core.storage import Place

MEANING = {"weights": "a" * 64, "decoding": {"top_p": 0.9, "width": None}, "seed": 0}


def layer(name="m", meaning=MEANING, **facts):
    return Layer(name=name, draws=2, meaning=meaning, facts=facts)


def test_the_fingerprint_is_of_the_meaning_and_of_nothing_else():
    text = json.dumps(MEANING, sort_keys=True).encode()
    assert layer().fingerprint == hashlib.sha256(text).hexdigest()
    assert layer(meaning=dict(reversed(MEANING.items())), captioner="other").fingerprint == layer().fingerprint
    assert layer(meaning=MEANING | {"seed": 1}).fingerprint != layer().fingerprint


def test_a_layer_is_claimed_once_and_found_again(tmp_path):
    place = Place(tmp_path)
    claim(place, layer(captioner="c"))
    claim(place, layer(captioner="another package version"))
    found = read_layer(place, "m")
    assert found == layer(captioner="c"), "the first claim stands"
    claim(place, layer("with/slash"))
    assert [each.name for each in read_layers(place)] == ["m", "with/slash"]


def test_another_meaning_under_the_same_name_is_refused_with_what_differs(tmp_path):
    place = Place(tmp_path)
    claim(place, layer())
    other = {"weights": "b" * 64, "decoding": {"top_p": 0.8, "width": None}, "seed": 0}
    with pytest.raises(UserError) as caught:
        claim(place, layer(meaning=other))
    said = str(caught.value)
    assert "member 'm'" in said and "decoding.top_p: 0.9 there, 0.8 here" in said
    assert "weights: aaaaaaaaaaaa… there, bbbbbbbbbbbb… here" in said and "seed" not in said
    assert "a name of its own" in said and "output=" in said
    assert read_layer(place, "m") == layer()


def test_what_is_missing_or_damaged_is_said(tmp_path):
    place = Place(tmp_path)
    with pytest.raises(NotFoundError):
        read_layer(place, "m")
    claim(place, layer())
    place.write("layers/m/layer.json", b"{")
    with pytest.raises(UserError, match="damaged, so the run cannot be continued or read"):
        read_layers(place)
