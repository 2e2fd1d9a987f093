"""captioners/data/drawn_source.py: scenes as samples, without a file."""

import json
from io import BytesIO

import pytest
from PIL import Image
from pydantic import ValidationError

from captioners.core.errors import NotFoundError, UserError
from captioners.data.drawn_render import jpeg
from captioners.data.drawn_scene import SPLITS, from_json, scene
from captioners.data.drawn_source import DrawnOptions, key_of
from captioners.data.drawn_voices import VOICES, captions
from captioners.data.source import sources


def _open(**options):
    return DrawnOptions(**{"split": "eval", "seed": 3, "count": 2500, **options}).open()


def test_the_source_is_filed_under_its_name():
    assert sources.get("drawn") is DrawnOptions


def test_shards_are_a_thousand_scenes_and_a_rest():
    shards = _open().shards()
    assert [shard.path for shard in shards] == ["drawn-eval-3#00000", "drawn-eval-3#00001", "drawn-eval-3#00002"]
    assert [shard.count for shard in shards] == [1000, 1000, 500]
    assert json.loads(json.dumps(shards[1].where)) == shards[1].where == {"first": 1000}


def test_a_sample_is_the_scene_of_its_key():
    source = _open(voice="short", captions=3)
    shard = source.shards()[1]
    stream = source.samples(shard)
    for index in range(3):
        found, drawn = next(stream), scene(3, "eval", 1000 + index)
        assert (found.shard, found.key, found.index) == (shard.path, f"0000{1000 + index}", index)
        assert found.image == jpeg(drawn)
        assert found.captions == tuple(captions(drawn, "short", 3, 3))
        assert found.meta["world"] == 1
        assert from_json(json.loads(json.dumps(found.meta["scene"]))) == drawn
        assert Image.open(BytesIO(found.image)).size == (96, 96)


def test_a_shard_can_be_entered_anywhere_and_ends_where_it_should():
    source = _open(count=1007)
    last = source.shards()[-1]
    whole = list(source.samples(last))
    assert [sample.index for sample in whole] == list(range(7))
    assert list(source.samples(last, 4)) == whole[4:]
    assert list(source.samples(last, 7)) == []


def test_an_image_is_drawn_again_from_its_key_and_no_other_shard_s():
    source = _open()
    first, second, _ = source.shards()
    assert source.image(second, key_of(1500), None, 0) == jpeg(scene(3, "eval", 1500))
    for shard, key in ((first, key_of(1500)), (second, key_of(0)), (first, "1"), (first, "-0000001"), (first, "x")):
        with pytest.raises(NotFoundError, match="has no picture of the key"):
            source.image(shard, key, None, 0)


def test_more_scenes_continue_what_is_frozen():
    frozen = _open(count=1500).shards()
    grown = _open(count=4000).shards(frozen)
    assert grown[:2] == frozen
    assert [(shard.where["first"], shard.count) for shard in grown] == [
        (0, 1000),
        (1000, 500),
        (1500, 1000),
        (2500, 1000),
        (3500, 500),
    ]
    assert len({shard.path for shard in grown}) == 5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"count": 1499}, "less than the 1500 scenes"),
        ({"seed": 4}, "drawn-eval-4"),
        ({"split": "caption"}, "drawn-caption-3"),
    ],
)
def test_another_world_than_the_frozen_one_is_refused(options, says):
    frozen = _open(count=1500).shards()
    with pytest.raises(UserError, match=says):
        _open(**{"count": 1500, **options}).shards(frozen)


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("split", SPLITS)
def test_every_split_and_voice_streams(split, voice):
    source = _open(split=split, voice=voice, count=2)
    assert all(len(sample.captions) == 5 for sample in source.samples(source.shards()[0]))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"split": "evl"}, "Did you mean 'eval'"),
        ({"voice": "detaild"}, "Did you mean 'detailed'"),
        ({"count": 0}, "greater than or equal to 1"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"kind": "folder"}, "drawn"),
        ({"shards": 3}, "Extra inputs"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options, says):
    with pytest.raises(ValidationError, match=says):
        DrawnOptions(**options)
