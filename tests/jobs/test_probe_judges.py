"""Tasks judged by students whose answers are known: one that sees everything, one that sees nothing, and by hand."""

import json
import sys
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from captioners.core.errors import CaptionersError, UserError
from captioners.core.recipe import options_from
from captioners.data.drawn_check import check
from captioners.data.drawn_scene import scene
from captioners.data.tar import TarWriter
from captioners.images.preprocess import Preprocess
from captioners.jobs.probe import drawn
from captioners.jobs.probe.judges import Judges, states_of
from captioners.jobs.probe.student import make_student
from captioners.jobs.recipes.probe import Drawn, ProbeRecipe, Retrieval, ZeroShot
from tests.jobs import captioned, probing

PREPROCESS = Preprocess({"size": 8})
OPTIONS = Drawn(scenes=16, pool=8)


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    return drawn.DrawnJudge(OPTIONS, PREPROCESS, tmp_path_factory.mktemp("judge"))


class Seeing:
    """Embeds pictures of the judge's scenes as themselves, and texts as the scenes that they are true of.

    `lies` turns it round: texts are embedded as the scenes that they are false of.
    """

    def __init__(self, judge, lies=False):
        singles = [one for one in (scene(0, "eval", at) for at in range(1000)) if len(one.things) == 1]
        self.scenes = [*singles[: OPTIONS.scenes], *judge.scenes]
        self.judge, self.lies = judge, lies

    def embedded_images(self, pixels):
        every = torch.eye(len(self.scenes))
        return every[: OPTIONS.scenes] if pixels is self.judge._single else every[OPTIONS.scenes :]

    def embedded_texts(self, texts):
        rows = [[(check(text, one).verdict == "true") != self.lies for one in self.scenes] for text in texts]
        return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32) + 1e-6, dim=1)


class Blind:
    """Sees every picture alike and hears every text alike."""

    def embedded_images(self, pixels):
        return torch.ones(len(pixels), 1)

    def embedded_texts(self, texts):
        return torch.ones(len(texts), 1)


