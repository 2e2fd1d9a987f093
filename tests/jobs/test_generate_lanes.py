"""Several captioners over one stream of pictures, over scripted fakes: one read, bounded look-ahead, full batches."""

from dataclasses import dataclass, field

import pytest

from captioners.core.progress import Clock
from captioners.core.run_dir import RunDir
from captioners.data.source import Shard
from captioners.images.pool import DecodePool
from captioners.jobs.generate.stream import PassStream, Work
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.kinds.captioner import Result
from tests.jobs.generate_fakes import ScriptedCaptioner, ScriptedSource, spoken

PICTURE = 8 * 8 * 3
"""Bytes of the scripted source's pictures."""


def recipe(*members, **more):
    """Members of a captioner each."""
    members = [
        {"captioner": "random-tiny", "context_length": 20 + number, **member} for number, member in enumerate(members)
    ]
    return GenerateRecipe.model_validate({"source": {"kind": "drawn"}, "members": members, "seed": 7, **more})


@dataclass
class Slotted:
    """A captioner of `slots` rows: pulls until they are full, and frees one a step."""

    slots: int
    flying: list = field(default_factory=list)
    low: list = field(default_factory=list)
    """Rows in flight at each step."""
    taken: int = 0
    encode_seconds: float = 0.0

    def caption(self, requests):
        while True:
            while len(self.flying) < self.slots:
                request = next(requests, None)
                if request is None:
                    break
                self.taken += 1
                self.flying += [(request, draw) for draw in range(request.draws)]
            if not self.flying:
                return
            self.low.append(len(self.flying))
            request, draw = self.flying.pop(0)
            text = spoken(request.stream.member, request.stream.image_sha256, draw, request.attempt)
            yield Result(
                index=request.index, draw=draw, text=text, raw_text=None, num_tokens=5, logprob=-1.0, finish="eos"
            )


class Stage:
    """A run in a folder, and passes of several captioners over it."""

    def __init__(self, folder, content, unit=4):
        self.run, self.source, self.unit = RunDir(str(folder)), ScriptedSource(content), unit
        self.done = []

    def store(self, part, member):
        entry, rows = part.entry(member, f"print of {member.called}")
        assert self.run.commit(entry, rows, {}, part.quarantined, "jsonl"), "stored twice"

    def stream(self, said, pool, **more):
        return PassStream(
            source=self.source, pool=pool, ledger=self.run.ledger, store=self.store, recipe=said,
            unit_samples=self.unit, clock=Clock("decoding"), **more,
        )  # fmt: skip

    def go(self, said, captioners, watch=lambda stream: None, **more):
        with DecodePool(0) as pool:
            stream = self.stream(said, pool, **more)
            shards = [Shard(path=path, size=1, stamp="") for path in self.source.content]
            works = (Work(shard, lambda shard=shard: self.done.append(shard.path)) for shard in shards)
            for _ in stream.run(list(zip(captioners, said.groups, strict=True)), works):
                watch(stream)
        return stream

    def rows(self, layer):
        entries = self.run.ledger.entries([layer])
        return [row for entry in entries for row in self.run.rows(entry).to_pylist()]


CONTENT = {
    "0.tar": list(range(10)),
    "empty.tar": [],
    "1.tar": [20, b"no picture", 22, ("missing", "k3")],
    "2.tar": [30],
}


def test_captioners_of_a_pass_read_once_and_store_what_each_stores_alone(tmp_path):
    said = recipe({"name": "a", "draws": 3}, {"name": "b", "draws": 1}, {"name": "c", "draws": 2})
    together = Stage(tmp_path / "together", CONTENT)
    refuses = ScriptedCaptioner(lambda stream, draw, attempt: "no" if draw == 1 and attempt < 2 else None, seed=3)
    together.go(said, [refuses, ScriptedCaptioner(ahead=1), ScriptedCaptioner(ahead=40, seed=2)])
    assert sorted(together.source.reads) == sorted(set(together.source.reads)), "every sample once"
    assert sorted(together.done) == sorted(CONTENT)
    for number, name in enumerate("abc"):
        alone = Stage(tmp_path / name, CONTENT)
        alone.go(recipe(said.members[number].model_dump()), [refuses if name == "a" else ScriptedCaptioner()])
        assert together.rows(name) == alone.rows(name) and len(alone.rows(name)) == 13 * said.members[number].draws


def test_members_of_all_captioners_get_the_same_picture_object_and_what_came_with_it(tmp_path):
    said = recipe({"name": "a", "draws": 1}, {"name": "b", "draws": 1})
    one, other = ScriptedCaptioner(), ScriptedCaptioner()
    Stage(tmp_path, {"0.tar": [1, 2]}).go(said, [one, other])
    assert [r.image for r in one.asked] == [r.image for r in other.asked] and one.asked[0].image is other.asked[0].image
    assert one.asked[0].fields == {"key": "k0", "captions": ()}
    assert one.asked[0].encodings is None, "nobody else would look there"


