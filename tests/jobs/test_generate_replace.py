"""A changed member's layer is set aside, and shards come in an even order: over a scripted captioner."""

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from captioners.cli.main import run
from captioners.core.errors import UserError
from captioners.core.run_dir import RunDir, open_run
from captioners.core.storage import Place
from captioners.decoding.values import Beam
from captioners.jobs.generate import setup as generate_setup
from captioners.jobs.generate import worker as generate_worker
from captioners.jobs.generate.job import generate
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.kinds.captioner import CaptionerInfo
from tests.jobs.generate_fakes import ScriptedCaptioner
from tests.jobs.shards import content, orphans, sums, write_shards

INFO = CaptionerInfo(
    name="scripted", kind="scripted", weights_digest="w", tower_digest=None, licences={}, context_length=20,
    max_tokens=18, num_parameters=1, grade="best-effort", recommended_decoding=Beam(), meaning={"weights": "w"},
)  # fmt: skip


@dataclass
class Scripted(ScriptedCaptioner):
    """A captioner of a kind that says nothing of its needs."""

    info: CaptionerInfo = INFO
    fit: None = None
    device_type: str = "elsewhere"
    environment: dict = field(default_factory=lambda: {"dtype": "float32"})

    def accepts(self, decoding, draws=1, prompt=""):
        return None

    def open(self, budget=None):
        pass

    def close(self):
        pass


@pytest.fixture
def work(monkeypatch, run_dir):
    """What captioners were asked: (member, image, draw)."""
    asked = []

    def load(member, recipe, rank=0):
        captioner = Scripted()
        caption = captioner.caption
        captioner.caption = lambda requests: caption(noted(requests))
        return captioner

    def noted(requests):
        for request in requests:
            asked.extend((request.stream.member, request.stream.image_sha256, draw) for draw in range(request.draws))
            yield request

    monkeypatch.setattr(generate_setup, "load", load)
    monkeypatch.setattr(generate_worker, "load", load)
    return asked


def go(*members, replace=(), **keys):
    """Caption the folder `shards` into `run`; return what was said."""
    said = []
    recipe = GenerateRecipe.model_validate({
        "source": {"kind": "webdataset", "inputs": ["shards"]}, "decode_workers": 0, "unit_samples": 3, "output": "run",
        "quarantine_ceiling": 1.0, "members": [{"captioner": "random-tiny", **member} for member in members], **keys,
    })  # fmt: skip
    generate(recipe, replace=replace, say=said.append)
    return "\n".join(said)


A, B = {"name": "a", "draws": 2}, {"name": "b", "draws": 1, "context_length": 20}
CHANGED = {"name": "a", "draws": 1}


def held(run, member):
    return {unit: digests for unit, digests in content(run).items() if unit[0] == member}


def test_a_changed_member_is_made_anew_and_its_old_captions_become_a_run_of_their_own(work):
    write_shards("shards", shards=2, broken={3})
    go(A, B)
    before, old = content("run"), RunDir("run").captions(["a"]).to_pylist()
    for leave in ((), ("b",)):
        with pytest.raises(UserError, match=r"member 'a' has captions in run .* --replace a, or write to another"):
            go(CHANGED, B, replace=leave)
    work.clear()
    said = go(CHANGED, B, replace=["a"])
    assert "member 'a': its 18 captions are set aside, as a run of their own: run/replaced/a-" in said
    assert {member for member, *_ in work} == {"a"} and len(work) == 9
    assert sums("run")["a"].rows == 9 and orphans("run") == []
    assert held("run", "b") == {unit: digests for unit, digests in before.items() if unit[0] == "b"}
    (aside,) = Path("run/replaced").iterdir()
    assert content(aside) == {unit: digests for unit, digests in before.items() if unit[0] == "a"}
    assert open_run(aside).captions().to_pylist() == old and len(open_run(aside).quarantine()) == 1
    assert run(["status", str(aside)]) == 0
    work.clear()
    assert "set aside" not in go(CHANGED, B, replace=["a"]) and work == [], "nothing has changed since"


def test_the_same_layer_set_aside_again_after_more_shards_loses_nothing(work):
    write_shards("shards", shards=1)
    go(A)
    go(CHANGED, replace=["a"])
    write_shards("shards", shards=1, first=1)
    go(A, replace=["a"])
    first = content("run")
    assert len({shard for _, shard, _ in first}) == 2
    go(CHANGED, replace=["a"])
    old, changed = sorted(Path("run/replaced").iterdir(), key=lambda folder: len(content(folder)), reverse=True)
    assert content(old) == first and len(content(changed)) == 2 and len(RunDir(old).inputs()) == 2


def test_setting_aside_that_is_killed_anywhere_goes_on_with_the_same_command(work, monkeypatch):
    write_shards("shards", shards=1)
    go(A, B)
    old, left = held("run", "a"), {"calls": 0}

    def dying(real):
        def call(self, *arguments, **options):
            left["calls"] -= 1
            if left["calls"] < 0:
                raise KeyboardInterrupt
            return real(self, *arguments, **options)

        return call

    for name in ("create", "write", "remove", "exists"):
        monkeypatch.setattr(Place, name, dying(getattr(Place, name)))
    said, deaths = None, 0
    while said is None:
        left["calls"] = deaths
        with suppress(KeyboardInterrupt, Exception):
            said = go(CHANGED, B, replace=["a"])
        deaths += 1
        assert deaths < 200
    assert deaths > 8
    left["calls"] = 10_000
    (aside,) = Path("run/replaced").iterdir()
    assert content(aside) == old and sums("run")["a"].rows == 5 and orphans(aside) == []


def test_replacing_a_member_that_is_not_there_is_refused(work, capfd):
    write_shards("shards", shards=1)
    with pytest.raises(UserError, match=r"--replace aa: no member is called so\."):
        go(A, replace=["aa"])
    source = "source={kind: webdataset, inputs: [shards]}"
    assert run(["generate", "generate/shards", source, "members.0.name=mine", "--replace", "min", "-o", "run"]) == 1
    assert "Did you mean 'mine'" in capfd.readouterr().err and not Path("run").exists()


def test_shards_are_frozen_in_an_even_order_and_those_added_come_after(work):
    write_shards("shards", shards=5, samples=1)
    taken = []
    for pilot in (2, 3):
        go(B, max_shards=pilot)
        taken.append({int(shard.partition(".")[0]) for _, shard, _ in content("run")})
    assert taken == [{0, 2}, {0, 2, 4}], "spread over all of them, and a larger pilot goes on with the smaller"
    write_shards("shards", shards=3, samples=1, first=5)
    go(B, max_shards=3)
    assert len(work) == 3, "the pilot stays the same"
    go(B)
    assert len(work) == 8
    assert [shard["path"][4] for shard in RunDir("run").inputs()] == list("02413576")
