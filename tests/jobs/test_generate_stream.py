"""A pass as a stream, over scripted fakes: parts, sums, retries, order, and what is skipped because it is stored."""

import pytest

from captioners.core.entry import Counts
from captioners.core.errors import UserError
from captioners.core.progress import Clock
from captioners.core.run_dir import RunDir
from captioners.data.source import Shard
from captioners.images.decode import sha256_of
from captioners.images.pool import DecodePool
from captioners.jobs.generate.stream import PassStream, Work
from captioners.jobs.recipes.generate import GenerateRecipe
from tests.jobs.generate_fakes import ScriptedCaptioner, ScriptedSource, png, spoken


def recipe(*members, **rules):
    members = members or ({"name": "a", "draws": 2},)
    members = [{"captioner": "random-tiny", **member} for member in members]
    return GenerateRecipe.model_validate(
        {"source": {"kind": "drawn"}, "members": members, "rules": rules, "seed": 7}, strict=False
    )


class Stage:
    """A run in a folder, and passes over it."""

    def __init__(self, folder, content, unit=4):
        self.run, self.source, self.unit = RunDir(str(folder)), ScriptedSource(content), unit
        self.stored, self.done = [], []

    def store(self, part, member):
        entry, rows = part.entry(member, f"print of {member.called}")
        assert self.run.commit(entry, rows, {}, part.quarantined, "jsonl"), "stored twice"
        self.stored.append((member.called, part.shard.path, part.number))

    def go(self, said, captioner=None, only=None):
        captioner = captioner or ScriptedCaptioner()
        with DecodePool(0) as pool:
            stream = PassStream(
                source=self.source, pool=pool, ledger=self.run.ledger, store=self.store,
                recipe=said, unit_samples=self.unit, clock=Clock("decoding"),
            )  # fmt: skip
            shards = [Shard(path=path, size=1, stamp="") for path in (only or self.source.content)]
            works = (Work(shard, lambda shard=shard: self.done.append(shard.path)) for shard in shards)
            results = sum(1 for _ in stream.run([(captioner, said.groups[0])], works))
        assert results == sum(request.draws for request in captioner.asked)
        return captioner

    def entries(self, layer="a"):
        return {(entry.shard, entry.part): entry for entry in self.run.ledger.entries([layer])}

    def rows(self, layer="a"):
        return [row for entry in self.entries(layer).values() for row in self.run.rows(entry).to_pylist()]


CONTENT = {"0.tar": list(range(10)), "empty.tar": [], "1.tar": [20, 21, 22, 23], "2.tar": [30]}


def test_each_sample_gets_its_draws_in_parts_whose_last_one_says_so(tmp_path):
    stage = Stage(tmp_path, CONTENT)
    stage.go(recipe())
    spans = {unit: (entry.start, entry.stop, entry.last) for unit, entry in stage.entries().items()}
    assert spans == {
        ("0.tar", 0): (0, 4, False), ("0.tar", 1): (4, 8, False), ("0.tar", 2): (8, 10, True),
        ("empty.tar", 0): (0, 0, True), ("1.tar", 0): (0, 4, True), ("2.tar", 0): (0, 1, True),
    }  # fmt: skip
    assert sorted(stage.done) == sorted(CONTENT)
    rows = stage.rows()
    assert len(rows) == 2 * 15
    for entry in stage.entries().values():
        found = stage.run.rows(entry).to_pylist()
        order = [(row["index"], row["draw"]) for row in found]
        assert order == [(index, draw) for index in range(entry.start, entry.stop) for draw in range(2)]
    first = rows[0]
    assert first["shard"] == "0.tar" and first["key"] == "k0" and first["offset"] == 0
    assert first["image_sha256"] == sha256_of(png(0)) and first["size"] == len(png(0))
    assert first["text"] == spoken("a", sha256_of(png(0)), 0, 0) and first["keep"]
    assert sum((entry.counts for entry in stage.entries().values()), Counts()) == Counts(read=15, captioned=15, rows=30)


