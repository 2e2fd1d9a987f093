"""Small reinforced sets of the drawn world for the tests of `probe`."""

import json

from captioners.core.recipe import options_from
from captioners.data.drawn_render import jpeg
from captioners.data.drawn_scene import scene
from captioners.data.drawn_voices import captions
from captioners.data.tar import TarWriter
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.reinforce.job import reinforce

STUDENT = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 1, "width": 32, "head_width": 16, "mlp_ratio": 2.0},
    "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
TEACHERS = [{"name": "tiny", "pretrained": "random", "scale": 20.0}]


def said(index):
    """The captions of scene `index`: two captioners, and one that says one thing five times."""
    drawn = scene(0, "caption", index)
    short = captions(drawn, "short", 3, 1)
    return {
        "syn_text_short": short,
        "syn_text_detailed": captions(drawn, "detailed", 3, 1),
        "syn_text_copy": short[:1] * 5,
    }


def write(folder, count=64, syn=said, n_aug=2):
    """Reinforce `count` captioned scenes in `folder`; return where the shards are."""
    source = folder / "captioned"
    source.mkdir(parents=True)
    with TarWriter(source / "00000.tar") as tar:
        for index in range(count):
            drawn = scene(0, "caption", index)
            about = {"world": 1, "scene": drawn.to_json()}
            members = {
                "jpg": jpeg(drawn),
                "txt": captions(drawn, "alt_text", 1, 0)[0].encode(),
                "json": json.dumps(about).encode(),
                "syn.json": json.dumps(syn(index)).encode(),
            }
            tar.add(f"{index:08d}", members)
    augmentation = {"random_resized_crop": {"size": 96, "scale": [0.7, 1.0]}, "rand_augment": {"num_ops": 0}}
    recipe = {
        "source": {"inputs": [str(source)]}, "teachers": TEACHERS, "n_aug": n_aug, "image_augmentation": augmentation,
        "output": str(folder / "reinforced"), "quarantine_ceiling": 1.0,
    }  # fmt: skip
    reinforce(options_from(ReinforceRecipe, recipe))
    return str(folder / "reinforced" / "shards")


def recipe(shards, output, **more):
    """What a recipe of a probe in seconds says."""
    return {
        "job": "probe", "shards": [shards], "output": str(output), "student": STUDENT, "steps": 4, "batch_size": 16,
        "seeds": [0], "distillation_weights": [0.0], "evaluation": [{"kind": "drawn", "scenes": 24, "pool": 12}],
        "arms": {"one": {"captions": {"short": 1}}, "three": {"captions": {"short": 3}}},
        "declare": {"contrasts": [["three", "one"]]}, "sanity": False, **more,
    }  # fmt: skip
