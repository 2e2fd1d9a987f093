"""captioners/jobs/measure with a frozen judge, against its own features taken one by one."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from captioners.core.errors import UserError
from captioners.data.caption_sets import CaptionSet, Part, sets_of_run
from captioners.data.drawn_render import jpeg
from captioners.data.drawn_voices import captions
from captioners.images.decode import read_image
from captioners.jobs.measure.table import MeasureOptions, measure_sets
from captioners.kinds.scorer import open_scorer
from captioners.metrics.alignment import PREFIX, clip_score, ref_clip_score, retrieved
from tests.jobs.drawn_runs import SEED, drawn_run, says, scene_of, voice
from tests.kinds.test_scorer import write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return f"local-dir:{write_clip(tmp_path_factory.mktemp('clip'))[0]}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    members = {"short": voice("short", 3), "greedy": voice("detailed", 1)}
    return drawn_run(tmp_path_factory.mktemp("drawn") / "run", members, count=12, part=8)


@pytest.fixture(scope="module")
def table(run, clip):
    return measure_sets(sets_of_run(run.url), MeasureOptions(workers=1, clip=clip, references="own", all_metrics=True))


def features(run, clip, member):
    """Keys, [B, D] of pictures, and of each the texts."""
    rows = run.captions([member]).to_pandas().sort_values(["key", "draw"])
    said = rows.groupby("key")["text"].apply(list).to_dict()
    judge = open_scorer(clip)
    pictures = judge.image_features([read_image(jpeg(scene_of(key))).image for key in said])
    return judge, pictures, said


def value(table, row, metric):
    return next(found for found in table.rows if found.name == row).cells[metric].interval.value


def test_scores_are_those_of_single_captions(run, clip, table):
    for member in ("short", "greedy"):
        judge, pictures, said = features(run, clip, member)
        scores, with_references = [], []
        for picture, (key, texts) in zip(pictures, said.items(), strict=True):
            vectors = judge.text_features([PREFIX + text for text in texts])
            told = [PREFIX + text for text in captions(scene_of(key), "short", 3, SEED)]
            both = np.stack([picture] * len(texts))
            scores.append(clip_score(both, vectors))
            with_references.append(ref_clip_score(both, vectors, [judge.text_features(told)] * len(texts)).mean())
        assert value(table, member, "CLIPScore") == pytest.approx(np.mean([one.mean() for one in scores]), abs=1e-6)
        assert value(table, member, "RefCLIPScore") == pytest.approx(np.mean(with_references), abs=1e-6)
        m = min(3, len(scores[0]))
        best = [np.mean([max(some) for some in combinations(one, m)]) for one in scores]
        assert value(table, member, "CLIPScore, best of m") == pytest.approx(np.mean(best), abs=1e-6)


def test_distance_is_over_pairs_and_as_a_share_of_that_between_images(run, clip, table):
    judge, _, said = features(run, clip, "short")
    units = []
    for texts in said.values():
        vectors = judge.text_features(texts)
        units.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    within = np.mean([[1 - a @ b for a, b in combinations(one, 2)] for one in units])
    between = np.mean([[1 - a @ b for a in one for b in other] for one, other in combinations(units, 2)])
    assert value(table, "short", "embedding distance") == pytest.approx(within, abs=1e-6)
    assert value(table, "short", "relative embedding distance") == pytest.approx(within / between, abs=1e-5)
    greedy = next(row for row in table.rows if row.name == "greedy")
    assert greedy.cells["relative embedding distance"].why == "one caption an image"


def test_images_are_found_again_as_one_by_one(run, clip, table):
    judge, pictures, said = features(run, clip, "short")
    found = np.array(
        [retrieved(pictures, judge.text_features([texts[k] for texts in said.values()]), 5) for k in range(3)]
    )
    assert value(table, "short", "self-retrieval R@5 of 12") == pytest.approx(found.mean())
    assert value(table, "short", "self-retrieval union R@5 of 12") == pytest.approx(found.any(axis=0).mean())


def test_a_second_call_asks_the_judge_nothing(run, clip, table, monkeypatch):
    from captioners.kinds.scorer import OpenClipScorer

    for name in ("image_features", "text_features"):
        monkeypatch.setattr(OpenClipScorer, name, lambda *_: pytest.fail("measured again"))
    options = MeasureOptions(workers=1, clip=clip, references="own", all_metrics=True)
    assert measure_sets(sets_of_run(run.url), options).as_json() == table.as_json()


def test_a_judge_of_its_own_cause_is_refused_before_anything_is_measured(tmp_path, clip):
    run = drawn_run(tmp_path / "run", {"short": voice("short", 2)}, count=4, tower=open_scorer(clip).tower_digest)
    with pytest.raises(UserError, match="has the image tower of short, which it is to judge"):
        measure_sets(sets_of_run(run.url), MeasureOptions(workers=1, clip=clip))
    assert not Path(run.url, "measures").exists()


def test_pictures_that_are_gone_have_no_score(tmp_path, clip):
    run = drawn_run(tmp_path / "run", {"short": voice("short", 2)}, count=4, part=4)
    name = next(run.entries()).file
    table = run.rows(next(run.entries()))
    digests = [
        "0" * 64 if row["key"] == "00000001" else row["image_sha256"]
        for row in table.select(["key", "image_sha256"]).to_pylist()
    ]
    place = table.schema.get_field_index("image_sha256")
    changed = table.set_column(place, table.schema.field(place), [digests])
    pq.write_table(changed, Path(run.url, name))
    found = measure_sets([CaptionSet("short", (Part(run.url, "short"),))], MeasureOptions(workers=1, clip=clip))
    cells = found.rows[0].cells
    assert (cells["CLIPScore"].interval.count, cells["Div-1"].interval.count) == (3, 4)


def test_one_caption_for_all_images_has_no_relative_distance(tmp_path, clip):
    run = drawn_run(tmp_path / "run", {"one": says(["a red circle here", "a red circle here"])}, count=4, part=4)
    cells = measure_sets(sets_of_run(run.url), MeasureOptions(workers=1, clip=clip, all_metrics=True)).rows[0].cells
    assert cells["embedding distance"].interval.value == pytest.approx(0, abs=1e-6)
    assert cells["relative embedding distance"].why == "undefined for every image"
    assert cells["self-retrieval R@1 of 4"].interval.value <= 0.25
