"""reinforce by Ray actors: the same files as by a local worker, byte for byte."""

from importlib.util import find_spec

import pytest

from tests.jobs import kills
from tests.jobs import reinforce_kills as runs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(find_spec("ray") is None, reason="needs captioners[ray]"),
]
RAY = "executor={kind: ray, address: local, most: 2, cpus: 0.5}"


def test_ray_actors_write_the_same_bytes(tmp_path):
    runs.prepare(tmp_path, 4, 40)
    for run, more in (("two", {"workers": 2}), ("ray", {"more": (RAY,)})):
        code, said = kills.finish(runs.start(tmp_path, run, **more))
        assert code == 0, said
        runs.compare(tmp_path, run)
