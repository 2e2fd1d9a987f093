import json
import re

import pytest

from captioners.cli import main as cli
from captioners.cli.plan import figure
from captioners.jobs.plan.rows import Row


def test_a_plan_says_that_it_is_modelled_and_from_what(capsys):
    assert cli.run(["plan", "pretrain/demo", "steps=200", "--gpus", "h100:2", "--assume", "utilisation=0.1..0.2"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("pretrain/demo on 2 x h100: modelled, not measured\n")
    assert re.search(r"samples seen +6,400 +modelled +200 steps x 32 images", said)
    assert re.search(r"GPU-hours +under 0\.01 h +modelled +989 TFLOP/s in bf16 a GPU, used at 10% to 20%", said)
    assert re.search(r"utilisation +0\.1 \.\. 0\.2 +assumed +of the GPU's peak.*: as said", said)
    assert said.rstrip().endswith("captioners check pretrain/demo steps=200")
    assert all(len(line) <= 130 for line in said.splitlines())


H100 = ["plan", "generate/shards", "--gpus", "h100:8", "--assume", "images=1e6"]


def test_captions_on_a_named_gpu_are_modelled_without_weights(capsys):
    assert cli.run([*H100, "--price-per-gpu-hour", "3", "--deadline", "90m"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("generate/shards on 8 x h100: modelled, not measured\n")
    assert re.search(r"captions +5,000,000 +assumed +5 of each image, members: 1", said)
    assert re.search(r"machines +\S+ \.\. \S+ +modelled +at 3 an hour of each", said)
    assert re.search(r"workers needed .* to be done in 1\.5 hours", said)
    assert "captioners generate generate/shards" in said
    assert all(len(line) <= 130 for line in said.splitlines())


def test_a_plan_as_json_says_of_each_figure_how_it_is_known(capsys):
    assert cli.run([*H100, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    rows = [row for section in made["sections"] for row in section["rows"]]
    assert {row["known"] for row in rows} <= {"counted", "measured", "modelled", "assumed"}
    assert all(row["low"] <= row["high"] for row in rows if row["high"] is not None)
    assert (made["fleet"], made["basis"]) == ("8 x h100", "modelled, not measured")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bench/none"], "no recipe"),
        ([], "which recipe?"),
        (["generate/shards", "--deadline", "soon"], "a time like 30m, 24h or 2d"),
        (["generate/shards", "--from", "runs/x"], "leave out the recipe"),
        (["--from", "runs/not-there"], "no run is there"),
        (["pretrain/demo", "--simulate"], "for recipes that caption"),
    ],
)
def test_a_mistake_is_one_line(capsys, arguments, says):
    assert cli.run(["plan", *arguments]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_figures_have_three_digits_and_a_unit():
    assert figure(Row("", 12_345_678, 12_345_678, "B")) == "11.8 MiB"
    assert figure(Row("", 1.5e12, 2.5e12, "FLOP")) == "1.5 .. 2.5 TFLOP"
    assert figure(Row("", 1234.5, 23456.7, "GPU-h")) == "1,230 .. 23,500 GPU-h"
    assert figure(Row("", 2e-5, 2e-4, "h")) == "under 0.01 h"
    assert figure(Row("", 0, float("inf"), "B")) == "?"
    assert figure(Row("", 9_371_648_000, 9_371_648_000)) == "9,371,648,000"
