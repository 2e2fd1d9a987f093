"""captioners/jobs/probe/teacher.py: one that is there is taken if it was trained as asked, else refused."""

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
    (first / "made_by.json").unlink()
    with pytest.raises(UserError, match="nobody knows how this teacher was trained"):
        train_teacher(tmp_path / "teacher", steps=1, **asked)
