"""Decodings as recipes write them: short forms, presets, and a refusal for everything else."""

import pytest

from captioners.core.errors import UserError
from captioners.decoding.values import Beam, Sample, decoding_names, draws_problem, parse_decoding


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sample", Sample()),
        ("beam", Beam()),
        ("greedy", Beam(width=1)),
        ("diverse_beam", Beam(width=6, groups=3, diversity_penalty=0.5)),
        ("raygen", Sample(top_p=0.9, max_tokens=28, min_tokens=4, cut="first_sentence")),
        ({"top_p": 0.9}, Sample(top_p=0.9)),
        ({"top_k": 50, "top_p": 0.9, "temperature": 0.7}, Sample(top_k=50, top_p=0.9, temperature=0.7)),
        ({"min_p": 0.05}, Sample(min_p=0.05)),
        ({"sample": {"top_k": 5}}, Sample(top_k=5)),
        ({"sample": None}, Sample()),
        ({"beam": {"width": 4}}, Beam(width=4)),
        ({"width": 4}, Beam(width=4)),
        ({"diverse_beam": {"diversity_penalty": 2.0}}, Beam(width=6, groups=3, diversity_penalty=2.0)),
        ({"strategy": "beam", "length_penalty": 0.0}, Beam(length_penalty=0.0)),
        (Beam(width=2), Beam(width=2)),
    ],
    ids=str,
)
def test_short_forms_mean_what_they_say(written, meant):
    assert parse_decoding(written) == meant


@pytest.mark.parametrize(
    ("written", "match"),
    [
        ("top_p", "'top_p' needs a value, such as {top_p: 0.9}"),
        ("topp", "no decoding is named 'topp'.*top_p"),
        ({"top_p": 1.5}, "top_p: .*less than or equal to 1"),
        ({"top_p": 0.0}, "top_p: .*greater than 0"),
        ({"min_p": 0.0}, "min_p: .*greater than 0"),
        ({"top_k": 0}, "top_k: "),
        ({"top_k": "50"}, "top_k: .*integer"),
        ({"temperature": 0.0}, "temperature: .*greater than 0"),
        ({"temperature": float("nan")}, "temperature: "),
        ({"temprature": 1.0}, "temprature: "),
        ({"width": 0}, "width: "),
        ({"width": 5, "groups": 2, "diversity_penalty": 1.0}, "width 5 cannot be split into 2 equal groups"),
        ({"width": 4, "groups": 2}, "groups without a diversity_penalty are copies"),
        ({"width": 4, "diversity_penalty": 1.0}, "diversity_penalty needs groups > 1"),
        ({"width": 4, "top_p": 0.9}, "top_p: "),
        ({"top_p": 0.9, "min_tokens": 9, "max_tokens": 8}, "max_tokens 8 is below min_tokens 9"),
        ({"beam": {"min_tokens": -1}}, "min_tokens: "),
        ({"repetition_penalty": 0.0}, "repetition_penalty: "),
        ({"strategy": "nucleus"}, "sample.*beam"),
        (7, "cannot be used"),
        (None, "cannot be used"),
        ([], "cannot be used"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_in_one_line(written, match):
    with pytest.raises(UserError, match=match) as refusal:
        parse_decoding(written)
    assert "\n" not in str(refusal.value)


def test_every_mistake_is_named_at_once():
    with pytest.raises(UserError) as refusal:
        parse_decoding({"top_p": 2.0, "top_k": -1, "temprature": 1})
    assert all(name in str(refusal.value) for name in ("top_p", "top_k", "temprature"))


def test_every_name_is_known():
    for name in decoding_names():
        if name in ("top_p", "top_k", "min_p"):
            assert isinstance(parse_decoding({name: 1}) if name == "top_k" else parse_decoding({name: 0.5}), Sample)
        else:
            parse_decoding(name)


def test_more_captions_than_beams_are_a_problem():
    assert "cannot give 3 captions" in draws_problem(Beam(width=2), 3)
    assert draws_problem(Beam(width=3), 3) is None
    assert draws_problem(Sample(), 100) is None
