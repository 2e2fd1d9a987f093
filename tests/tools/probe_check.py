"""Does the probe tell captioners apart? Scripted ones of known worth on drawn scenes, and which way it must come out.

good           short, detailed and counting captions, all true
copy           the first of these, five times
degenerate     one caption for all pictures
hallucinating  as good's, of another scene: fluent, and false
verbose        every thing with all that it has, and how all stand to each other: true, and without end

python tests/tools/probe_check.py FOLDER [seeds] [steps] [scenes]
"""

import json
import sys
from itertools import combinations
from pathlib import Path
from statistics import fmean

from captioners.core.recipe import options_from
from captioners.data.drawn_render import jpeg
from captioners.data.drawn_scene import RELATIONS, related, scene
from captioners.data.drawn_voices import captions
from captioners.data.drawn_words import RELATION_WORDS, a, words_for
from captioners.data.tar import TarWriter
from captioners.jobs.probe.job import probe
from captioners.jobs.probe.teacher import train_teacher
from captioners.jobs.probe.words import lines
from captioners.jobs.recipes.probe import ProbeRecipe
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.jobs.reinforce.job import reinforce

SAME = "a red circle and a blue square"
EXPECTED = (
    ("good", "degenerate", "average", 0.0),
    ("good", "hallucinating", "average", 0.0),
    ("good", "copy", "average", 0.0),
    ("good", "verbose", "retrieval/short", 0.0),
    ("verbose", "hallucinating", "retrieval/detailed", 0.0),
)
"""What has more of which task; by more than so much, in the mean over seeds."""


def main(folder, seeds=6, steps=250, scenes=2000, **more):
    """Make all that is missing in the folder, probe, print what came out, and return 1 if it is not as it must be."""
    folder = Path(folder)
    recipe = made(folder, seeds, steps, scenes, **more)
    run = probe(recipe, print)
    print("\n".join(lines(run, recipe)))
    found = {}
    for one in run.results:
        found.setdefault((one.distillation, one.arm, one.task), []).append(one.value)
    wrong = [check.name for check in run.checks if not check.holds]
    for arm, other, task, by in EXPECTED:
        one, against = (fmean(found[0.0, name, task]) for name in (arm, other))
        verdict = "as expected" if one - against > by else "NOT AS EXPECTED"
        print(f"{verdict}: {task} of {arm} {one:.3f}, of {other} {against:.3f}")
        wrong += [f"{arm} against {other}"] if one - against <= by else []
    return 1 if wrong else 0


def said(index, scenes):
    """What each captioner says of scene `index`."""
    other = scene(0, "caption", (index + scenes // 2) % scenes)
    good, false = (
        [*captions(one, "short", 2, 1), *captions(one, "detailed", 2, 1), *captions(one, "count", 1, 1)]
        for one in (scene(0, "caption", index), other)
    )
    return {
        "syn_text_good": good,
        "syn_text_copy": good[:1] * 5,
        "syn_text_degenerate": [SAME] * 5,
        "syn_text_hallucinating": false,
        "syn_text_verbose": [verbose(scene(0, "caption", index))] * 5,
    }


def verbose(drawn):
    """All that is true of a scene, in one caption."""
    things = [a(words_for(thing, ("size", "texture", "colour"))) for thing in drawn.things]
    pairs = [
        f"the {words_for(one, ('colour',))} is {RELATION_WORDS[relation][0]} the {words_for(other, ('colour',))}"
        for one, other in combinations(drawn.things, 2)
        for relation in RELATIONS
        if related(one, relation, other)
    ]
    return ". ".join([*things, *pairs])


def made(folder, seeds, steps, scenes, *, student=None, teacher_steps=600, n_aug=4, **more):
    """Draw, caption, teach a teacher and reinforce, as far as it is not there; return the recipe."""
    captioned = folder / "captioned/00000.tar"
    if not captioned.is_file():
        captioned.parent.mkdir(parents=True)
        with TarWriter(captioned) as tar:
            for index in range(scenes):
                drawn = scene(0, "caption", index)
                about = json.dumps({"world": 1, "scene": drawn.to_json()}).encode()
                syn = json.dumps(said(index, scenes)).encode()
                text = captions(drawn, "alt_text", 1, 0)[0].encode()
                tar.add(f"{index:08d}", {"jpg": jpeg(drawn), "txt": text, "json": about, "syn.json": syn})
    architecture = {"student": student} if student else {}
    teaching = {"steps": teacher_steps, "batch_size": more.get("batch_size", 128), **architecture}
    teacher = train_teacher(folder / "teacher", scenes=scenes, say=print, **teaching)
    augmentation = {"random_resized_crop": {"size": 96, "scale": [0.7, 1.0]}, "rand_augment": {"num_ops": 0}}
    reinforce(
        options_from(
            ReinforceRecipe,
            {
                "source": {"inputs": [str(captioned.parent)]}, "teachers": [{"name": f"local-dir:{teacher}"}],
                "n_aug": n_aug, "image_augmentation": augmentation, "output": str(folder / "reinforced"),
            },
        ),
        say=print,
    )  # fmt: skip
    arms = {name: {"captions": {name: 5}} for name in ("good", "copy", "degenerate", "hallucinating", "verbose")}
    return options_from(
        ProbeRecipe,
        {
            "job": "probe", "shards": [str(folder / "reinforced/shards")], "arms": arms, "seeds": list(range(seeds)),
            "steps": steps, "output": str(folder / "probe"), "workers": 2, **architecture,
            "declare": {"contrasts": [["good", "hallucinating"]]}, **more,
        },
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
