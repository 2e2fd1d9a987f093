import re

from captioners.cli import main as cli
from captioners.cli.plan import figure
from captioners.jobs.plan.data import Row


def test_a_plan_says_that_it_is_modelled_and_from_what(capsys):
    assert cli.run(["plan", "pretrain/demo", "steps=200", "--gpus", "h100:2", "--assume", "utilisation=0.1..0.2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("pretrain/demo on 2 x h100: modelled, not measured\n")
    assert re.search(r"samples seen +6,400 +200 steps x 32 images", said)
    assert re.search(r"GPU-hours +under 0\.01 h +989 TFLOP/s in bf16 a GPU, used at 10% to 20%", said)
    assert re.search(r"utilisation +0\.1 \.\. 0\.2 +of the GPU's peak.*: as said", said)
    assert said.rstrip().endswith("captioners check pretrain/demo steps=200")
    assert all(len(line) <= 130 for line in said.splitlines())


def test_a_mistake_is_one_line(capsys):
    assert cli.run(["plan", "caption/photos"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_figures_have_three_digits_and_a_unit():
    assert figure(Row("", 12_345_678, 12_345_678, "B")) == "11.8 MiB"
    assert figure(Row("", 1.5e12, 2.5e12, "FLOP")) == "1.5 .. 2.5 TFLOP"
    assert figure(Row("", 1234.5, 23456.7, "GPU-h")) == "1,230 .. 23,500 GPU-h"
    assert figure(Row("", 2e-5, 2e-4, "h")) == "under 0.01 h"
    assert figure(Row("", 0, float("inf"), "B")) == "?"
    assert figure(Row("", 9_371_648_000, 9_371_648_000)) == "9,371,648,000"
