"""captioners/jobs/plan/ablating.py: which students are there, where settings were changed."""

from dataclasses import replace

from captioners.jobs.plan.ablating import _students
from captioners.jobs.probe.results import Trained, append


def test_students_of_an_earlier_setting_do_not_count(tmp_path):
    folder = tmp_path / "probe"
    folder.mkdir()
    assert _students(tmp_path) == {}
    one = Trained("a", 0, 0.0, "first", "w", 1.0, {"average": 0.5})
    for seed in (0, 1, 2):
        append(folder, replace(one, seed=seed))
    assert _students(tmp_path) == {"a": 3}
    append(folder, replace(one, run="second"))
    assert _students(tmp_path) == {"a": 1}
    (folder / "used.jsonl").write_text(one.lines())
    assert _students(tmp_path) == {"a": 3}, "it was changed back"
