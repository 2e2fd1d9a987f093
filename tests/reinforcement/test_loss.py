"""The loss against a slow one written out from the paper's equations in float64, and against open_clip's own."""

import math
from dataclasses import replace

import open_clip
import pytest
import torch
import torch.nn.functional as F

from captioners.core.errors import UserError
from captioners.reinforcement.loss import Embeddings, ReinforcedLoss, Teacher

TEACHERS = (Teacher(5, 70.0), Teacher(3, 60.0))
FORMS = ("sum_over_teachers", "mean_of_softmaxes")
B, E = 6, 4


def unit(rows, width, generator):
    return F.normalize(torch.randn(rows, width, generator=generator, dtype=torch.float64), dim=1)


def batch(seed=0, synthetic=True, pairs=B):
    """Student and teachers, whose embeddings are near each other: at these scales a softmax would else be one-hot."""
    generator = torch.Generator().manual_seed(seed)

    def taught():
        parts = [unit(1, one.width, generator) + 0.15 * unit(pairs, one.width, generator) for one in TEACHERS]
        return torch.cat([F.normalize(part, dim=1) for part in parts], 1)

    student = Embeddings(*(unit(pairs, E, generator) for _ in range(2 + synthetic)))
    return student, Embeddings(*(taught() for _ in range(2 + synthetic)))


SCALE = torch.tensor(12.5, dtype=torch.float64)


def softmax(values):
    largest = max(values)
    exponentials = [math.exp(value - largest) for value in values]
    return [value / sum(exponentials) for value in exponentials]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def slow(student, teacher, scale, weight, form):
    """Eq. 1 and 2, one number at a time: (1 - l) CLIP + l Distill, summed over real and synthetic captions."""
    images, *student_texts = [one.tolist() for one in student if one is not None]
    taught_images, *taught_texts = [one.tolist() for one in teacher if one is not None]
    spans = [(0, 5, 70.0), (5, 8, 60.0)]
    total = 0.0
    for texts, their_texts in zip(student_texts, taught_texts, strict=True):
        clip = distillation = 0.0
        for a, b, their_a, their_b in (
            (images, texts, taught_images, their_texts),
            (texts, images, their_texts, taught_images),
        ):
            for i in range(len(a)):
                q = softmax([scale * dot(a[i], b[j]) for j in range(len(b))])
                clip -= math.log(q[i]) / len(a) / 2
                p = [softmax([s * dot(their_a[i][x:y], other[x:y]) for other in their_b]) for x, y, s in spans]
                if form == "sum_over_teachers":
                    kl = sum(pk * math.log(pk / qk) for one in p for pk, qk in zip(one, q, strict=True) if pk > 0)
                    distillation += kl / len(p) / len(a) / 2
                else:
                    mean = [sum(column) / len(p) for column in zip(*p, strict=True)]
                    distillation -= sum(m * math.log(qk) for m, qk in zip(mean, q, strict=True)) / len(a) / 2
        total += (1 - weight) * clip + weight * distillation
    return total


@pytest.mark.parametrize("synthetic", [True, False])
@pytest.mark.parametrize("weight", [0.0, 0.75, 1.0])
@pytest.mark.parametrize("form", FORMS)
def test_the_loss_is_the_papers_in_float64(form, weight, synthetic):
    student, teacher = batch(synthetic=synthetic)
    expected = slow(student, teacher, float(SCALE), weight, form)
    found = ReinforcedLoss(TEACHERS, weight, form)(student, teacher, SCALE)
    assert float(found.total) == pytest.approx(expected, abs=1e-10)
    assert float((1 - weight) * found.clip + weight * found.distillation) == pytest.approx(expected, abs=1e-10)
    if weight:  # the negative controls: scales swapped, one scale for all
        for scales in ((60.0, 70.0), (65.0, 65.0)):
            others = [replace(one, logit_scale=scale) for one, scale in zip(TEACHERS, scales, strict=True)]
            assert abs(float(ReinforcedLoss(others, weight, form)(student, teacher, SCALE).total) - expected) > 1e-4


def gradients(loss, student, teacher, own=slice(None)):
    leaves = [one.clone().requires_grad_() for one in student]
    scale = SCALE.clone().requires_grad_()
    total = loss(Embeddings(*leaves), teacher, scale, own).total
    return total.detach(), torch.autograd.grad(total, [*leaves, scale])


