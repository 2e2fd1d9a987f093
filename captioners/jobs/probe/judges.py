"""What students are judged by: tasks on pictures that none of them was trained on, each a number from 0 to 1."""

from collections.abc import Iterable, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Protocol

from captioners.core.errors import UserError
from captioners.data.drawn_scene import Scene
from captioners.images.preprocess import Preprocess
from captioners.jobs.probe.command import CommandJudge
from captioners.jobs.probe.drawn import DrawnJudge
from captioners.jobs.probe.real import RetrievalJudge, ZeroShotJudge, states
from captioners.jobs.probe.student import Student
from captioners.jobs.recipes.probe import AVERAGE, Command, Drawn, Evaluation, Retrieval, ZeroShot


class Judge(Protocol):
    """A group of tasks on the same pictures."""

    @property
    def chance(self) -> Mapping[str, float]:
        """What each task comes to without looking; nan where that is not known."""

    @property
    def headline(self) -> Sequence[str]:
        """The tasks that go into the average."""

    def __call__(self, student: Student) -> dict[str, float]:
        """Return the student's number for each task."""


class Judges:
    """All tasks of a probe, and their average.

    Args:
        folder: where decoded pictures are kept, for later students and other processes.

    Raises:
        UserError: a source has no pictures, or no labels as its task needs them.
    """

    def __init__(self, evaluation: Sequence[Evaluation], preprocess: Preprocess, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._judges = [_open(one, preprocess, folder) for one in evaluation]

    def refuse_leaks(self, scenes: Iterable[Scene]) -> None:
        """Raise UserError where students would be judged on scenes that they are trained on."""
        asked = frozenset[str]().union(*(one.content for one in self._judges if isinstance(one, DrawnJudge)))
        both = asked & {one.content_key for one in scenes}
        if both:
            raise UserError(
                f"evaluation drawn: {len(both):,} of its scenes are among the pictures that students train on; caption "
                "another split (source.split=caption)"
            )

    @property
    def chance(self) -> dict[str, float]:
        """What each task comes to without looking; nan where that is not known."""
        return self._with_average({task: value for judge in self._judges for task, value in judge.chance.items()})

    def __call__(self, student: Student) -> dict[str, float]:
        """Return the student's number for each task, `average` first if there is one."""
        return self._with_average({task: value for judge in self._judges for task, value in judge(student).items()})

    def _with_average(self, found: dict[str, float]) -> dict[str, float]:
        of = [found.get(task, nan) for judge in self._judges for task in judge.headline]
        return {AVERAGE: sum(of) / len(of), **found} if of else found


def states_of(one: Evaluation) -> Sequence[tuple[str, int, str]]:
    """Return what tells whether the pictures of a task are still the same, as far as they lie in files."""
    return states(one) if isinstance(one, ZeroShot | Retrieval) else ()


def _open(one: Evaluation, preprocess: Preprocess, folder: Path) -> Judge:
    if isinstance(one, Drawn):
        return DrawnJudge(one, preprocess, folder)
    if isinstance(one, ZeroShot):
        return ZeroShotJudge(one, preprocess, folder)
    if isinstance(one, Retrieval):
        return RetrievalJudge(one, preprocess, folder)
    assert isinstance(one, Command)
    return CommandJudge(one)
