"""Promise 4: the cached step is the model. Every row's logits at every step equal open_clip's whole forward."""

import pytest
import torch

from captioners.core.errors import UserError
from captioners.decoding.values import Beam, Sample
from captioners.engine.engine import Engine
from captioners.models import coca
from captioners.models.arithmetic import Exact, Plain
from captioners.models.coca_step import BLOCK, CoCaStep
from tests.engine.runs import different, job, run
from tests.models.tiny import built, full_forward, image_tokens, images, shallow_image, tiny_config

TOLERANCE = 1e-4
STRATEGIES = {
    "filters": Sample(top_k=40, top_p=0.95, min_p=0.01, temperature=0.8, repetition_penalty=1.3, no_repeat_ngram=2),
    "beam": Beam(width=4, min_tokens=2),
    "diverse": Beam(width=6, groups=3, diversity_penalty=1.0, min_tokens=1),
    "greedy": Beam(width=1, min_tokens=0),
}


class Watched:
    """A CoCaStep that compares rows of every step (old ones near block edges) with the full forward of their tokens."""

    def __init__(self, model, **options):
        self.model, self.inner, self.images = model, CoCaStep(model, **options), {}
        self.fed, self.memory = {}, {}
        self.worst, self.compared, self.reorders, self.moves, self.ages = 0.0, 0, 0, 0, set()

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def remember(self, memory, tokens):
        self.images[memory] = tokens
        self.inner.remember(memory, tokens)

    def admit(self, slots, memory, start=0):
        self.fed.update({slot: [] for slot in slots})
        self.memory.update(dict.fromkeys(slots, memory))
        self.inner.admit(slots, memory, start)

    def evict(self, slots):
        for slot in slots:
            del self.fed[slot], self.memory[slot]
        self.inner.evict(slots)

    def reorder(self, targets, sources, age, *, move=False):
        rows = [(list(self.fed[of]), self.memory[of]) for of in sources]
        for to, (fed, memory) in zip(targets, rows, strict=True):
            self.fed[to], self.memory[to] = fed, memory
        if move:
            self.moves += 1
            for of in sources:
                del self.fed[of], self.memory[of]
        else:
            self.reorders += any(to != of for to, of in zip(targets, sources, strict=True))
        self.inner.reorder(targets, sources, age, move=move)

    def step(self, tokens, oldest, memories, rows_per_memory):
        logits = self.inner.step(tokens, oldest, memories, rows_per_memory)
        self.ages.add(len({len(fed) for fed in self.fed.values()}))
        by_length = {}
        for slot, fed in self.fed.items():
            fed.append(int(tokens[slot]))
            if len(fed) < 16 or len(fed) % BLOCK in (0, 1, 2, 17):
                by_length.setdefault(len(fed), []).append(slot)
        for slots in by_length.values():
            memory = torch.stack([self.images[self.memory[slot]] for slot in slots])
            full = full_forward(self.model, memory, [self.fed[slot] for slot in slots])[:, -1]
            self.worst = max(self.worst, float((logits[slots] - full).abs().max()))
            self.compared += len(slots)
        return logits


def _decode(model, jobs, *, slots, memories, length, arithmetic, threads=1):
    torch.set_num_threads(threads)
    watched = Watched(model, slots=slots, memories=memories, max_tokens=length, arithmetic=arithmetic)
    vocabulary = watched.vocab_size
    tokens = {}

    def encode(batch):
        return tokens.setdefault(batch.sum().item(), image_tokens(model, batch))

    engine = Engine(watched, encode, start_id=vocabulary - 2, end_id=vocabulary - 1, length=length)
    found = list(engine.run(jobs))
    assert watched.compared == engine.row_steps or length > 16
    return watched, found


