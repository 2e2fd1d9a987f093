"""The probe from shards to contrasts: it goes on where it stopped, by any number of workers, and says what is wrong."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from captioners.cli.main import run as command
from captioners.core.errors import CaptionersError, InterruptedRunError, UserError
from captioners.core.recipe import options_from, read_recipe
from captioners.data.tar import TarWriter
from captioners.jobs.probe import work
from captioners.jobs.probe.job import probe
from captioners.jobs.probe.results import FILE, Trained, append, read
from captioners.jobs.probe.sanity import checks_of
from captioners.jobs.probe.work import MANY, ONE, ORACLE, SHUFFLED
from captioners.jobs.recipes.probe import ProbeRecipe
from captioners.metrics.contrasts import Result
from captioners.reinforcement.dataset import ReinforcedDataset, StudentTransform
from captioners.reinforcement.index import Skipped
from tests.jobs import captioned, probing


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return probing.write(tmp_path_factory.mktemp("probe"), 24)


def recipe(shards, output, **more):
    return options_from(ProbeRecipe, probing.recipe(shards, output, **more))


@pytest.fixture(scope="module")
def made(shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("probe-run")
    said = []
    run = probe(recipe(shards, folder / "run", seeds=[0, 1], distillation_weights=[0.0, 1.0], sanity=True), said.append)
    return folder / "run", run, said


def numbers(folder):
    """Everything that students came to, without how long it took."""
    return {(one.arm, one.seed, one.distillation): (one.weights, dict(one.values)) for one in read(folder)}


def test_every_arm_seed_and_weight_is_judged_and_compared(made):
    folder, run, said = made
    students = {(one.arm, one.seed, one.distillation) for one in run.results}
    assert students == {(arm, seed, weight) for arm in ("one", "three") for seed in (0, 1) for weight in (0.0, 1.0)}
    assert len({one.task for one in run.results}) == 14 and all(0 <= one.value <= 1 for one in run.results)
    primary = [one for one in run.contrasts if one.primary]
    assert [(one.arm, one.against, one.distillation) for one in primary] == [
        ("three", "one", 0.0),
        ("three", "one", 1.0),
    ]
    by_seed = {(one.arm, one.seed): one.value for one in run.results if one.task == "average" and one.distillation == 0}
    wanted = sum(by_seed["three", seed] - by_seed["one", seed] for seed in (0, 1)) / 2
    assert primary[0].difference == pytest.approx(wanted) and primary[0].p is None
    assert run.pictures == 24 and not run.failed and run.num_left_out == 0
    assert len([line for line in said if "average" in line]) == 12
    kept = json.loads((folder / "probe.json").read_text())
    assert kept["contrasts"][0]["verdict"] == "can't tell" and kept["chance"]["relation"] == 0.5
    assert read_recipe(folder / "recipe.yaml").options.arms["three"].captions == {"short": 3}


def test_the_sanity_arms_come_out_as_known(made):
    folder, run, _ = made
    found = numbers(folder)
    assert found[ONE, 0, 1.0] == found[MANY, 0, 1.0] and (SHUFFLED, 0, 0.0) in found and (ORACLE, 0, 0.0) in found
    assert {one.arm for one in run.results} == {"one", "three"}, "they are no results"
    assert len(run.checks) == 3 and run.checks[0].holds


def test_two_workers_give_the_same_numbers(made, shards, tmp_path):
    folder, _, _ = made
    probe(recipe(shards, tmp_path / "run", workers=2))
    whole, found = numbers(folder), numbers(tmp_path / "run")
    assert len(found) == 2 and found == {key: whole[key] for key in found}


def test_a_stopped_probe_goes_on_and_more_seeds_and_arms_continue_it(made, shards, tmp_path, monkeypatch):
    folder, _, _ = made
    whole = numbers(folder)
    trained, count = work._Room.trained, []

    def stops(self, task):
        count.append(task)
        if len(count) == 3:
            raise KeyboardInterrupt
        return trained(self, task)

    monkeypatch.setattr(work._Room, "trained", stops)
    with pytest.raises(InterruptedRunError, match=r"2 students are judged and stay. Run the same command again"):
        probe(recipe(shards, tmp_path / "run", distillation_weights=[0.0, 1.0]))
    with (tmp_path / "run" / FILE).open("a") as file:
        file.write('{"arm": "one", "seed": 0, "task": "ave')  # as a kill leaves it
    more = {
        "four": {"captions": {"detailed": 3}},
        "one": {"captions": {"short": 1}},
        "three": {"captions": {"short": 3}},
    }
    run = probe(recipe(shards, tmp_path / "run", arms=more, seeds=[0, 1], distillation_weights=[0.0, 1.0]))
    assert len(count) == 3 + 10 and len({(one.arm, one.seed, one.distillation) for one in run.results}) == 12
    found = numbers(tmp_path / "run")
    assert {key: found[key] for key in found if key[0] != "four"} == {
        key: whole[key] for key in whole if key[0][0] != "s"
    }
    changed = recipe(shards, tmp_path / "run", steps=3)
    assert len(probe(changed).results) == 2 * 14 and len(count) == 15, "another student is no part of it"


def test_an_arm_that_fails_does_not_stop_the_others(shards, tmp_path, monkeypatch):
    trained = work._Room.trained

    def fails(self, task):
        if task.arm == "one":
            raise CaptionersError("the student's loss is nan after step 3; a lower lr may help")
        return trained(self, task)

    monkeypatch.setattr(work._Room, "trained", fails)
    run = probe(recipe(shards, tmp_path / "run"))
    assert run.failed == {"one": "the student's loss is nan after step 3; a lower lr may help"}
    assert {one.arm for one in run.results} == {"three"}
    assert [(one.arm, one.against, one.seeds) for one in run.contrasts] == [("three", "one", ())]
    assert json.loads((tmp_path / "run/probe.json").read_text())["failed"] == run.failed


def test_the_command_prints_what_it_found(made, shards, tmp_path, capsys):
    folder, _, _ = made
    text = (folder / "recipe.yaml").read_text().replace("sanity: true", "sanity: false")
    (tmp_path / "mine.yaml").write_text(text)
    assert command(["probe", str(tmp_path / "mine.yaml")]) == 0
    out = capsys.readouterr().out
    assert "0 of 8 students to train" in out and "three against one, distillation 1: average" in out
    assert "under 6 seeds there are intervals and no p-values" in out
    assert command(["probe", "reinforce/dfndr_2b"]) == 1
    assert "is a recipe of the job 'reinforce'" in capsys.readouterr().err


def test_mistakes_are_said_before_anything_is_trained(shards, tmp_path):
    with pytest.raises(UserError, match=r"declare\.contrasts: no arm is named 'x'; there are one, three"):
        recipe(shards, tmp_path / "run", declare={"contrasts": [["x", "one"]]})
    with pytest.raises(UserError, match=r"arms\.a: has no shards"):
        probe(options_from(ProbeRecipe, {"job": "probe", "arms": {"a": {}}, "output": str(tmp_path / "run")}))
    with pytest.raises(UserError, match=r"arm a: no captions are named 'shorts'.*Did you mean 'short'"):
        probe(recipe(shards, tmp_path / "run", arms={"a": {"captions": {"shorts": 1}}}, declare={}))
    with pytest.raises(UserError, match=r"declare\.primary: no task is named 'averag'; there are average, binding"):
        probe(recipe(shards, tmp_path / "late", declare={"primary": "averag"}))
    assert len(read(tmp_path / "late")) == 1, "after the first student, and not after the last"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and holds no run of probe"):
        probe(recipe(shards, tmp_path / "other"))


def test_checks_fail_where_they_should():
    values = {"average": 0.3, "count": 0.2}
    good = {arm: Trained(arm, 0, 0.0, "r", "w", 1.0, values) for arm in ("one", ONE, MANY, SHUFFLED, ORACLE)}

    def held(chance=0.28, **other):
        found = [other.get(arm, one) for arm, one in good.items()]
        return [check.holds for check in checks_of(found, ["one"], {"average": chance})]

    assert held() == [True, True, True]
    assert held(**{MANY: replace(good[MANY], weights="other")}) == [False, True, True]
    assert held(chance=0.2) == [True, False, True]
    assert held(**{ORACLE: replace(good[ORACLE], values={**values, "average": 0.299})}) == [True, True, False]


def test_a_shuffled_student_is_held_against_the_best_arm_too_where_arms_are_above_chance():
    """0.15 beside arms at 0.16 passed once, with 0.11 by chance: near enough to it, and nearer to the arms."""

    def check(shuffled, weak, best, weight=0.0):
        values = (("weak", weak, weight), ("best", best, weight), (SHUFFLED, shuffled, 0.0))
        students = [Trained(arm, 0, at, "r", "w", 1.0, {"average": value}) for arm, value, at in values]
        (found,) = checks_of(students, ["weak", "best"], {"average": 0.11})
        return found

    assert not check(0.15, 0.12, 0.18).holds and check(0.14, 0.12, 0.18).holds
    assert check(0.15, 0.12, 0.18).says == "average 0.150, and 0.110 by chance, 0.180 of the best arm (best)"
    assert check(0.15, 0.12, 0.30).holds and not check(0.17, 0.12, 0.30).holds, "near chance it has to be, anyhow"
    assert check(0.15, 0.12, 0.15).holds, "arms at chance tell nothing"
    assert check(0.15, 0.12, 0.18, weight=1.0).says == "average 0.150, and 0.110 by chance", "other students' loss"


def test_results_of_another_trainer_are_compared_alike(made, shards, tmp_path):
    _, run, _ = made
    external = {"kind": "external", "seeds": [0, 1], "distillation_weights": [0.0, 1.0]}
    probe(recipe(shards, tmp_path / "run", **external))
    script = (tmp_path / "run/train_all.sh").read_text().splitlines()
    assert len([line for line in script if line.startswith("bash train.sh")]) == 8 and any(
        line.startswith("bash train.sh three ") and line.endswith("arms/01-three 1 0") for line in script
    )
    for name, captions in (("00-one", 1), ("01-three", 3)):
        written = tmp_path / "run/arms" / name
        samples = [members for _, members in captioned.read(written / "00000.tar")]
        assert len(samples) == 24 == json.loads((written / "sizes.json").read_text())["00000.tar"]
        said = json.loads(samples[3]["syn.json"])
        assert said == {"syn_text_short": probing.said(3)["syn_text_short"][:captions]}
        dataset = ReinforcedDataset([str(written)], lambda text: torch.zeros(1, len(text)), StudentTransform(32))
        assert not isinstance(dataset[5], Skipped) and dataset[5].syn_text_emb is not None
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(vars(one)) + "\n" for one in run.results))
    again = probe(recipe(shards, tmp_path / "run", results=str(tmp_path / "results.jsonl"), **external))
    assert again.contrasts == run.contrasts


def test_arms_for_another_trainer_have_the_same_samples_and_are_never_stale(tmp_path):
    """One sample lacks the captions of one arm: no arm has it. An arm that takes more, or other shards, is new."""
    shards, said = Path(probing.write(tmp_path / "set", 6)), []
    (tar,) = sorted(shards.rglob("*.tar"))
    samples = list(captioned.read(tar))
    lacking = {key: text for key, text in json.loads(samples[2][1]["syn.json"]).items() if "short" not in key}
    samples[2][1]["syn.json"] = json.dumps(lacking).encode()
    with TarWriter(tar) as writer:
        for key, members in samples:
            writer.add(key, members)

    def export(arms):
        probe(recipe(str(shards), tmp_path / "run", kind="external", arms=arms, declare={}), said.append)
        folders = [name for name in (tmp_path / "run/arms").iterdir() if not name.name.endswith(".part")]
        return {folder.name: dict(captioned.read(next(folder.glob("*.tar")))) for folder in folders}

    arms = {"a": {"captions": {"short": 1}}, "b": {"captions": {"detailed": 1}}}
    first = export(arms)
    assert len(first["00-a"]) == 5 and first["00-a"].keys() == first["01-b"].keys()
    assert samples[2][0] not in first["00-a"]
    assert any(line.startswith("1 of 6 samples are left out") for line in said)
    assert export(arms) == first and not any("arms/" in line for line in said[4:]), "nothing is written anew"
    more = export({**arms, "a": {"captions": {"short": 2}}})
    counts = {len(*json.loads(members["syn.json"]).values()) for members in more["00-a"].values()}
    assert counts == {2} and more["01-b"] == first["01-b"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (['{"arm": "one", "seed": 0, "task": "t"}'], r"line 1: is not .*'value'"),
        (
            ['{"arm": "one", "seed": 0, "task": "t", "value": 1}'] * 2,
            "arm one, seed 0, t, distillation 0 stands there twice",
        ),
        (['{"arm": "other", "seed": 0, "task": "t", "value": 1}'], "no arm is named 'other'; there are one, three"),
        (['{"arm": "one", "seed": 9, "task": "t", "value": 1}'], "no line is of the recipe's arms"),
        (['{"arm": "one", "seed": 0, "task": "t", "value": 1}'], "no task is named 'average'; there are t"),
    ],
)
def test_lines_of_another_trainer_that_cannot_be_used_are_said(tmp_path, lines, says):
    (tmp_path / "results.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError, match=says):
        probe(recipe("x", tmp_path / "run", kind="external", results=str(tmp_path / "results.jsonl")))
    with pytest.raises(UserError, match="no such file; train the exported arms first"):
        probe(recipe("x", tmp_path / "run", kind="external", results="none.jsonl"))


def test_a_student_counts_when_all_its_lines_are_there(tmp_path):
    one = Trained("a", 0, 0.5, "r", "w", 1.0, {"average": 0.5, "count": 0.25})
    append(tmp_path, one)
    whole = (tmp_path / FILE).read_bytes()
    append(tmp_path, replace(one, seed=1))
    for cut in range(len(whole), 2 * len(whole) - 1):
        (tmp_path / FILE).write_bytes(whole + whole.replace(b'"seed": 0', b'"seed": 1')[: cut - len(whole)])
        assert read(tmp_path) == [one], cut
    append(tmp_path, replace(one, seed=2))
    assert read(tmp_path) == [one, replace(one, seed=2)]
    assert one.results[0] == Result(arm="a", seed=0, task="average", value=0.5, distillation=0.5)
    assert Path(tmp_path / FILE).read_text().endswith("\n")
