"""Data in Python: drawn, recognised, gone through."""

import io
import tarfile
from pathlib import Path

import pytest

import captioners
from captioners.core.errors import NotFoundError, RecipeError, UserError

SAMPLES = Path(captioners.__file__).parent / "samples"


def test_what_is_drawn_is_read_back_by_its_path(run_dir):
    folder = captioners.draw("scenes", 5, split="eval", per_shard=3)
    assert folder == Path("scenes")
    found = list(captioners.samples(folder))
    assert [sample.shard for sample in found] == ["00000.tar"] * 3 + ["00001.tar"] * 2
    again = list(captioners.samples({"kind": "drawn", "split": "eval", "count": 5}))
    assert [sample.image for sample in found] == [sample.image for sample in again]
    assert [sample.meta["scene"] for sample in found] == [sample.meta["scene"] for sample in again]
    with pytest.raises(UserError, match="not empty"):
        captioners.draw("scenes", 5)


def test_a_source_is_what_a_recipe_says_of_a_path(run_dir):
    captioners.draw("scenes", 2)
    source = captioners.source(Path("scenes"), captioned=True)
    assert source == {"kind": "webdataset", "inputs": ["scenes"]}
    assert captioners.source(["scenes"], caption_key="json:captions.short")["caption_key"] == "json:captions.short"
    assert [s.key for s in captioners.samples(source)] == [s.key for s in captioners.samples("scenes")]


def test_what_cannot_be_read_is_left_out_and_told(run_dir):
    with tarfile.open("set.tar", "w") as tar:
        for name, data in (("good.jpg", (SAMPLES / "cat.jpg").read_bytes()), ("bad.jpg", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    told = []
    assert [sample.key for sample in captioners.samples("set.tar", unreadable=told.append)] == ["good"]
    assert [(one.key, one.reason) for one in told] == [("bad", "empty")]


def test_mistakes_are_told(run_dir):
    with pytest.raises(NotFoundError, match="nowhere"):
        captioners.source("nowhere")
    with pytest.raises(NotFoundError, match="Did you mean 'drawn'"):
        next(captioners.samples({"kind": "drawm"}))
    with pytest.raises(RecipeError, match="cuont: unknown key"):
        next(captioners.samples({"kind": "drawn", "cuont": 3}))
