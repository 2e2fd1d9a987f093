"""What every test gets: no network, no global random state, its own run directory."""

import os
import socket
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "2")

import pytest

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _LOOPBACK:
            raise AssertionError(f"a test tried to reach {address[0]}; tests run offline")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _global_random_state_untouched():
    """Nothing is random without a seed of its own: the global generators end each test as they began it."""
    before = _random_states()
    yield
    after = _random_states()
    changed = [name for name in before if name in after and before[name] != after[name]]
    assert not changed, f"the test changed the global random state of {', '.join(changed)}; use a generator of its own"


def _random_states():
    states = {}
    # Python's own `random` is left out: rich draws the ids of its links from it, and nothing of ours does.
    # Only what is imported already: this file must not make torch a need of every test.
    if "numpy" in sys.modules:
        kind, keys, *rest = sys.modules["numpy"].random.get_state()
        states["numpy"] = (kind, keys.tobytes(), *rest)
    if "torch" in sys.modules:
        states["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return states


@pytest.fixture(autouse=True)
def _two_threads():
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(2)
    yield


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    """An empty directory that is also the current one, for what writes `runs/`."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def _s3_server():
    from tests.s3 import serving

    with serving() as found:
        yield found


@pytest.fixture
def s3(_s3_server, tmp_path_factory, monkeypatch):
    """An empty bucket on a real server, the environment that leads to it, and pauses that are none."""
    import uuid

    import s3fs

    from captioners.core import failures
    from tests import s3 as servers

    proxy, endpoint = _s3_server
    for name, value in servers.environment(endpoint, tmp_path_factory.mktemp("aws")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(failures, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(failures, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(failures, "ATTEMPTS", 3)
    proxy.rule = lambda asked: None
    proxy.log.clear()
    s3fs.S3FileSystem.clear_instance_cache()
    yield servers.bucket(f"b-{uuid.uuid4().hex[:12]}", proxy)
    proxy.rule = lambda asked: None
    s3fs.S3FileSystem.clear_instance_cache()
