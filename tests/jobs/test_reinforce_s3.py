"""reinforce from S3 to S3: the bytes of disk to disk, whole or not at all, also when the server fails."""

import json

import pytest

from captioners.core.errors import InterruptedRunError
from captioners.core.recipe import options_from
from captioners.core.run_dir import RunDir
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.reinforce.job import reinforce
from tests.jobs import captioned
from tests.s3 import Refuse

NAMES = ("00/0.tar", "01/0.tar", "01/1.tar")


def recipe(source, output):
    said = {
        "source": {"inputs": [str(source)]}, "n_aug": 2, "output": str(output), "quarantine_ceiling": 1.0,
        "image_augmentation": {"random_resized_crop": {"size": 32}},
    }  # fmt: skip
    return options_from(ReinforceRecipe, said, [f"teachers={captioned.TEACHERS}"])


def spoil(number, members):
    return {**members, "jpg": b"broken"} if number == 4 else members


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    captioned.write(folder / "in", NAMES, 4, spoil)
    reinforce(recipe(folder / "in", folder / "run"))
    return folder


def test_s3_to_s3_gives_the_bytes_of_disk_to_disk(local, s3):
    s3.upload(local / "in", "in")
    run = reinforce(recipe(f"{s3.url}/in", f"{s3.url}/out"))
    assert (run.counts.captioned, run.counts.quarantined) == (11, 1)
    shards = [f"shards/{name}" for name in captioned.digests(local / "run")]
    assert sorted(s3.keys("out/shards")) == sorted(f"out/{name}" for name in shards)
    for name in shards:
        assert s3.get(f"out/{name}") == (local / "run" / name).read_bytes(), name
    assert s3.keys("out/attempts") == [] == s3.unfinished()
    left = [json.loads(line) for line in s3.get("out/left_out.jsonl").splitlines()]
    assert [(one["shard"], one["key"], one["reason"]) for one in left] == [("01/0.tar", "000004", "not_an_image")]


def test_a_store_that_refuses_leaves_shards_open_and_the_same_command_continues(local, s3):
    s3.upload(local / "in", "in")
    s3.proxy.rule = lambda asked: (
        Refuse(503, "SlowDown") if asked.method == "PUT" and "/out/attempts/01%252F1" in asked.path else None
    )
    with pytest.raises(InterruptedRunError, match="what is stored stays"):
        reinforce(recipe(f"{s3.url}/in", f"{s3.url}/out"))
    assert 0 < sum(1 for _ in RunDir(f"{s3.url}/out").entries()) < 3, "what came before is stored"
    s3.proxy.rule = lambda asked: None
    assert reinforce(recipe(f"{s3.url}/in", f"{s3.url}/out")).counts.read == 12
    assert s3.get("out/shards/01/1.tar") == (local / "run/shards/01/1.tar").read_bytes()
