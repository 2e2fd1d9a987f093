"""When training ends early: no better captions for a while, or one caption for everything."""

import json
from dataclasses import asdict

import pytest

from captioners.core.errors import NeedsLookError
from captioners.jobs.train.data import HeldOut
from captioners.jobs.train.evaluation import Evaluator, Look, read_looks

CAPTIONS = [(f"a thing of the number {number}",) for number in range(10)]
VAL = HeldOut([f"{number}.jpg" for number in range(10)], [None] * 10, CAPTIONS)


def look(step, cider, commonest=0.1):
    return Look(step=step, cider_d=cider, loss=1.0, distinct=1.0, commonest=commonest, length=5.0, captions=["a cat"])


def evaluator(folder, looks, *, val=VAL, patience=2, steps=100, writes=True):
    lines = "".join(json.dumps(asdict(one)) + "\n" for one in looks)
    (folder / "evaluations.jsonl").write_text(lines)
    return Evaluator(
        None, val, lambda: 1.0, folder, steps=steps, device="cpu", patience=patience, shown=1, writes=writes
    )


def test_it_ends_when_captions_get_no_better(tmp_path):
    rising = [look(0, 0.9), look(5, 0.5), look(10, 0.6), look(15, 0.6)]
    assert evaluator(tmp_path, rising).verdict() is None
    said = evaluator(tmp_path, [*rising, look(20, 0.4)]).verdict()
    assert said == "CIDEr-D on val was best after step 10 (0.600) and has not been better in 2 evaluations"
    assert evaluator(tmp_path, [*rising, look(20, 0.4)], patience=3).verdict() is None
    # What it was begun with may be better than the first steps of a warm-up: no reason to end.
    assert evaluator(tmp_path, [look(0, 0.9), look(5, 0.1), look(10, 0.2), look(15, 0.3)]).verdict() is None


def test_one_caption_for_everything_is_a_collapse(tmp_path):
    once = [look(0, 0.5), look(5, 0.1), look(10, 0.2, commonest=1.0)]
    assert evaluator(tmp_path, once).verdict() is None
    with pytest.raises(
        NeedsLookError, match=r"says the same of 90% of the val images \('a cat'\), twice in a row.*lr is"
    ):
        evaluator(tmp_path, [*once, look(15, 0.3, commonest=0.9)]).verdict()
    same = HeldOut(VAL.keys, VAL.pixels, [("a photo",)] * 10)
    assert evaluator(tmp_path, [*once, look(15, 0.3, commonest=0.9)], val=same).verdict() is None  # so do people
    few = VAL.first(3)
    assert evaluator(tmp_path, [*once, look(15, 0.3, commonest=1.0)], val=few).verdict() is None
    unborn = [look(0, 0.0, commonest=1.0), look(5, 0.1, commonest=1.0)]
    assert evaluator(tmp_path, unborn).verdict() is None


def test_looks_of_steps_that_will_be_redone_are_dropped(tmp_path):
    looks = [look(0, 0.1), look(5, 0.2), look(10, 0.3)]
    found = evaluator(tmp_path, looks, steps=7)
    assert [one.step for one in found.looks] == [0, 5]
    assert read_looks(tmp_path / "evaluations.jsonl") == looks[:2]
    (tmp_path / "evaluations.jsonl").write_text(json.dumps(asdict(looks[0])) + '\n{"step": 5, "cid')
    assert read_looks(tmp_path / "evaluations.jsonl") == looks[:1]


def test_a_process_that_does_not_write_leaves_the_file(tmp_path):
    looks = [look(0, 0.1), look(5, 0.2)]
    evaluator(tmp_path, looks, steps=0, writes=False)
    assert read_looks(tmp_path / "evaluations.jsonl") == looks
