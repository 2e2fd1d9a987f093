"""Steps against the dataset that reads shards, training against one written out by hand, and what arms share."""

from math import log

import open_clip
import pytest
import torch
from torch.nn.functional import normalize

from captioners.core.errors import UserError
from captioners.jobs.probe.student import make_student
from captioners.jobs.probe.table import copies, tables_of
from captioners.jobs.probe.train import Steps, train
from captioners.jobs.recipes.probe import Arm, ProbeOptions
from captioners.models.weights import weights_digest
from captioners.reinforcement.dataset import ReinforcedDataset, StudentTransform, collate
from captioners.reinforcement.held import hold, teachers_of
from captioners.reinforcement.loss import Teacher
from captioners.reinforcement.sampling import Sampling
from captioners.training.optimizer import learning_rate
from tests.jobs import probing

BATCH, COUNT = 8, 20
OPTIONS = ProbeOptions(student=probing.STUDENT, steps=3, batch_size=BATCH)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe-train")
    shards = probing.write(folder, COUNT)
    student = make_student(probing.STUDENT, 0)
    held = hold([shards], folder / "held", student.size, student.interpolation, most_bytes=10**9)
    return shards, held


def table_of(held, **captions):
    return tables_of({"arm": Arm(captions=captions)}, [held])["arm"]


def steps_of(table, student, seed=0, ground_truth=True, batch=BATCH):
    tokens = student.tokenize(table.held.texts), student.tokenize(list(table.captions) or [""])
    return Steps(table, tokens, seed=seed, batch=batch, ground_truth=ground_truth)


def trained(table, shards, seed=0, weight=0.5, ground_truth=True):
    student = make_student(probing.STUDENT, seed)
    teachers = [Teacher(*one) for one in teachers_of([shards])]
    train(student, steps_of(table, student, seed, ground_truth), teachers, OPTIONS, distillation_weight=weight)
    return weights_digest(student.model.state_dict())


def test_a_step_is_a_batch_of_the_dataset(made):
    shards, held = made
    student = make_student(probing.STUDENT, 0)
    table = table_of(held, short=3, detailed=3)
    steps = steps_of(table, student, seed=5)
    rule = Sampling(5, syn_keys="^syn_text_(short|detailed)$")
    dataset = ReinforcedDataset([shards], lambda text: student.tokenize([text]), StudentTransform(student.size), rule)
    for step in range(2 * (COUNT // BATCH)):
        epoch, place = divmod(step, COUNT // BATCH)
        dataset.set_epoch(epoch)
        order = dataset.order(epoch)[place * BATCH : (place + 1) * BATCH]
        wanted, found = collate([dataset[number] for number in order]), steps[step]
        assert wanted.keys == [held.names[number][1] for number in order]
        assert torch.equal(student.preprocess.normalised(found.pixels), wanted.image)
        assert torch.equal(found.texts, wanted.text) and torch.equal(found.syn_texts, wanted.syn_text)
        theirs = wanted.image_emb, wanted.text_emb, wanted.syn_text_emb
        assert all(torch.equal(ours, row) for ours, row in zip(found.teacher, theirs, strict=True))


def test_arms_differ_in_synthetic_captions_alone(made):
    _, held = made
    student = make_student(probing.STUDENT, 0)
    feeds = [steps_of(table_of(held, **captions), student) for captions in ({"short": 1}, {"detailed": 3}, {})]
    for step in (4, 0, 3):
        one, other, none = (feed[step] for feed in feeds)
        for mine in (other, none):
            assert torch.equal(one.pixels, mine.pixels) and torch.equal(one.texts, mine.texts)
            assert torch.equal(one.teacher.images, mine.teacher.images)
        assert not torch.equal(one.syn_texts, other.syn_texts) and none.syn_texts is None
    assert not torch.equal(feeds[0][0].pixels, steps_of(table_of(held, short=1), student, seed=1)[0].pixels)


def test_copies_of_a_caption_are_that_caption_bit_for_bit(made):
    """Once as the probe makes them, and once as five equal captions in the shards, each with a row of its own there."""
    shards, held = made
    alone = trained(table_of(held, short=1), shards)
    assert alone == trained(copies(table_of(held, short=2), 5), shards) == trained(table_of(held, copy=5), shards)
    assert alone != trained(table_of(held, short=2), shards), "the negative control"


def test_training_is_repeatable_and_every_choice_counts(made):
    shards, held = made
    table = table_of(held, short=3)
    found = trained(table, shards)
    assert found == trained(table, shards)
    others = [
        trained(table, shards, seed=1),
        trained(table, shards, weight=0.0),
        trained(table, shards, ground_truth=False),
    ]
    assert len({found, *others}) == 4


def test_training_is_the_steps_written_out(made):
    """Independent: open_clip's forward, its ClipLoss for ground truth and synthetic captions, and torch's AdamW."""
    shards, held = made
    table = table_of(held, short=3)
    ours, theirs = make_student(probing.STUDENT, 0), make_student(probing.STUDENT, 0)
    feed = steps_of(table, ours)
    train(ours, feed, [Teacher(*one) for one in teachers_of([shards])], OPTIONS, distillation_weight=0.0)
    model, clip = theirs.model, open_clip.ClipLoss()
    flat = ("positional_embedding", "class_embedding")
    plain = [p for name, p in model.named_parameters() if p.ndim < 2 or name.endswith(flat)]
    ids = {id(p) for p in plain}
    groups = [
        {"params": [p for p in model.parameters() if id(p) not in ids], "weight_decay": 0.2},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0, betas=(0.9, 0.95), eps=1e-6)
    for number in range(3):
        step = feed[number]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(number, peak=3e-3, warmup=0, total=3)
        images = model.encode_image(theirs.preprocess.normalised(step.pixels), normalize=True)
        loss = sum(
            clip(images, normalize(model.encode_text(tokens), dim=-1), model.logit_scale.exp())
            for tokens in (step.texts, step.syn_texts)
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    for (name, one), (_, other) in zip(ours.model.named_parameters(), model.named_parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-5), name
    start = dict(make_student(probing.STUDENT, 0).model.named_parameters())
    assert (model.text_projection - start["text_projection"]).abs().max() > 1e-3, "the negative control"


def test_a_student_learns(made):
    """After 40 steps its losses of ground truth and synthetic captions are below those of a guess among the batch."""
    shards, held = made
    student = make_student(probing.STUDENT, 0)
    options, losses = OPTIONS.model_copy(update={"steps": 40}), []
    teachers = [Teacher(*one) for one in teachers_of([shards])]
    feed = steps_of(table_of(held, detailed=3), student)
    last = train(student, feed, teachers, options, distillation_weight=0.0, look=lambda _, loss: losses.append(loss))
    assert last == losses[-1] < 2 * log(BATCH) < losses[0]


def test_a_batch_larger_than_the_set_is_refused(made):
    _, held = made
    with pytest.raises(UserError, match="batch_size 32: the arms share 20 pictures"):
        steps_of(table_of(held, short=1), make_student(probing.STUDENT, 0), batch=32)
