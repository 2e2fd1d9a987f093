"""A student against open_clip's own forward passes; its directory, and what cannot be built."""

import open_clip
import pytest
import torch

from captioners.core.errors import NotFoundError, UserError
from captioners.jobs.probe.student import make_student
from captioners.reinforcement.teacher_options import TeacherOptions
from captioners.reinforcement.teachers import open_teacher
from tests.jobs.probing import STUDENT

TEXTS = ["a red circle", "", "a large striped green triangle, a small plain blue star and a cross " * 3]


@pytest.fixture(scope="module")
def student():
    return make_student(STUDENT, 0)


def test_texts_without_their_padding_are_open_clips(student):
    tokens = student.tokenize(TEXTS)
    with torch.inference_mode():
        theirs = student.model.encode_text(tokens, normalize=True)
        for rows in ([0], [0, 1], [0, 1, 2]):
            assert torch.allclose(student.texts(tokens[rows]), theirs[rows], atol=1e-6)
    assert not torch.allclose(theirs[0], theirs[1], atol=1e-3), "the negative control"


def test_other_text_towers_are_open_clips_own_forward():
    config = {
        **STUDENT,
        "custom_text": True,
        "text_cfg": {**STUDENT["text_cfg"], "no_causal_mask": True, "pool_type": "last"},
    }
    other = make_student(config, 0)
    tokens = other.tokenize(TEXTS)
    with torch.inference_mode():
        assert torch.equal(other.texts(tokens), other.model.encode_text(tokens, normalize=True))


def test_pictures_are_normalised_as_open_clip_does(student):
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    )
    with torch.inference_mode():
        theirs = student.model.encode_image((pixels / 255 - mean) / std, normalize=True)
    assert torch.allclose(student.embedded_images(pixels), theirs, atol=1e-6)


def test_weights_are_the_seeds_and_nobody_elses_draws_change():
    before = torch.random.get_rng_state()
    one, same, other = (make_student(STUDENT, seed).model.state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["text_projection"], other["text_projection"])


def test_its_directory_is_a_teacher_that_open_clip_and_reinforce_open(student, tmp_path):
    student.save(tmp_path / "teacher")
    with torch.random.fork_rng(devices=[]):
        theirs = open_clip.create_model(f"local-dir:{tmp_path / 'teacher'}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'teacher'}")(TEXTS)
    with torch.inference_mode():
        assert torch.allclose(theirs.encode_text(tokens, normalize=True), student.embedded_texts(TEXTS), atol=1e-6)
    teacher = open_teacher(TeacherOptions(name=f"local-dir:{tmp_path / 'teacher'}"), torch.device("cpu"))
    assert (teacher.size, teacher.dim) == (32, 16)
    assert torch.allclose(teacher.texts(teacher.tokens(TEXTS)), student.embedded_texts(TEXTS), atol=1e-6)


def test_an_architecture_by_name_is_open_clips_and_what_cannot_be_built_is_said(monkeypatch):
    with pytest.raises(NotFoundError, match=r"knows no such architecture\. Did you mean 'ViT-B-16'"):
        make_student("ViT-B16", 0)
    with pytest.raises(UserError, match="student: open_clip cannot build it"):
        make_student({"embed_dim": 16, "vision_cfg": {"image_size": 32, "depth": 3}, "text_cfg": {}}, 0)
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: dict(STUDENT))
    named = make_student("ViT-tiny", 0)
    assert named.size == (32, 32) and named.interpolation == "bicubic"