@pytest.mark.parametrize(("ahead", "seed", "unit"), [(1, 0, 4), (3, 1, 4), (40, 2, 4)])
def test_what_is_stored_does_not_depend_on_the_order_in_which_captions_end(tmp_path, ahead, seed, unit):
    said = recipe({"name": "a", "draws": 3}, {"name": "b", "draws": 1}, retries=2)
    says = lambda stream, draw, attempt: "no" if (int(stream.image_sha256[:4], 16) + draw + attempt) % 3 else None  # noqa: E731
    digests = []
    for number, captioner in enumerate([ScriptedCaptioner(says), ScriptedCaptioner(says, ahead, seed)]):
        stage = Stage(tmp_path / str(number), CONTENT, unit)
        stage.go(said, captioner)
        digests.append({(m, *unit): e.digest for m in "ab" for unit, e in stage.entries(m).items()})
        assert all(entry.counts.problem(3) is None for entry in stage.entries("a").values())
    assert digests[0] == digests[1] and len(digests[0]) == 12


def test_members_of_a_pass_share_the_picture_and_have_streams_of_their_own(tmp_path):
    stage = Stage(tmp_path, {"0.tar": [1, 2]})
    captioner = stage.go(recipe({"name": "a", "draws": 2}, {"name": "b", "draws": 1, "prompt": "a photo"}))
    one, other = captioner.asked[:2]
    assert one.image is other.image
    assert (one.draws, other.draws) == (2, 1) and other.prompt == "a photo"
    assert (one.stream.member, other.stream.member) == ("a", "b") and one.stream.run_seed == 7
    assert one.stream.image_sha256 == other.stream.image_sha256 == sha256_of(png(1))
    assert len({request.index for request in captioner.asked}) == 4


def test_what_cannot_be_read_is_a_row_with_its_reason_and_sums_hold(tmp_path):
    content = [1, ("missing", "k1"), b"", 3, b"not a picture", ("bad_line", "k5"), 6, ("cut_tar", "")]
    stage = Stage(tmp_path, {"0.tar": content})
    stage.go(recipe())
    first, second = stage.entries().values()
    assert first.counts == Counts(read=4, captioned=2, quarantined=2, rows=4)
    assert first.reasons == {"empty": 1, "missing": 1} and not first.last
    assert second.counts == Counts(read=3, captioned=1, quarantined=2, rows=2), "the cut is the shard's, no sample's"
    assert second.reasons == {"bad_line": 1, "cut_tar": 1, "not_an_image": 1}
    assert second.last and second.stop == 7
    records = stage.run.place.read(second.quarantine_file).decode().splitlines()
    assert len(records) == 3 and "k4: not a picture" in records[1 if "bad_line" in records[0] else 0]


def test_a_fault_of_the_shard_right_after_a_full_part_belongs_to_that_part(tmp_path):
    stage = Stage(tmp_path, {"0.tar": [1, 2, 3, 4, ("cut_tar", "")]})
    stage.go(recipe())
    (entry,) = stage.entries().values()
    assert entry.last and entry.counts.read == 4 and entry.reasons == {"cut_tar": 1}


def test_a_shard_that_is_nothing_but_a_fault_is_stored_with_it(tmp_path):
    stage = Stage(tmp_path, {"0.tar": [("not_a_tar", "")]})
    stage.go(recipe())
    (entry,) = stage.entries().values()
    assert entry.last and entry.counts == Counts() and entry.reasons == {"not_a_tar": 1} and entry.file == ""


def refuse_until(attempts, draws=(1,)):
    return lambda stream, draw, attempt: "no" if draw in draws and attempt < attempts else None


def test_a_refused_draw_is_made_again_by_itself_with_the_next_attempt(tmp_path):
    stage = Stage(tmp_path, {"0.tar": [1]})
    captioner = stage.go(recipe({"name": "a", "draws": 3}), ScriptedCaptioner(refuse_until(2)))
    assert [(request.first_draw, request.draws, request.attempt) for request in captioner.asked] == [
        (0, 3, 0), (1, 1, 1), (1, 1, 2),
    ]  # fmt: skip
    rows = stage.rows()
    assert [(row["draw"], row["attempt"], row["keep"]) for row in rows] == [(0, 0, True), (1, 2, True), (2, 0, True)]
    assert rows[1]["text"].endswith("draw one attempt two")


