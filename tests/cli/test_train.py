import json

import pytest

from captioners.cli.main import run

RECIPE = """\
job: finetune
init: random-tiny
source: {kind: drawn, split: finetune, count: 8, voice: short}
steps: 3
batch_size: 4
device: cpu
log_every: 1
"""


@pytest.fixture
def recipe(run_dir):
    (run_dir / "my.yaml").write_text(RECIPE)
    return "my.yaml"


def test_finetune_prints_plain_lines_and_ends_with_what_to_do_next(recipe, run_dir, capsys):
    assert run(["finetune", recipe, "output=mine"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "recipe my.yaml; from captioner random-tiny"
    assert said[1].startswith("images      8 of 8 samples")
    assert any(line.startswith("8 images, 40 captions") for line in said)
    assert [line.split()[1] for line in said if line.startswith("step ")] == ["1/3", "2/3", "3/3"]
    assert "\r" not in "".join(said)
    assert said[-3:] == [
        "written: mine/captioner",
        "next:    captioners caption PHOTO.jpg --captioner mine/captioner",
        "   or:   captioners export mine/captioner --out DIR",
    ]
    assert json.loads((run_dir / "mine" / "captioner" / "captioner.json").read_text())["name"] == "mine"
    assert run(["finetune", recipe, "output=mine"]) == 1
    assert "this run is finished" in capsys.readouterr().err


def test_without_an_output_the_run_is_named_by_what_it_does(recipe, run_dir):
    assert run(["finetune", recipe, "seed=1"]) == 0
    assert run(["finetune", recipe, "seed=2"]) == 0
    names = sorted(path.name for path in (run_dir / "runs").iterdir())
    assert len(names) == 2
    assert all(name.startswith("finetune-") for name in names)


def test_a_recipe_of_the_other_job_is_sent_there(recipe, capsys):
    assert run(["pretrain", recipe]) == 1
    assert "recipe of the job 'finetune'; run it with 'captioners finetune my.yaml'" in capsys.readouterr().err


def test_mistakes_are_lines(recipe, capsys):
    assert run(["finetune", recipe, "stepps=4"]) == 1
    assert "Did you mean 'steps'" in capsys.readouterr().err
    assert run(["finetune", "nowhere.yaml"]) == 1
    assert "no recipe 'nowhere.yaml'" in capsys.readouterr().err