@pytest.mark.parametrize("arithmetic", [Exact(), Plain()], ids=["exact", "plain"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_tiny_logits_equal_the_full_forward_at_every_step(name, arithmetic):
    decoding = STRATEGIES[name]
    draws = 3 if isinstance(decoding, Sample) else 1
    jobs = [job(key, decoding, draws=draws, limit=5 + key, prompt=(5, 6)[: key % 3]) for key in range(6)]
    watched, found = _decode(
        built(tiny_config()), jobs, slots=14 if arithmetic.granularity == 1 else 32, memories=4, length=16,
        arithmetic=arithmetic,
    )  # fmt: skip
    assert len(found) == 6 * draws
    assert watched.worst < TOLERANCE
    assert max(watched.ages) > 1, "rows of different ages must have met"
    assert watched.reorders > 0 or name in ("filters", "greedy")


def test_rows_that_were_packed_or_refilled_still_equal_the_full_forward():
    jobs = [job(key, Sample(min_tokens=0), draws=5, limit=2 + 3 * (key % 3)) for key in range(6)]
    watched, found = _decode(
        built(tiny_config()), jobs, slots=6, memories=3, length=16, arithmetic=Plain(granularity=2)
    )
    assert len(found) == 30
    assert watched.worst < TOLERANCE
    assert watched.moves > 0
    jobs = [job(key, Sample(min_tokens=0), draws=9, limit=8 if key == 7 else 2) for key in range(8)]
    watched, _ = _decode(built(tiny_config()), jobs, slots=96, memories=9, length=16, arithmetic=Exact())
    assert watched.worst < TOLERANCE
    assert watched.moves > 0


@pytest.mark.parametrize(("context", "arithmetic"), [(40, Exact()), (76, Plain()), (254, Exact())])
def test_captions_longer_than_one_and_two_attention_blocks_equal_the_full_forward(context, arithmetic):
    model = built(tiny_config(context), seed=1)
    jobs = [
        job(0, Sample(min_tokens=context), draws=1, limit=context - 2),
        job(1, Sample(min_tokens=20), draws=1, limit=20),
        job(2, Beam(width=2, min_tokens=40), limit=min(36, context - 2)),
    ]
    watched, found = _decode(model, jobs, slots=4, memories=3, length=context, arithmetic=arithmetic)
    assert max(len(caption.tokens) for caption in found) == context - 2
    assert watched.worst < TOLERANCE


def test_the_last_position_of_the_context_can_be_fed():
    model, context = built(tiny_config(33)), 33
    tokens = image_tokens(model, images(1))[0]
    step = CoCaStep(model, slots=1, memories=1, max_tokens=context, arithmetic=Plain())
    step.remember(0, tokens)
    step.admit([0], 0)
    ids = [7 + position % 50 for position in range(context)]
    full = full_forward(model, tokens[None], [ids])[0]
    for age, token in enumerate(ids):
        logits = step.step(torch.tensor([token]), age, 1, 1)[0]
        assert torch.allclose(logits, full[age], atol=TOLERANCE, rtol=0), age


@pytest.mark.parametrize("name", ["coca_ViT-B-32", pytest.param("coca_ViT-L-14", marks=pytest.mark.slow)])
def test_released_sizes_equal_the_full_forward(name):
    jobs = [
        job(0, STRATEGIES["filters"], draws=2, limit=4, size=224),
        job(1, Beam(width=3, min_tokens=1), limit=2, prompt=(320, 1125), size=224),
        job(2, Beam(width=2, groups=2, diversity_penalty=1.0), limit=2, size=224),
    ]
    for arithmetic in (Exact(), Plain()):
        model = built(shallow_image(name))
        watched, _ = _decode(model, jobs, slots=7, memories=3, length=8, arithmetic=arithmetic, threads=2)
        assert watched.compared > 12
        assert watched.worst < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coca_ViT-L-14", "coca_base"])
def test_whole_architectures_equal_the_full_forward(name):
    model = built(coca.architecture(name))
    size = coca.architecture(name)["vision_cfg"].get("image_size", 224)
    jobs = [job(0, Sample(top_p=0.9), limit=4, size=size)]
    watched, _ = _decode(model, jobs, slots=1, memories=1, length=8, arithmetic=Exact(), threads=2)
    assert watched.compared == 4
    assert watched.worst < TOLERANCE


def test_bfloat16_is_as_near_to_float32_as_the_model_under_autocast():
    """Rounding differs in order only, so our error against float32 may not exceed autocast's by more than half."""
    model = built(tiny_config(76, width=128), seed=2)
    tokens = image_tokens(model, images(1))[0]
    ids = [(31 * position) % 90 + 1 for position in range(70)]
    exact = full_forward(model, tokens[None], [ids])[0]
    with torch.autocast("cpu", torch.bfloat16):
        cast = full_forward(model, tokens[None], [ids])[0]
    step = CoCaStep(model, slots=1, memories=1, max_tokens=76, arithmetic=Plain(), dtype=torch.bfloat16)
    step.remember(0, tokens)
    step.admit([0], 0)
    ours = torch.stack([step.step(torch.tensor([token]), age, 1, 1)[0] for age, token in enumerate(ids)])
    theirs = (cast - exact).abs()
    assert theirs.max() > 1e-3, "autocast must differ from float32, or this says nothing"
    assert (ours - exact).abs().mean() < 1.5 * theirs.mean()
    assert (ours - exact).abs().max() < 1.5 * theirs.max()


def test_what_the_step_cannot_read_is_refused():
    model = built(tiny_config())
    with pytest.raises(UserError, match="25 tokens are more than this CoCa's context of 24"):
        CoCaStep(model, slots=1, memories=1, max_tokens=25, arithmetic=Plain())
    scaled = tiny_config()
    scaled["text_cfg"] = {**scaled["text_cfg"], "ls_init_value": 0.1}
    with pytest.raises(UserError, match="layer scale"):
        CoCaStep(coca.build(scaled), slots=1, memories=1, max_tokens=8, arithmetic=Plain())
    uneven = tiny_config()
    uneven["multimodal_cfg"] = {**uneven["multimodal_cfg"], "heads": 4}
    with pytest.raises(UserError, match="different numbers of heads"):
        CoCaStep(coca.build(uneven), slots=1, memories=1, max_tokens=8, arithmetic=Plain())


def test_rows_done_and_not_yet_looked_at_may_outlive_the_cache():
    model, context = built(tiny_config(32)), 32
    jobs = [
        *(job(key, Sample(min_tokens=20 + key), draws=2, limit=32) for key in range(3)),
        job(3, Beam(width=3), limit=32),
    ]
    often = run(model, jobs, slots=32, memories=4, length=context)
    seldom = run(model, jobs, slots=32, memories=4, length=context, look_every=7)
    assert max(len(caption.tokens) for caption in often.values()) == 32
    assert different(often, seldom) == []
