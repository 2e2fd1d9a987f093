"""The engine's bookkeeping over a scripted model: admission, refill, packing, beams, two decodings, abandonment."""

import itertools
from dataclasses import replace

import pytest
import torch

from captioners.core.errors import CaptionersError
from captioners.decoding.values import Beam, Sample
from captioners.engine.engine import Engine
from captioners.engine.job import Encoding, Job
from tests.fakes import ScriptedModel

START, END, VOCABULARY = 6, 7, 8
FREE = Sample(min_tokens=0)


def counting(image, row, fed):
    """Write 1, 2, 3, ... and end after as many tokens as the image's number says."""
    written = len(fed) - 1
    logits = torch.full((VOCABULARY,), -1e9)
    logits[END if written >= image % 5 + 1 else written % 5 + 1] = 0
    return logits


def flat(image, row, fed):
    return torch.zeros(VOCABULARY)


def job(key, *, draws=1, decoding=FREE, limit=10, prompt=(), uniform=None):
    uniforms = None
    if isinstance(decoding, Sample):
        generator = torch.Generator().manual_seed(key)
        uniforms = torch.rand(draws, limit, dtype=torch.float64, generator=generator)
        if uniform is not None:
            uniforms = torch.tensor(uniform, dtype=torch.float64)[:, None].expand(draws, limit)
    return Job(
        key=key, image=torch.tensor([float(key)]), draws=draws, decoding=decoding, limit=limit, prompt=prompt,
        uniforms=uniforms,
    )  # fmt: skip


def engine(model, *, encode=None, length=16, **options):
    encode = encode or (lambda batch: batch[:, :, None])
    return Engine(model, encode, start_id=START, end_id=END, length=length, **options)


def decode(model, jobs, **options):
    machine = engine(model, **options)
    return {(found.key, found.draw): found for found in machine.run(jobs)}, machine


def expected(key):
    return tuple(written % 5 + 1 for written in range(key % 5 + 1))


@pytest.mark.parametrize(("slots", "memories"), [(1, 1), (3, 2), (7, 7), (64, 30)])
@pytest.mark.parametrize("look_every", [1, 4])
def test_every_draw_of_every_image_comes_once_whatever_the_room(slots, memories, look_every):
    model = ScriptedModel(counting, slots=slots, memories=memories)
    found, _ = decode(model, (job(key, draws=3) for key in range(20)), look_every=look_every)
    assert {which: caption.tokens for which, caption in found.items()} == {
        (key, draw): expected(key) for key in range(20) for draw in range(3)
    }
    assert all(caption.ended and caption.logprob == pytest.approx(0, abs=1e-6) for caption in found.values())
    assert model.rows == {}


def test_engines_find_the_tokens_that_another_has_left_and_leave_their_own():
    batches, shared = ([], []), [Encoding() for _ in range(6)]

    def jobs(skipped):
        for key in range(6):
            image = None if shared[key].tokens is not None else torch.tensor([float(key)])
            for number in range(2):
                if key not in skipped:
                    yield replace(job(10 * key + number), image=image, encoding=shared[key])

    for batch, skipped in zip(batches, ({1, 4}, {0}), strict=True):

        def encode(images, batch=batch):
            batch.append(images.flatten().tolist())
            return images[:, :, None]

        model = ScriptedModel(counting, slots=8, memories=8)
        found, machine = decode(model, jobs(skipped), encode=encode, encode_batch=2)
        assert {key: caption.tokens for (key, _), caption in found.items()} == {
            10 * key + number: expected(key) for key in range(6) if key not in skipped for number in range(2)
        }
    assert batches == ([[0, 2], [3, 5]], [[1], [4]])
    assert machine.images_encoded == 2 and [encoding.tokens.item() for encoding in shared] == list(range(6))


def test_an_engine_pulls_no_more_images_at_once_because_others_encoded_them():
    pulled = []

    def jobs():
        for key in range(20):
            pulled.append(key)
            yield replace(job(key), image=None, encoding=Encoding(torch.tensor([[float(key)]])))

    run = engine(ScriptedModel(counting, slots=2, memories=20), encode_batch=3).run(jobs())
    next(run)
    assert len(pulled) <= 2 + 3


def test_an_image_is_encoded_and_remembered_once_for_all_its_draws():
    batches = []

    def encode(batch):
        batches.append(batch.flatten().tolist())
        return batch[:, :, None]

    model = ScriptedModel(counting, slots=4, memories=3)
    found, _ = decode(model, (job(key, draws=6) for key in range(7)), encode=encode, encode_batch=2)
    assert len(found) == 42
    assert model.remembered == list(range(7))
    assert batches == [[0, 1], [2, 3], [4, 5], [6]]


