"""The mechanics of `make probe-check`: it makes all it needs, its captioners are as they are called, and it judges."""

from captioners.data.drawn_check import check
from captioners.data.drawn_scene import scene
from tests.jobs.probing import STUDENT
from tests.tools import probe_check


def verdicts(index, captioner, scenes=40):
    texts = probe_check.said(index, scenes)[f"syn_text_{captioner}"]
    return [check(text, scene(0, "caption", index)).verdict for text in texts]


def test_its_captioners_are_what_they_are_called():
    for index in range(8):
        said = probe_check.said(index, 40)
        assert (
            set(verdicts(index, "good")) == set(verdicts(index, "copy")) == set(verdicts(index, "verbose")) == {"true"}
        )
        assert len(set(said["syn_text_copy"])) == 1 and len({len(texts) for texts in said.values()}) == 1
        assert said["syn_text_degenerate"] == probe_check.said(index + 1, 40)["syn_text_degenerate"]
    false = [verdict for index in range(8) for verdict in verdicts(index, "hallucinating")]
    assert false.count("false") > len(false) / 2 and "unparseable" not in false, "fluent, and false"
    lengths = [len(probe_check.said(1, 40)[f"syn_text_{name}"][0].split()) for name in ("verbose", "good")]
    assert lengths[0] > 2 * lengths[1]


def test_it_runs_from_nothing_to_a_verdict_and_goes_on(tmp_path, capsys):
    more = {
        "student": STUDENT, "teacher_steps": 3, "n_aug": 1, "batch_size": 16, "distillation_weights": [0.0],
        "evaluation": [{"kind": "drawn", "scenes": 8, "pool": 6}], "sanity": False, "workers": 1,
    }  # fmt: skip
    code = probe_check.main(tmp_path, 1, 20, 40, **more)
    first = capsys.readouterr().out
    judged = [line for line in first.splitlines() if "s expected" in line.lower() or "AS EXPECTED" in line]
    assert len(judged) == len(probe_check.EXPECTED) and code == int("NOT AS EXPECTED" in first)
    assert "5 of 5: verbose, seed 0" in first
    assert probe_check.main(tmp_path, 1, 20, 40, **more) == code
    assert "0 of 5 students to train" in capsys.readouterr().out