class Random:
    """Answers by chance."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def embedded_images(self, pixels):
        return torch.nn.functional.normalize(torch.randn(len(pixels), 8, generator=self.generator), dim=1)

    def embedded_texts(self, texts):
        return torch.nn.functional.normalize(torch.randn(len(texts), 8, generator=self.generator), dim=1)


def test_who_sees_everything_has_everything_right(judge):
    found = judge(Seeing(judge))
    assert {name: found[name] for name in ("zero_shot", "relation", "binding", "text_to_image")} == {
        "zero_shot": 1.0, "relation": 1.0, "binding": 1.0, "text_to_image": 1.0,
    }  # fmt: skip
    assert found["count"] == 1.0 and found["image_to_text"] == 1.0 and found["text_to_image@5"] == 1.0
    assert {name for name in found if name.startswith("retrieval/")} == {f"retrieval/{one}" for one in drawn.MANNERS}


def test_who_lies_has_pairs_wrong_and_who_is_blind_is_at_chance(judge):
    lies = judge(Seeing(judge, lies=True))
    assert (lies["relation"], lies["binding"]) == (0.0, 0.0)
    blind = judge(Blind())
    assert (blind["relation"], blind["binding"], blind["count"]) == (0.5, 0.5, 0.25)


def test_chance_is_what_answers_by_chance_come_to(judge):
    found = [judge(Random(seed)) for seed in range(60)]
    for task, expected in judge.chance.items():
        values = np.array([one[task] for one in found])
        assert values.mean() == pytest.approx(expected, abs=4 * values.std() / 60**0.5 + 0.02), task


def test_recall_is_brute_force_over_the_checkers_relevance(judge):
    student = Random(7)
    images, told = student.embedded_images(torch.zeros(8, 1)), judge._told["count"]
    texts = Random(8).embedded_texts(told)
    answers = iter([texts])
    fixed = type("Fixed", (), {"embedded_texts": lambda self, given: next(answers)})()
    judge_one = {**judge._told}
    judge._told = {"count": told}
    try:
        found = judge._retrieval(fixed, images)
    finally:
        judge._told = judge_one
    relevant = np.array([[check(text, one).verdict == "true" for one in judge._pool] for text in told])
    assert relevant.diagonal().all() and relevant.sum() > len(told), "short captions are true of many"
    similarity = (texts @ images.T).numpy()
    for name, table, right in (("text_to_image", similarity, relevant), ("image_to_text", similarity.T, relevant.T)):
        order = np.argsort(-table, axis=1)
        assert found[name] == np.mean([right[row, order[row, 0]] for row in range(8)])
        assert found[f"{name}@5"] == np.mean([right[row, order[row, :5]].any() for row in range(8)])


def test_pairs_are_one_true_and_one_false_text_of_the_same_words(judge):
    for pairs, moved in ((judge._relations, False), (judge._bindings, True)):
        assert len(pairs) > 7
        for place, true, false in pairs:
            one = judge.scenes[place]
            assert [check(text, one).verdict for text in (true, false)] == ["true", "false"]
            assert (sorted(true.split()) == sorted(false.split())) == moved
    words = {text.split()[4] for _, true, false in judge._relations for text in (true, false)}
    assert words <= {"left", "right", "above", "below"} and len(words) > 1


def test_scenes_are_of_the_split_eval_and_pictures_are_kept(judge, tmp_path):
    assert {one.split for one in judge.scenes} == {"eval"}
    first = drawn.DrawnJudge(Drawn(scenes=3, pool=2), PREPROCESS, tmp_path)
    (file,) = tmp_path.glob("*.npy")
    time = file.stat().st_mtime_ns
    again = drawn.DrawnJudge(Drawn(scenes=3, pool=2), PREPROCESS, tmp_path)
    assert torch.equal(first._pixels, again._pixels) and file.stat().st_mtime_ns == time
    assert torch.equal(first._pixels[0], torch.from_numpy(PREPROCESS.pixels(drawn.render(scene(0, "eval", 0)))))


CLASSES = ["cat", "dog", "bird"]


def write_set(folder, count=9):
    folder.mkdir(parents=True, exist_ok=True)
    with TarWriter(folder / "0.tar") as tar:
        for at in range(count):
            meta = {"about": {"class": CLASSES[at % 3] if at % 2 else at % 3}}
            members = {"jpg": captioned.jpeg(at), "txt": f"caption {at}".encode(), "json": json.dumps(meta).encode()}
            tar.add(f"{at:04d}", members if at != 4 else {**members, "jpg": b"no picture"})
    return {"kind": "webdataset", "inputs": [str(folder)]}


def evaluation(*tasks):
    data = {"job": "probe", "shards": ["x"], "arms": {"a": {}}, "evaluation": list(tasks)}
    return options_from(ProbeRecipe, data).evaluation


def test_any_pictures_are_classified_by_their_classes_texts(tmp_path):
    source = write_set(tmp_path / "set")
    (options,) = evaluation({"kind": "zero_shot", "name": "pets", "source": source, "label": "about.class",
                             "classes": CLASSES, "templates": ["a {}", "one {}"]})  # fmt: skip
    assert isinstance(options, ZeroShot)
    student = make_student(probing.STUDENT, 0)
    judges = Judges([options], student.preprocess, tmp_path / "cache")
    found = judges(student)
    assert found["average"] == found["pets"] and judges.chance["average"] == pytest.approx(1 / 3)
    labels, right = [at % 3 for at in range(9) if at != 4], 0
    texts = [student.embedded_texts([f"a {name}", f"one {name}"]).mean(0) for name in CLASSES]
    for at, label in zip([at for at in range(9) if at != 4], labels, strict=True):
        from captioners.images.decode import read_image

        picture = student.preprocess.pixels(read_image(captioned.jpeg(at), "upright").image)
        image = student.embedded_images(torch.from_numpy(picture)[None])[0]
        right += int(np.argmax([float(image @ (one / one.norm())) for one in texts]) == label)
    assert found["pets"] == pytest.approx(right / 8), "the unreadable picture is left out"
    assert found["pets@5"] == 1.0


def test_any_captions_retrieve_their_pictures_and_pictures_their_captions(tmp_path):
    source = write_set(tmp_path / "set")
    (options,) = evaluation({"kind": "retrieval", "name": "small", "source": source, "images": 6})
    assert isinstance(options, Retrieval)
    student = make_student(probing.STUDENT, 0)
    judges = Judges([options], student.preprocess, tmp_path / "cache")
    found = judges(student)
    names = [f"small/{way}{near}" for way, near in product(("image_to_text", "text_to_image"), ("", "@5"))]
    assert set(found) == {"average", *names}
    (judge,) = judges._judges
    similarity = (
        student.embedded_texts([own[0] for own in judge._captions]) @ student.embedded_images(judge._pixels).T
    ).numpy()
    assert found["small/text_to_image"] == np.mean(similarity.argmax(1) == np.arange(len(similarity)))
    assert found["small/image_to_text"] == np.mean(similarity.argmax(0) == np.arange(len(similarity)))
    assert found["average"] == pytest.approx((found["small/text_to_image"] + found["small/image_to_text"]) / 2)


def test_pictures_that_changed_are_decoded_anew_and_are_another_task(tmp_path):
    source = write_set(tmp_path / "set")
    (options,) = evaluation({"kind": "retrieval", "name": "small", "source": source, "images": 3})
    student = make_student(probing.STUDENT, 0)
    before, first = states_of(options), Judges([options], student.preprocess, tmp_path / "cache")._judges[0]._pixels
    (tar,) = (tmp_path / "set").rglob("*.tar")
    samples = list(captioned.read(tar))
    with TarWriter(tar) as writer:
        for (key, members), (_, other) in pairwise(samples):
            writer.add(key, {**members, "jpg": other["jpg"]})
    again = Judges([options], student.preprocess, tmp_path / "cache")._judges[0]._pixels
    assert states_of(options) != before and not torch.equal(again, first)


def test_students_are_not_judged_on_what_they_are_trained_on(tmp_path):
    judges = Judges([OPTIONS], PREPROCESS, tmp_path)
    judges.refuse_leaks(scene(0, "caption", at) for at in range(50))
    with pytest.raises(UserError, match="1 of its scenes are among the pictures that students train on"):
        judges.refuse_leaks([scene(0, "caption", 0), scene(0, "eval", 3)])


def test_a_label_that_is_no_class_and_a_source_without_captions_are_said(tmp_path):
    source = write_set(tmp_path / "set")
    wrong = {"kind": "zero_shot", "name": "pets", "source": source, "classes": ["cat", "dog"]}
    with pytest.raises(
        UserError, match=r"evaluation pets: .*0000.*: its first caption is 'caption 0', none of the classes"
    ):
        Judges(evaluation(wrong), PREPROCESS, tmp_path / "cache")


PROGRAM = """
import json, pathlib, sys, open_clip
student, out = sys.argv[1:]
model = open_clip.create_model("local-dir:" + student)
said = {"dataset": "wds/cars", "metrics": {"acc1": 0.5, "acc5": 1, "note": "text"}}
pathlib.Path(out, "cars.json").write_text(json.dumps(said))
pathlib.Path(out, "own.json").write_text(json.dumps({"width": model.text_projection.shape[1] / 100}))
"""


def test_another_program_is_handed_the_student_and_writes_numbers(tmp_path):
    (tmp_path / "judge.py").write_text(PROGRAM)
    run = f"{sys.executable} -W ignore {tmp_path / 'judge.py'} {{student}} {{output}}"
    (options,) = evaluation({"kind": "command", "name": "clip", "run": run, "average": ["clip/wds_cars/acc1"]})
    student = make_student(probing.STUDENT, 0)
    found = Judges([options], student.preprocess, tmp_path / "cache")(student)
    assert found == {"average": 0.5, "clip/wds_cars/acc1": 0.5, "clip/wds_cars/acc5": 1.0, "clip/width": 0.16}


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ("false", r"evaluation clip: false ended with 1"),
        ("true", r"true wrote no numbers into \{output\}"),
        ("no-such-program {student}", "no-such-program cannot be run"),
        ("sh -c 'echo oops > {output}/a.json'", r"clip: a\.json: is no JSON"),
        ("sh -c 'echo oops > {output}/a.json; exit 3'", "sh ended with 3"),
        ("sh 'unclosed", "run is no command"),
        ("""sh -c 'echo "{\\"acc\\": NaN}" > {output}/a.json'""", "acc is nan, which is no result"),
        (
            """sh -c 'echo "{\\"acc1\\": 0.5}" > {output}/a.json'""",
            r"no task is named 'clip/acc'. Did you mean 'clip/acc1'",
        ),
    ],
)
def test_a_program_that_fails_is_said(tmp_path, run, says):
    (options,) = evaluation({"kind": "command", "name": "clip", "run": run, "average": ["clip/acc"]})
    student = make_student(probing.STUDENT, 0)
    with pytest.raises(CaptionersError, match=says):
        Judges([options], student.preprocess, tmp_path / "cache")(student)