def test_neighbours_that_hold_one_image_share_its_encoding_across_batches_too():
    batches = []

    def encode(batch):
        batches.append(batch.flatten().tolist())
        return batch[:, :, None]

    def jobs(shared):
        for key in range(0, 20, 2):
            first = job(key)
            yield first
            image = first.image if shared else first.image.clone()
            yield Job(key=key + 1, image=image, draws=1, decoding=FREE, limit=10, uniforms=first.uniforms)

    captions = {}
    for shared, encoded in ((True, 10), (False, 20)):
        batches.clear()
        model = ScriptedModel(counting, slots=5, memories=5)
        captions[shared], machine = decode(model, jobs(shared), encode=encode, encode_batch=3)
        assert sum(len(batch) for batch in batches) == machine.images_encoded == encoded
        assert max(len(batch) for batch in batches) == 3, "a batch is of images, not of jobs"
        assert machine.encode_seconds > 0
    assert captions[True] == captions[False] and len(captions[True]) == 20


def test_what_was_encoded_last_is_forgotten_with_the_run():
    machine = engine(ScriptedModel(counting, slots=2, memories=2))
    one = job(0)
    for _ in range(2):
        assert len(list(machine.run([one]))) == 1
    assert machine.images_encoded == 2


def test_the_first_token_may_differ_between_draws_of_one_image():
    uniform = [0.05, 0.35, 0.65, 0.95]
    model = ScriptedModel(flat, slots=4, memories=1)
    found, _ = decode(model, [job(0, draws=4, limit=1, decoding=FREE, uniform=uniform)])
    assert [found[0, draw].tokens for draw in range(4)] == [(1,), (3,), (5,), ()]