def test_a_member_added_later_reads_only_what_it_lacks(tmp_path):
    said = recipe({"name": "a", "draws": 2}, {"name": "b", "draws": 1})
    stage = Stage(tmp_path, CONTENT)
    stage.go(said, [ScriptedCaptioner(), ScriptedCaptioner()])
    for part in (0, 2):
        stage.run.place.remove(stage.run.ledger.name("b", "0.tar", part))
    stage.run.place.remove(stage.run.ledger.name("a", "0.tar", 2))
    stage.source.reads.clear()
    one, other = ScriptedCaptioner(), ScriptedCaptioner()
    stage.go(said, [one, other])
    assert len(one.asked) == 2 and len(other.asked) == 4 + 2
    assert [index for _, index in stage.source.reads] == [0, 1, 2, 3, 4, 8, 9], "and one more, to know a part's end"


def test_no_captioner_gets_further_ahead_of_another_than_it_takes_at_once(tmp_path):
    said = recipe({"name": "slow", "draws": 5}, {"name": "quick", "draws": 1}, {"name": "beam", "draws": 2})
    captioners = [Slotted(8), Slotted(8), Slotted(3)]
    ahead = []
    stage = Stage(tmp_path, {"0.tar": list(range(120))}, 50)
    stage.go(said, captioners, lambda stream: ahead.append(stream.images - min(c.taken for c in captioners)))
    assert max(ahead) <= 8 + 1
    for captioner in captioners:
        steady = captioner.low[: -captioner.slots - 4]
        assert min(steady) >= captioner.slots, "never half empty before the end"


@pytest.mark.parametrize("mb", [1, 2])
def test_pictures_that_wait_for_others_are_bounded_in_bytes_whatever_a_captioner_pulls(tmp_path, mb, monkeypatch):
    monkeypatch.setattr("captioners.jobs.generate.stream._MB", 20 * PICTURE)  # so that queue_mb speaks of pictures
    said = recipe({"name": "a", "draws": 1}, {"name": "b", "draws": 1}, queue_mb=mb)
    hungry, modest = Slotted(1000), Slotted(2)
    ahead = []
    Stage(tmp_path, {"0.tar": list(range(90))}, 90).go(
        said, [hungry, modest], lambda stream: ahead.append(stream.images - modest.taken)
    )
    assert max(ahead) <= 10 * mb + 2 and hungry.taken == modest.taken == 90
    assert max(ahead) > 10 * mb - 2, "and up to there it may go"


def test_a_captioner_that_lacks_nothing_does_not_pull_all_pictures_before_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr("captioners.jobs.generate.stream._MB", 20 * PICTURE)
    said = recipe({"name": "a", "draws": 1}, {"name": "b", "draws": 1}, queue_mb=1)
    stage = Stage(tmp_path, {"0.tar": list(range(60))}, 30)
    stage.go(recipe({"name": "a", "draws": 1}), [ScriptedCaptioner()])
    ahead, lacking = [], Slotted(2)
    stage.go(said, [Slotted(4), lacking], lambda stream: ahead.append(stream.images - lacking.taken))
    assert max(ahead) <= 12 and lacking.taken == 60


def test_short_shards_follow_each_other_without_a_gap(tmp_path):
    captioner = Slotted(16)
    content = {f"{number:02d}.tar": [3 * number, 3 * number + 1, 3 * number + 2] for number in range(20)}
    Stage(tmp_path, content).go(recipe({"name": "a", "draws": 1}), [captioner])
    assert min(captioner.low[:-16]) == 16


def test_once_it_is_enough_nothing_enters_and_what_entered_is_stored(tmp_path):
    asked = []
    stage = Stage(tmp_path, {"0.tar": list(range(10)), "1.tar": [20, 21]})
    said = recipe({"name": "a", "draws": 2}, {"name": "b", "draws": 1})
    stage.go(said, [ScriptedCaptioner(), ScriptedCaptioner()], enough=lambda: asked.append(1) or len(asked) > 2)
    assert len(asked) == 3, "asked before each part"
    for layer, draws in (("a", 2), ("b", 1)):
        entries = list(stage.run.ledger.entries([layer]))
        assert [(entry.shard, entry.part) for entry in entries] == [("0.tar", 0), ("0.tar", 1)]
        assert len(stage.rows(layer)) == 8 * draws
    assert stage.done == []
    stage.go(said, [ScriptedCaptioner(), ScriptedCaptioner()])
    assert sorted(stage.done) == ["0.tar", "1.tar"] and len(stage.rows("a")) == 24


def test_a_failing_source_closes_every_captioner(tmp_path):
    closed = []

    @dataclass
    class Closing(ScriptedCaptioner):
        def caption(self, requests):
            try:
                yield from super().caption(requests)
            finally:
                closed.append(self.seed)

    stage = Stage(tmp_path, {"0.tar": list(range(10))})
    samples = stage.source.samples

    def failing(shard, start=0):
        for sample in samples(shard, start):
            if sample.index == 7:
                raise OSError("the disk is gone")
            yield sample

    stage.source.samples = failing
    with pytest.raises(OSError, match="the disk is gone"):
        stage.go(recipe({"name": "a"}, {"name": "b"}), [Closing(seed=1, ahead=1), Closing(seed=2, ahead=1)])
    assert sorted(closed) == [1, 2]
