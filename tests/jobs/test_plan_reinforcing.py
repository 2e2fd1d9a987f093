"""What a recipe of `reinforce` will write, told before it runs."""

import pytest

from captioners.core.errors import UserError
from captioners.jobs.plan.job import plan
from captioners.jobs.reinforce.job import reinforce
from tests.jobs import captioned
from tests.jobs.test_reinforce import recipe


def test_a_published_set_comes_to_what_the_paper_says():
    said = plan("reinforce/dfndr_2b12m", assume=["images=12.8e6", "bytes_per_image=15.6e3"])  # 0.2 TB of images
    whole = said.row("reinforced shards")
    assert whole.low == whole.high == pytest.approx(1.3e12, rel=0.08)
    assert said.row("crops").high == 384e6 and said.row("captions").high == 12.8e6 * 6
    assert said.row("width_0").known == "assumed"


def test_shards_that_are_there_are_counted_and_come_to_what_is_written(tmp_path):
    captioned.write(tmp_path / "in", ("0.tar", "1.tar"), 40)
    changes = [f"source.inputs=['{tmp_path}/in']", f"teachers={captioned.TEACHERS}", "n_aug=3"]
    said = plan("reinforce/dfndr_2b", changes)
    written = reinforce(recipe(tmp_path)).written
    assert (
        said.row("pictures").high == pytest.approx(80, abs=1)
        and said.row("captions").high == said.row("pictures").high * 3
    )
    assert said.row("reinforced shards").high == pytest.approx(written, rel=0.03)


def test_shards_that_are_named_and_not_there_are_not_assumed():
    with pytest.raises(UserError, match="nope"):
        plan("reinforce/dfndr_2b", ["source.inputs=['nope']"])
    assert plan("reinforce/dfndr_2b").row("pictures").known == "assumed"


def test_what_it_does_not_plan_is_refused():
    with pytest.raises(UserError, match="Known: width_0, width_1, images"):
        plan("reinforce/dfndr_2b", assume=["utilisation=1"])