def test_slots_are_full_until_the_tail_and_the_tail_is_packed():
    model = ScriptedModel(counting, slots=16, memories=16, granularity=4)
    found, machine = decode(model, (job(key, draws=2) for key in range(60)))
    assert len(found) == 120
    last_pull = next(step for step, owned in enumerate(model.owned) if owned < 16)
    assert last_pull > 20
    assert model.sizes[:last_pull] == [16] * last_pull
    assert model.sizes == [-(-owned // 4) * 4 for owned in model.owned], "every step takes the fewest tiles"
    assert model.moves > 0
    assert machine.row_steps == sum(model.owned)
    assert machine.steps == len(model.owned)


def test_jobs_are_pulled_lazily():
    pulled, yielded, memories, batch = 0, 0, 3, 2

    def source():
        nonlocal pulled
        for key in range(40):
            pulled += 1
            yield job(key)

    machine = engine(ScriptedModel(counting, slots=8, memories=memories), encode_batch=batch)
    most = 0
    for _ in machine.run(source()):
        yielded += 1
        most = max(most, pulled - yielded)
    assert yielded == 40
    assert most <= memories + batch


def test_more_draws_than_slots_and_more_images_than_memories_fit_piece_by_piece():
    model = ScriptedModel(counting, slots=3, memories=2)
    found, _ = decode(model, [job(0, draws=11), job(1, draws=1), job(2, draws=8)])
    assert sorted(found) == [(0, d) for d in range(11)] + [(1, 0)] + [(2, d) for d in range(8)]
    assert max(model.owned) == 3


def test_beams_enter_and_leave_together():
    together = []

    def watch(image, row, fed):
        if image % 2:
            together.append((image, len(fed), row))
        return counting(image, row, fed)

    model = ScriptedModel(watch, slots=5, memories=4)
    beam = Beam(width=3, min_tokens=0)
    jobs = [job(key, decoding=beam if key % 2 else FREE, draws=2) for key in range(8)]
    found, _ = decode(model, jobs)
    assert sorted(found) == [(key, draw) for key in range(8) for draw in range(2)]
    steps = {}
    for image, age, row in together:
        steps.setdefault((image, age), set()).add(row)
    assert all(rows == {0, 1, 2} for rows in steps.values())


def test_a_beam_follows_its_own_rows_through_reordering_packing_and_late_looks():
    """The script depends on the whole history, so a beam that reads another's state would score differently."""

    def script(image, row, fed):
        generator = torch.Generator().manual_seed(hash((image, fed)) % 2**31)
        return torch.randn(VOCABULARY, generator=generator) * 2

    jobs = [job(key, decoding=Beam(width=4, min_tokens=2), draws=3, limit=6) for key in range(10)]
    alone, _ = decode(ScriptedModel(script, slots=4, memories=1), jobs)
    for options in ({"look_every": 1}, {"look_every": 3}):
        model = ScriptedModel(script, slots=24, memories=10, granularity=2)
        assert decode(model, jobs, **options)[0] == alone
    assert len(alone) == 30
    for caption in alone.values():
        fed, total = (START,), 0.0
        for token in (*caption.tokens, *[END] * caption.ended):
            total += float(script(caption.key, 0, fed).log_softmax(0)[token])
            fed += (token,)
        assert caption.logprob == pytest.approx(total, abs=1e-4)


def test_two_decodings_run_at_once_and_each_keeps_its_own_rules():
    peaked = torch.tensor([0.0, 3, 2, 1, 0, 0, 0, 0])
    greedy, wide = Sample(top_k=1, min_tokens=0), Sample(min_tokens=0, temperature=5.0)
    jobs = [job(key, decoding=(greedy, wide)[key % 2], draws=2, limit=4) for key in range(12)]
    model = ScriptedModel(lambda image, row, fed: peaked, slots=6, memories=4)
    found, _ = decode(model, jobs)
    assert all(found[key, draw].tokens == (1, 1, 1, 1) for key in range(0, 12, 2) for draw in range(2))
    assert len({found[key, draw].tokens for key in range(1, 12, 2) for draw in range(2)}) > 6


@pytest.mark.parametrize("decoding", [FREE, Beam(width=2, min_tokens=0)])
def test_a_prompt_is_fed_first_and_is_neither_returned_nor_scored_nor_limited(decoding):
    prompt = (4, 3, 2)

    def script(image, row, fed):
        if len(fed) <= len(prompt):
            return torch.tensor([0.0, 9, 0, 0, 0, 0, 0, 9])  # what the model would rather say must not matter
        assert fed[1:4] == prompt
        logits = torch.full((VOCABULARY,), -1e9)
        logits[[5, 1, END][min(len(fed) - 4, 2)]] = 0
        return logits

    found, _ = decode(ScriptedModel(script, slots=2, memories=1), [job(0, decoding=decoding, prompt=prompt, limit=4)])
    assert found[0, 0].tokens == (5, 1)
    assert found[0, 0].ended
    assert found[0, 0].logprob == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("strategy", [Sample, Beam])
def test_least_and_most_tokens_are_kept_and_the_pad_token_never_comes(strategy):
    def script(image, row, fed):
        return torch.tensor([9.0, 0, 0.1, 0, 0.2, 0, -9, 5])  # wants to pad or to end at once

    options = {"width": 3, "early_stopping": True} if strategy is Beam else {}
    jobs = [job(key, decoding=strategy(min_tokens=4, **options), draws=3, limit=9) for key in range(5)]
    found, _ = decode(ScriptedModel(script, slots=9, memories=3), jobs)
    assert all(4 <= len(caption.tokens) <= 9 for caption in found.values())
    assert all(0 not in caption.tokens and END not in caption.tokens for caption in found.values())
    endless, _ = decode(
        ScriptedModel(lambda *_: [0.0, 1, 1, 0, 0, 0, -99, -99], slots=9, memories=3),
        [job(0, decoding=strategy(min_tokens=0, **options), limit=7)],
    )
    assert len(endless[0, 0].tokens) == 7
    assert not endless[0, 0].ended


def test_the_sampled_log_probability_is_the_models_own_not_the_filtered_one():
    logits = torch.tensor([0.0, 3, 2, 1, 0, 0, 0, 0])
    model = ScriptedModel(lambda *_: logits, slots=1, memories=1)
    found, _ = decode(model, [job(0, decoding=Sample(top_k=1, min_tokens=0, temperature=0.5), limit=3)])
    assert found[0, 0].logprob == pytest.approx(3 * float(logits.log_softmax(0)[1]), abs=1e-5)


def test_an_abandoned_run_leaves_the_engine_usable_and_two_at_once_are_refused():
    model = ScriptedModel(counting, slots=4, memories=3)
    machine = engine(model)
    running = machine.run(job(key, draws=2) for key in range(9))
    list(itertools.islice(running, 3))
    with pytest.raises(CaptionersError, match="already running"):
        next(machine.run([job(1)]))
    assert model.rows, "the second run must not have touched the first"
    running.close()
    assert model.rows == {}
    assert {found.tokens for found in machine.run([job(3, draws=5)])} == {expected(3)}


def test_a_source_or_an_encoder_that_fails_leaves_the_engine_usable():
    def source():
        yield job(0)
        raise OSError("the disk is gone")

    machine = engine(ScriptedModel(counting, slots=4, memories=3))
    with pytest.raises(OSError, match="the disk is gone"):
        list(machine.run(source()))
    assert [found.tokens for found in machine.run([job(2)])] == [expected(2)]


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        (job(0, decoding=Beam(width=5)), "5 beams enter together and there are 4 slots"),
        (job(0, prompt=(1,) * 10), "prompt 10 . limit 10 is more than the 16 tokens"),
        (job(0, draws=0), "0 draws"),
        (Job(key=0, image=torch.zeros(1), draws=2, decoding=FREE, limit=3), r"uniforms \[2, 3\]"),
    ],
)
def test_a_job_that_cannot_be_decoded_as_asked_is_refused(bad, match):
    with pytest.raises(CaptionersError, match=match):
        decode(ScriptedModel(counting, slots=4, memories=2), [bad])
