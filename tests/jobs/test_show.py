"""captioners/jobs/runs/show.py: a sample by its key, with what is known of it; near keys, shards, quarantine."""

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.jobs.runs.show import show
from tests.runs_fixture import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("show"))


def test_a_sample_shows_every_member_s_rows_with_their_provenance(run):
    sample = show(run, "drawn/0005")
    assert (sample.shard, sample.key, sample.quarantine) == ("drawn", "drawn/0005", None)
    assert [shown.member for shown in sample.members] == ["brief", "broad"]
    broad = sample.members[1]
    stored = [row for row in run.captions(["broad"]).to_pylist() if row["key"] == "drawn/0005"]
    assert list(broad.rows) == stored
    assert [(row["draw"], row["attempt"], row["keep"]) for row in broad.rows] == [(0, 2, False), (1, 2, False)]
    layer = next(layer for layer in run.layers() if layer.name == "broad")
    assert (broad.captioner, broad.weights) == ("random-broad", layer.meaning["weights"])
    assert broad.decoding == "sample, top_p 0.9"
    assert broad.environment["torch"] == "2.9.0"


def test_a_sample_of_the_second_part_is_found_too(run):
    assert show(run, "drawn/0017").members[0].rows[0]["index"] == 18


def test_shard_and_key_together_name_it_as_well(run):
    assert show(run, "drawn:drawn/0005") == show(run, "drawn/0005")


def test_a_sample_that_could_not_be_read_shows_why(run):
    sample = show(run, "photos/broken")
    assert (sample.shard, list(sample.members)) == ("photos", [])
    assert sample.quarantine["reason"] == "truncated"
    assert show(run, "photos:photos/broken") == sample


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("photos/cofee", "Did you mean 'photos/coffee'"),
        ("drawn:drawn/005", "'drawn/0005'"),
        ("xyz", "captioners status"),
    ],
)
def test_an_unknown_key_is_refused_with_near_ones(run, key, says):
    with pytest.raises(NotFoundError, match="has no sample") as error:
        show(run, key)
    assert says in str(error.value)


def test_a_key_of_several_shards_must_be_said_with_its_shard(run, monkeypatch):
    record = {"shard": "photos", "key": "drawn/0005", "index": 9, "reason": "empty", "error": "of another shard"}
    monkeypatch.setattr(run, "quarantine", lambda: [record])
    with pytest.raises(UserError, match="2 shards have a sample 'drawn/0005'; say which: 'drawn:drawn/0005', 'photos:"):
        show(run, "drawn/0005")
    assert show(run, "drawn:drawn/0005").quarantine is None
    assert show(run, "photos:drawn/0005").quarantine == record
