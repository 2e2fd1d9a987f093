"""Teachers: what open_clip's own encode_image and encode_text say, each by its own pixels and tokens."""

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from captioners.core.errors import NotFoundError, UserError
from captioners.reinforcement.teacher_options import TeacherOptions
from captioners.reinforcement.teachers import Ensemble, open_teacher
from tests.reinforcement import clips

CPU = torch.device("cpu")
TEXTS = ["a red cat sits on the table", "two small birds", "the man runs near a street " * 30, ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for name in clips.CONFIGS:
        clips.write(folder / name, name)
    return folder


def pictures(count=5, seed=0):
    generator = np.random.Generator(np.random.PCG64(seed))
    return [
        Image.fromarray(generator.integers(0, 256, (40 + 9 * number, 70, 3), dtype=np.uint8)).convert("RGB")
        for number in range(count)
    ]


def ensemble(folder, *names, batch=3):
    return Ensemble([open_teacher(TeacherOptions(name=f"local-dir:{folder / name}"), CPU) for name in names], batch)


def sized(found, images):
    """Each picture as the teachers' evaluation transforms resize it."""
    by_size = {teacher.size: teacher.preprocess for teacher in found.teachers}
    return {size: np.stack([fit.pixels(image) for image in images]) for size, fit in by_size.items()}


def by_open_clip(folder, name, images, texts):
    """The independent answer: open_clip's own model, transform, tokenizer and normalisation."""
    called = f"local-dir:{folder / name}"
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        model, _, transform = open_clip.create_model_and_transforms(called)
        model.eval()
        pixels = torch.stack([transform(image) for image in images])
        tokens = open_clip.get_tokenizer(called)(texts)
        return model.encode_image(pixels, normalize=True).numpy(), model.encode_text(tokens, normalize=True).numpy()


@pytest.mark.parametrize("name", clips.CONFIGS)
def test_a_teacher_says_what_open_clip_says(folder, name):
    images, found = pictures(), ensemble(folder, name)
    wanted_images, wanted_texts = by_open_clip(folder, name, images, TEXTS)
    said = found.images(sized(found, images))
    assert said.dtype == np.float32 and np.abs(said - wanted_images).max() < 1e-5
    assert np.abs(found.texts(TEXTS) - wanted_texts).max() < 1e-5
    assert np.abs(said - said[::-1]).max() > 1e-2, "the pictures differ, or equality would say nothing"


def test_a_teacher_that_is_fed_another_ones_pixels_or_normalisation_says_otherwise(folder):
    """The negative control of the test above."""
    images, found = pictures(), ensemble(folder, "clip", "siglip")
    wanted, _ = by_open_clip(folder, "siglip", images, TEXTS)
    clip, siglip = found.teachers
    assert clip.size == siglip.size
    pixels = torch.from_numpy(np.stack([siglip.preprocess.pixels(image) for image in images]))
    assert np.abs(siglip.images(pixels).numpy() - wanted).max() < 1e-5
    siglip.preprocess = clip.preprocess
    assert np.abs(siglip.images(pixels).numpy() - wanted).max() > 1e-3


def test_an_ensemble_puts_blocks_of_unit_length_side_by_side_in_its_order(folder):
    names = ("large-input", "siglip", "clip")
    images, found = pictures(7), ensemble(folder, *names)
    assert found.dims == [32, 40, 48]
    assert found.sizes == [56, 32]
    said, told = found.images(sized(found, images)), found.texts(TEXTS)
    start = 0
    for name, dim in zip(names, found.dims, strict=True):
        block = slice(start, start + dim)
        start += dim
        alone = ensemble(folder, name)
        assert (alone.texts(TEXTS) == told[:, block]).all()
        assert np.abs(np.linalg.norm(said[:, block], axis=1) - 1).max() < 1e-6
        assert np.abs(np.linalg.norm(told[:, block], axis=1) - 1).max() < 1e-6


def test_teachers_of_other_tokenizers_are_each_fed_their_own_tokens(folder):
    clip, siglip, large = ensemble(folder, "clip", "siglip", "large-input").teachers
    assert len({clip.tokens_digest, siglip.tokens_digest, large.tokens_digest}) == 3
    assert clip.tokens(TEXTS).shape == (4, 77) and siglip.tokens(TEXTS).shape == (4, 16)
    assert large.tokens(TEXTS).shape == (4, 24)
    with pytest.raises(IndexError):  # the negative control: a SigLIP of 40 words cannot read CLIP's tokens
        siglip.texts(clip.tokens(TEXTS))


def test_the_number_of_threads_changes_no_bit(folder):
    images, found = pictures(9), ensemble(folder, "clip", "large-input", batch=4)
    seen, results = sized(found, images), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append((found.images(seen).tobytes(), found.texts(TEXTS).tobytes()))
        assert torch.get_num_threads() == threads
    assert len(set(results)) == 1


def test_the_scale_is_the_recipes_or_the_trained_one(folder):
    name = f"local-dir:{folder / 'clip'}"
    assert open_teacher(TeacherOptions(name=name, scale=70.0), CPU).scale == 70.0
    own = open_teacher(TeacherOptions(name=name), CPU)
    assert own.scale == pytest.approx(float(own.model.logit_scale.detach().exp()), rel=1e-5)


def test_random_teachers_depend_on_their_seed_alone():
    one, same, other = (
        open_teacher(TeacherOptions(name="tiny-siglip", pretrained="random", seed=seed), CPU) for seed in (1, 1, 2)
    )
    tokens = one.tokens(TEXTS)
    assert (one.texts(tokens) == same.texts(tokens)).all()
    assert not (one.texts(tokens) == other.texts(tokens)).all()
    assert hasattr(one.model, "logit_bias")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"name": "ViT-B-23", "pretrained": "openai"}, NotFoundError, "ViT-B-32"),
        ({"name": "ViT-B-32"}, NotFoundError, "which weights.*laion400m_e31"),
        ({"name": "ViT-B-32", "pretrained": "openaj"}, NotFoundError, "Did you mean 'openai'"),
        ({"name": "local-dir:/nowhere"}, UserError, "/nowhere"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_line(options, error, said):
    with pytest.raises(error, match=said) as raised:
        open_teacher(TeacherOptions(**options), CPU)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 700


@pytest.mark.parametrize("data", [b"", b"no checkpoint", b"PK\x03\x04 a cut zip"])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_file_that_is_no_checkpoint_is_said_in_one_line(tmp_path, data, ending):
    file = tmp_path / f"weights.{ending}"
    file.write_bytes(data)
    with pytest.raises(UserError, match="open_clip cannot open it") as raised:
        open_teacher(TeacherOptions(name="RN50", pretrained=str(file)), CPU)
    assert "\n" not in str(raised.value)


def test_apples_weights_are_for_those_who_say_so():
    apple = TeacherOptions(name="hf-hub:apple/DFN2B-CLIP-ViT-L-14")
    assert "allow_noncommercial" in apple.refusal(False) and apple.refusal(True) is None
    assert TeacherOptions(name="ViT-L-14", pretrained="dfn2b_s39b").refusal(False)
    assert TeacherOptions(name="ViT-L-14", pretrained="openai").refusal(False) is None
