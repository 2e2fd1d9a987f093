"""The recipes of reinforced sets against the paper's tables 3 and 14 (MobileCLIP2, arXiv 2508.20691)."""

import pytest

from captioners.core.recipe import read_recipe
from captioners.reinforcement.augmentation import Augmentation
from tests.tools import smoke

DFN = [("hf-hub:apple/DFN2B-CLIP-ViT-L-14", None, 70.0), ("hf-hub:apple/DFN2B-CLIP-ViT-L-14-39B", None, 60.0)]
FIRST = [("ViT-L-14-quickgelu", "openai", 100.0), ("ViT-L-14", "datacomp_xl_s13b_b90k", 100.0)]
SETS = {
    "dfndr_2b": (DFN, 2, "float32", "split"),
    "dfndr_2b12m": (DFN, 30, "bfloat16", "split"),
    "datacompdr_12m": (FIRST, 30, "bfloat16", "legacy"),
}


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_the_papers(name):
    found = read_recipe(f"reinforce/{name}").options
    teachers = [(teacher.name, teacher.pretrained, teacher.scale) for teacher in found.teachers]
    assert (teachers, found.n_aug, found.dtype, found.layout) == SETS[name]
    assert found.image_augmentation.drawn_from() == Augmentation()
    assert found.allow_noncommercial == (teachers == DFN)
    assert all(teacher.refusal(False) is not None for teacher in found.teachers) == (teachers == DFN)


def test_a_set_is_made_of_captioned_shards_with_tiny_teachers(tmp_path):
    assert smoke.run("reinforce/datacompdr_12m", tmp_path) == 0
    assert sorted(path.name for path in (tmp_path / "out/shards").glob("*.tar")) == ["00000.tar", "00001.tar"]
