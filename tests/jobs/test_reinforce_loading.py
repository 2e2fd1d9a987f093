"""captioners/jobs/reinforce/loading: what a teacher's embeddings depend on, in its meaning, and nothing else."""

import json
import shutil

import pytest
import torch

from captioners.core.recipe import options_from
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.reinforce import loading
from captioners.jobs.reinforce.loading import meaning_of
from captioners.reinforcement.teacher_options import TeacherOptions
from captioners.reinforcement.teachers import open_teacher
from tests.reinforcement import clips

CPU = torch.device("cpu")


def opened(folder):
    return open_teacher(TeacherOptions(name=f"local-dir:{folder}"), CPU)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loading") / "clip"
    clips.write(folder, "clip")
    return folder


@pytest.mark.parametrize(
    "change", [{"quick_gelu": False}, {"text_cfg": {**clips.TEXT, "context_length": 77, "heads": 4}}], ids=str
)
def test_what_is_in_no_weights_is_in_the_meaning(clip, tmp_path, change):
    """As ViT-L-14 and ViT-L-14-quickgelu: the same tensors, and other embeddings."""
    shutil.copytree(clip, tmp_path / "other")
    about = json.loads((clip / "open_clip_config.json").read_text())
    about["model_cfg"] |= change
    (tmp_path / "other/open_clip_config.json").write_text(json.dumps(about))
    one, other = opened(clip), opened(tmp_path / "other")
    tokens = one.tokens(["a red cat"])
    assert (one.texts(tokens) - other.texts(tokens)).abs().max() > 1e-4, "they do say another thing"
    differ = [name for name, said in meaning_of(one).items() if meaning_of(other)[name] != said]
    assert differ == ["architecture"]


def test_the_folder_is_not_in_the_meaning(clip, tmp_path):
    shutil.copytree(clip, tmp_path / "moved")
    assert meaning_of(opened(clip)) == meaning_of(opened(tmp_path / "moved"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_teachers_compute_in_what_is_stored(monkeypatch, dtype):
    asked = []

    def spy(options, device, bfloat16):
        asked.append(bfloat16)
        return open_teacher(options, device, bfloat16)

    monkeypatch.setattr(loading, "open_teacher", spy)
    teachers = [{"name": "tiny", "pretrained": "random"}]
    said = {"source": {"inputs": ["x"]}, "teachers": teachers, "dtype": dtype, "device": "cpu"}
    ensemble = loading.load(options_from(ReinforceRecipe, said, []), 2)
    assert asked == [dtype == "bfloat16"]
    assert not ensemble.teachers[0].autocast, "a CPU's results are float32"
