"""captioners/data/told.py: a copy of a run without its pictures is read by what was written down."""

import pytest

from captioners.core.errors import NotFoundError
from captioners.core.run_dir import RunDir
from captioners.data.run_pictures import RunPictures
from captioners.data.source import Sample
from captioners.data.told import ABOUT, Told, about, told_rows

SHARD = "images/00000.tar"


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path)
    run.begin({"source": {"kind": "gone"}})
    run.freeze([{"path": SHARD, "size": 1, "stamp": "", "count": 3, "where": {}}])
    return run


def samples(count=3):
    for index in range(count):
        captions = ("a dog", 'says "Öl"') if index else ()
        yield Sample(shard=SHARD, key=f"{index}", index=index, image=b"picture", captions=captions, meta={"n": [index]})


def test_samples_come_back_without_their_pictures(run):
    for name, data in (about(), told_rows(SHARD, samples())):
        run.place.write(name, data)
    found = list(RunPictures(run).samples(SHARD, 1))
    assert [(one.key, one.index, one.captions, one.meta) for one in found] == [
        ("1", 1, ("a dog", 'says "Öl"'), {"n": [1]}),
        ("2", 2, ("a dog", 'says "Öl"'), {"n": [2]}),
    ]
    assert {one.image for one in found} == {b""}
    assert [one.index for one in RunPictures(run).samples(SHARD, 0, 1)] == [0]


def test_a_picture_is_not_there_and_a_strange_shard_is_none_of_the_run(run):
    run.place.write(*about())
    with pytest.raises(NotFoundError, match="came without its pictures"):
        RunPictures(run).image({"shard": SHARD, "key": "0", "offset": None, "size": 1, "image_sha256": ""})
    with pytest.raises(NotFoundError, match="not among the run's frozen inputs"):
        list(RunPictures(run).samples("other.tar"))


def test_a_run_with_its_pictures_is_read_from_its_source(run):
    assert not run.place.exists(ABOUT)
    assert not Told(run).there


def test_the_same_samples_give_the_same_bytes():
    assert told_rows(SHARD, samples()) == told_rows(SHARD, samples())