def test_both_forms_have_the_same_gradient_and_differ_by_the_teachers_entropy():
    student, teacher = batch()
    found = {form: gradients(ReinforcedLoss(TEACHERS, 0.75, form), student, teacher) for form in FORMS}
    (summed, one), (averaged, other) = (found[form] for form in FORMS)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-13) for a, b in zip(one, other, strict=True))
    assert min(float(gradient.abs().max()) for gradient in one) > 1e-3
    entropy = torch.zeros((), dtype=torch.float64)
    for texts in (teacher.texts, teacher.syn_texts):
        for a, b in ((teacher.images, texts), (texts, teacher.images)):
            for (x, y), teacher_scale in (((0, 5), 70.0), ((5, 8), 60.0)):
                p = (teacher_scale * a[:, x:y] @ b[:, x:y].T).softmax(1)
                entropy -= (p * p.log()).sum() / B / 4
    assert float(averaged - summed) == pytest.approx(0.75 * float(entropy), abs=1e-12)
    # The negative control: averaging before the softmax is another loss.
    averaged_logits = (
        sum(s * teacher.images[:, x:y] @ teacher.texts[:, x:y].T for x, y, s in ((0, 5, 70.0), (5, 8, 60.0))) / 2
    )
    p = [(s * teacher.images[:, x:y] @ teacher.texts[:, x:y].T).softmax(1) for x, y, s in ((0, 5, 70.0), (5, 8, 60.0))]
    assert float((averaged_logits.softmax(1) - sum(p) / 2).abs().max()) > 1e-2


def test_gradients_are_those_of_finite_differences():
    student, teacher = batch(pairs=3)

    def total(images, texts, syn_texts, scale):
        return ReinforcedLoss(TEACHERS, 0.6)(Embeddings(images, texts, syn_texts), teacher, scale).total

    assert torch.autograd.gradcheck(total, [one.clone().requires_grad_() for one in (*student, SCALE)])


def test_no_gradient_reaches_the_teachers():
    student, teacher = batch()
    leaves = Embeddings(*(one.clone().requires_grad_() for one in teacher))
    scale = SCALE.clone().requires_grad_()
    ReinforcedLoss(TEACHERS)(student, leaves, scale).total.backward()
    assert all(one.grad is None for one in leaves)


def test_one_teacher_is_open_clips_distillation_loss():
    student, teacher = batch(synthetic=False)
    student, teacher = (Embeddings(both.images.float(), both.texts.float()) for both in (student, teacher))
    theirs = open_clip.DistillClipLoss()(
        student.images,
        student.texts,
        SCALE.float(),
        teacher.images[:, :5],
        teacher.texts[:, :5],
        70.0,
        output_dict=True,
    )
    ours = ReinforcedLoss(TEACHERS[:1], 0.5, "mean_of_softmaxes")(
        student, Embeddings(teacher.images[:, :5], teacher.texts[:, :5]), SCALE.float()
    )
    assert float(ours.clip) == pytest.approx(float(theirs["contrastive_loss"]), abs=1e-5)
    assert float(ours.distillation) == pytest.approx(float(theirs["distill_loss"]), abs=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_shares_of_a_batch_add_up_to_it_value_and_gradient(form):
    student, teacher = batch()
    loss = ReinforcedLoss(TEACHERS, 0.75, form)
    whole, expected = gradients(loss, student, teacher)
    parts = [gradients(loss, student, teacher, own) for own in (slice(0, 1), slice(1, 4), slice(4, 6), slice(6, 6))]
    assert float(sum(value for value, _ in parts)) == pytest.approx(float(whole), abs=1e-12)
    for number, gradient in enumerate(expected):
        assert torch.allclose(sum(found[number] for _, found in parts), gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_student_equal_to_its_only_teacher_has_no_divergence_left(form):
    _, teacher = batch()
    alone = Embeddings(*(one[:, :5] for one in teacher))
    loss = ReinforcedLoss([Teacher(5, 70.0)], 1.0, form)
    found = loss(alone, alone, torch.tensor(70.0, dtype=torch.float64))
    if form == "sum_over_teachers":
        assert float(found.total) == pytest.approx(0, abs=1e-12)
    other = loss(alone, alone, torch.tensor(50.0, dtype=torch.float64))
    assert float(other.total) > float(found.total) + 1e-3


def test_low_precision_inputs_are_computed_in_float32():
    student, teacher = batch()
    loss = ReinforcedLoss(TEACHERS, 0.75)
    expected = loss(*(Embeddings(*(one.bfloat16().double() for one in both)) for both in (student, teacher)), SCALE)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(*(Embeddings(*(one.bfloat16() for one in both)) for both in (student, teacher)), SCALE.float())
    assert found.total.dtype == torch.float32
    assert float(found.total) == pytest.approx(float(expected.total), abs=1e-4)


def test_mistakes_are_said():
    student, teacher = batch()
    with pytest.raises(UserError, match=r"8 wide, the teachers 5 \+ 5"):
        ReinforcedLoss((TEACHERS[0],) * 2)(student, teacher, SCALE)
    with pytest.raises(UserError, match="between 0 and 1"):
        ReinforcedLoss(TEACHERS, 1.5)
    with pytest.raises(UserError, match="no teachers"):
        ReinforcedLoss(())
