"""captioners/jobs/probe/teacher.py: one that is there is taken if it was trained as asked, else refused."""

import shutil

import pytest

from captioners.core.errors import UserError
from captioners.jobs.probe.teacher import train_teacher
from tests.jobs import probing


def test_another_number_of_steps_is_not_passed_over(tmp_path):
    asked = {"student": probing.STUDENT, "scenes": 4, "batch_size": 2}
    first = train_teacher(tmp_path / "teacher", steps=1, **asked)
    assert train_teacher(tmp_path / "teacher", steps=1, **asked) == first
    with pytest.raises(UserError, match="was trained with steps 1, and 2 is asked; remove it"):
        train_teacher(tmp_path / "teacher", steps=2, **asked)
    made = (first / "made_by.json").read_text()
    for damaged in (made[:-9], "[1]"):
        (first / "made_by.json").write_text(damaged)
        with pytest.raises(
            UserError, match=r"teacher .*: damaged, so nobody knows how it was trained; remove that fol"
        ):
            train_teacher(tmp_path / "teacher", steps=1, **asked)


def test_one_of_an_earlier_version_is_to_be_trained_again_and_comes_out_the_same(tmp_path):
    """Its message told to remove a file that was not there; the folder is what has to go."""
    asked = {"student": probing.STUDENT, "scenes": 4, "batch_size": 2, "steps": 1}
    teacher = train_teacher(tmp_path / "teacher", **asked)
    weights = {file.name: file.read_bytes() for file in teacher.iterdir()}
    (teacher / "made_by.json").unlink()
    with pytest.raises(
        UserError, match=r"teacher .*/teacher: has no made_by\.json, as those of earlier versions,.*"
    ) as e:
        train_teacher(teacher, **asked)
    assert "remove that folder, and the same command trains it again" in str(e.value)
    shutil.rmtree(teacher)
    train_teacher(teacher, **asked)
    assert {file.name: file.read_bytes() for file in teacher.iterdir()} == weights
