"""captioners/jobs/measure where numbers could be stale, of other images, or missing without a word."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from captioners.data.caption_sets import CaptionSet, Part, sets_of_run
from captioners.jobs.measure.table import MeasureOptions, measure_sets
from tests.jobs.drawn_runs import drawn_run, voice
from tests.kinds.test_scorer import write_clip

HERE = MeasureOptions(workers=1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return f"local-dir:{write_clip(tmp_path_factory.mktemp('clip'))[0]}"


def one(run, member, draws=None):
    return CaptionSet(member, (Part(run.url, member, draws),))


def options(**told):
    return MeasureOptions(workers=1, **told)


def cell(table, row, metric):
    return next(found for found in table.rows if found.name == row).cells[metric]


def test_each_image_has_its_own_number(tmp_path, clip):
    run = drawn_run(tmp_path / "run", {"short": voice("short", 2)}, count=12, part=6)
    table = measure_sets(sets_of_run(run.url), options(clip=clip, all_metrics=True))
    found = table.per_image().to_pandas().set_index("key")["self-retrieval R@5 of 12"]
    [pool] = Path(run.url, "measures/retrieval").glob("*.parquet")
    expected = pq.read_table(pool).to_pandas().set_index("key")["mean_5"]
    assert found.nunique() > 1 and found.to_dict() == expected.to_dict()
