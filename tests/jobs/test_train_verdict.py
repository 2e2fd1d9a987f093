"""The scorer of the closing comparison is tried before a run begins."""

import pytest

from captioners.core.errors import CaptionersError, UserError
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.train.start import start_of
from captioners.jobs.train.verdict import check_scorer


def _recipe(**changes):
    given = {"init": "demo", "source": {"kind": "drawn", "voice": "short"}, "steps": 1, "batch_size": 4}
    return FinetuneRecipe.model_validate({**given, "split": {"val": 0.1, "test": 0.1}, "device": "cpu", **changes})


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    recipe = _recipe()
    return start_of(recipe, recipe.source.open(), tmp_path_factory.mktemp("run"))


def test_a_scorer_with_the_tower_that_it_is_to_judge_is_refused(start):
    with pytest.raises(UserError, match="scorer demo: has the image tower of demo, which it is to judge; name another"):
        check_scorer(_recipe(scorer="demo"), start, print)


def test_a_scorer_that_is_none_is_refused(start):
    with pytest.raises(CaptionersError, match="no-such-model"):
        check_scorer(_recipe(scorer="no-such-model"), start, print)


def test_without_one_nothing_is_opened_and_without_test_images_that_is_said(start):
    said = []
    check_scorer(_recipe(), start, said.append)
    assert said == []
    check_scorer(_recipe(scorer="demo", split=None), start, said.append)
    assert said == ["scorer demo: has nothing to judge, because split.test holds no image out"]
