"""A part of a shard while it is worked on: what is noted of it, and what is not the data's fault."""

import pytest

from captioners.core.errors import ImageError, InterruptedRunError
from captioners.data.source import Sample, Shard
from captioners.images.decode import read_image
from captioners.jobs.generate.units import Part

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 50


def met(data, monkeypatch):
    """Hand a picture's bytes to a part as a stream would; return what the part then has."""
    import sys

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    part = Part(Shard(path="0.tar", size=1, stamp=""), 0, 0, [], lambda part, member: None)
    sample = Sample(shard="0.tar", key="a", index=0, image=data)
    part.hand_out(sample)
    with pytest.raises(ImageError) as caught:
        read_image(data, name="0.tar: a.heic")
    part.no_picture(sample, caught.value.reason, str(caught.value))
    return part


def test_a_missing_codec_leaves_the_unit_open_and_a_broken_picture_does_not(monkeypatch):
    with pytest.raises(
        InterruptedRunError, match=r"a\.heic: .*captioners\[heif\].* run the same command again"
    ) as caught:
        met(HEIC, monkeypatch)
    assert caught.value.exit_code == 75
    assert [record["reason"] for record in met(b"no picture", monkeypatch).quarantined] == ["not_an_image"]