def test_after_the_last_retry_the_row_stays_refused_and_the_sample_counts_by_what_is_kept(tmp_path):
    stage = Stage(tmp_path, {"0.tar": [1, 2]})
    broken = sha256_of(png(2))
    says = lambda stream, draw, attempt: "no" if draw == 1 or stream.image_sha256 == broken else None  # noqa: E731
    captioner = stage.go(recipe({"name": "a", "draws": 2}, retries=3), ScriptedCaptioner(says))
    assert max(request.attempt for request in captioner.asked) == 3
    assert [(r["index"], r["draw"], r["attempt"], r["keep"], r["flags"]) for r in stage.rows()] == [
        (0, 0, 0, True, []), (0, 1, 3, False, ["too_short"]),
        (1, 0, 3, False, ["too_short"]), (1, 1, 3, False, ["too_short"]),
    ]  # fmt: skip
    (entry,) = stage.entries().values()
    assert entry.counts == Counts(read=2, captioned=1, filtered=1, rows=4)
    assert entry.flags == {"too_short": 3}


def test_a_beam_is_not_asked_again(tmp_path):
    stage = Stage(tmp_path, {"0.tar": [1]})
    said = recipe({"name": "a", "draws": 2, "decoding": {"strategy": "beam", "width": 2}})
    captioner = stage.go(said, ScriptedCaptioner(lambda *_: "no"))
    assert len(captioner.asked) == 1
    assert [(row["attempt"], row["keep"]) for row in stage.rows()] == [(0, False)] * 2


def test_rules_say_what_is_refused(tmp_path):
    stage = Stage(tmp_path, {"0.tar": [1]})
    stage.go(recipe({"name": "a", "draws": 1}, refuse=[], retries=3), ScriptedCaptioner(lambda *_: "no"))
    assert [(row["keep"], row["flags"]) for row in stage.rows()] == [(True, ["too_short"])]


def test_nothing_that_is_stored_is_read_or_captioned_again(tmp_path):
    stage = Stage(tmp_path, CONTENT)
    stage.go(recipe())
    stage.source.reads.clear()
    assert stage.go(recipe()).asked == [] and stage.source.reads == []
    assert sorted(stage.done) == sorted([*CONTENT, *CONTENT])


def test_a_part_that_is_missing_in_the_middle_is_made_and_only_that(tmp_path):
    stage = Stage(tmp_path, CONTENT)
    stage.go(recipe())
    before = stage.entries()
    stage.run.place.remove(stage.run.ledger.name("a", "0.tar", 1))
    stage.source.reads.clear(), stage.stored.clear()
    captioner = stage.go(recipe(), ScriptedCaptioner(seed=9))
    assert stage.stored == [("a", "0.tar", 1)] and len(captioner.asked) == 4
    assert stage.source.reads == [("0.tar", index) for index in range(4, 9)], "and one more, to know it is not the last"
    after = stage.entries()
    assert after["0.tar", 1].digest == before["0.tar", 1].digest and not after["0.tar", 1].last


def test_one_more_member_is_captioned_alone(tmp_path):
    stage = Stage(tmp_path, CONTENT)
    stage.go(recipe({"name": "a", "draws": 2}))
    captioner = stage.go(recipe({"name": "a", "draws": 2}, {"name": "b", "draws": 1}))
    assert {request.stream.member for request in captioner.asked} == {"b"} and len(captioner.asked) == 15
    together = Stage(tmp_path / "together", CONTENT)
    together.go(recipe({"name": "a", "draws": 2}, {"name": "b", "draws": 1}))
    for member in "ab":
        assert together.rows(member) == stage.rows(member)


def test_a_source_that_fails_leaves_its_unit_open_and_what_was_stored_stored(tmp_path):
    stage = Stage(tmp_path, {"0.tar": list(range(10))})
    samples = stage.source.samples

    def failing(shard, start=0):
        for sample in samples(shard, start):
            if sample.index == 9:
                raise UserError("the disk is gone")
            yield sample

    stage.source.samples = failing
    with pytest.raises(UserError, match="the disk is gone"):
        stage.go(recipe(), ScriptedCaptioner(ahead=1))
    assert set(stage.entries()) == {("0.tar", 0), ("0.tar", 1)} and stage.done == []
    stage.source.samples = samples
    stage.go(recipe())
    assert set(stage.entries()) == {("0.tar", 0), ("0.tar", 1), ("0.tar", 2)} and stage.done == ["0.tar"]
