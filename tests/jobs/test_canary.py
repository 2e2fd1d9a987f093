"""The canary: a worker that says otherwise than the run's first one is out, and rounding alone is no drift."""

import re
from copy import deepcopy
from dataclasses import replace
from functools import cache

import pytest

from captioners.core.errors import WorkerOutError
from captioners.core.storage import Place
from captioners.jobs.generate import canary
from captioners.jobs.generate.canary import drift, look
from captioners.jobs.generate.provenance import environment_of
from captioners.jobs.generate.station import Station


@cache
def captioner():
    from captioners.kinds.coca import CocaCaptioner

    found = CocaCaptioner("random-tiny")
    found.open(None)
    return found


def test_the_same_captioner_may_look_as_often_as_it_likes(tmp_path):
    environment = environment_of(captioner())
    for _ in range(2):
        look(Place(tmp_path), captioner(), environment)
    assert len(list(Place(tmp_path).names("canary"))) == 1


class Drifted:
    """The captioner on a device whose sums come out a little otherwise."""

    info = property(lambda self: captioner().info)
    accepts = property(lambda self: captioner().accepts)

    def caption(self, requests):
        return (replace(result, logprob=result.logprob + 1e-6) for result in captioner().caption(requests))


def test_a_last_digit_takes_the_worker_of_an_exact_captioner_out_and_device_and_driver_are_named(tmp_path):
    environment = environment_of(captioner())
    look(Place(tmp_path), captioner(), environment)
    with pytest.raises(WorkerOutError, match=r"captions the canary photos otherwise here \(\w+: log-prob") as caught:
        look(Place(tmp_path), Drifted(), environment)
    assert re.search(r"float32, torch \d.*(driver of|Linux|Darwin)", str(caught.value))
    assert "first was" in str(caught.value)
    look(Place(tmp_path), Drifted(), environment | {"device": "another"})  # there it may round otherwise


SAID = {photo: {"text": f"a {photo}", "logprob": -10.0, "num_tokens": 9} for photo in canary.PHOTOS}


def test_drift_is_what_rounding_does_not_do():
    def changed(**photos):
        now = deepcopy(SAID)
        for photo, fields in photos.items():
            now[photo].update(fields)
        return now

    near = {"cat": {"logprob": -10.005}}
    far = {"cat": {"logprob": -10.02}}
    tie = {"cat": {"text": "a dog", "logprob": -11.0}}
    assert drift(SAID, changed(**near), 1e-3) == "" and "log-probability -10.02" in drift(SAID, changed(**far), 1e-3)
    assert drift(SAID, changed(**tie), 1e-3) == "", "one photo may meet a near tie"
    assert "'a dog'" in drift(SAID, changed(**tie, coffee={"text": "a tea"}), 1e-3)
    assert drift(SAID, SAID, 0.0) == ""
    assert drift(SAID, changed(**near), 0.0) and drift(SAID, changed(**tie), 0.0), "in one environment, bit for bit"


def test_it_is_due_at_the_start_of_each_pass_and_every_so_many_units():
    station, due = Station(), []
    for unit in range(7):
        due.append(station.canary_due(0, 3))
        station.stored()
        assert station.round(3) == (unit + 1) // 3
    assert due == [True, False, False, True, False, False, True]
    assert station.canary_due(1, 3) and not station.canary_due(1, 0)
