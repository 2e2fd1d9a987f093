"""An ablation in miniature, whole: captioners, captions, shards, numbers, students, page; and again, killed, grown."""

import json
import shutil
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from captioners.cli.main import run as captioners
from captioners.core.errors import InterruptedRunError, UserError
from captioners.core.recipe import options_from
from captioners.core.run_dir import RunDir
from captioners.data.drawn_check import check, facts, facts_stated
from captioners.data.drawn_scene import NOTICE, scene
from captioners.jobs.ablate import job, students
from captioners.jobs.ablate.arms import Arms
from captioners.jobs.ablate.declared import declare, declared
from captioners.jobs.ablate.job import ablate
from captioners.jobs.ablate.layers import batch_of, batches
from captioners.jobs.ablate.mix import best_mix, greedy
from captioners.jobs.plan.job import plan
from captioners.jobs.probe.job import ProbeRun
from captioners.jobs.probe.results import read
from captioners.jobs.probe.work import CONTROLS
from captioners.jobs.recipes.ablate import AblateRecipe, Budget
from captioners.jobs.recipes.measure import MeasureOptions
from captioners.report.ablation import read_ablation

SCENES = 8
LEARNER = {
    "finetune": "finetune/demo-short",
    "changes": {
        "steps": 2,
        "batch_size": 4,
        "source": {"kind": "drawn", "split": "finetune", "voice": "short", "count": 12},
    },
}
MINIATURE = {
    "job": "ablate",
    "source": {"kind": "drawn", "split": "caption", "count": SCENES},
    "captioners": {"none": "demo", "short": LEARNER, "gone": "runs/nowhere"},
    "arms": {
        "ground truth": {"members": []},
        "one": {"members": [{"captioner": "none", "draws": 1}]},
        "three": {"members": [{"captioner": "none", "draws": 3}]},
        "both": {"members": [{"captioner": "none", "draws": 2}, {"captioner": "short", "draws": 1}]},
        "lost": {"members": [{"captioner": "gone", "draws": 2}]},
    },
    "decoding": {"top_p": 0.9, "min_tokens": 1, "max_tokens": 12},
    "measure": {"references": "own", "workers": 1},
    "generate": {"rules": {"refuse": ["empty"]}},
    "reinforce": {"teachers": [{"name": "tiny", "pretrained": "random", "scale": 70.0}], "n_aug": 1},
    "probe": {
        "steps": 2,
        "batch_size": 4,
        "seeds": [0],
        "distillation_weights": [0.0],
        "evaluation": [{"kind": "drawn", "scenes": 8, "pool": 4}],
        "sanity": False,
    },
    "declare": {"contrasts": [["three", "one"]]},
    "gallery": 2,
}


def recipe(out, **changes):
    return options_from(AblateRecipe, {**MINIATURE, **changes, "output": str(out)})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished miniature: its folder, what it found, and what was said."""
    out, said = tmp_path_factory.mktemp("ablation") / "it", []
    return out, ablate(recipe(out), say=said.append), said


def _files(folder):
    """What must not be made anew: captions, shards, weights, results."""
    made = (".parquet", ".tar", ".safetensors", ".jsonl")
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in made}


def _texts(out, layer):
    """Key -> texts by draw, of a layer of the one run of captions."""
    rows = RunDir(out / "captions").captions([layer]).to_pylist()
    found = {}
    for row in sorted(rows, key=lambda row: row["draw"]):
        found.setdefault(row["key"], []).append(row["text"])
    return found


def _arm(found, name):
    return next(arm for arm in found.arms if arm.name == name)


NONE = "none.min_tokens-1_max_tokens-12_top_p-0.9"
SHORT = "short.min_tokens-1_max_tokens-12_top_p-0.9"


def test_every_arm_stands_there_and_a_failed_one_with_its_reason(done):
    out, run, said = done
    found = read_ablation((out / "ablation.json").read_bytes())
    assert found == run.ablation
    assert {arm.name: arm.status for arm in found.arms} == {
        "ground truth": "done", "one": "done", "three": "done", "both": "done", "lost": "failed"
    }  # fmt: skip
    assert "runs/nowhere" in _arm(found, "lost").reason and run.failed == {"lost": _arm(found, "lost").reason}
    assert [arm.m for arm in found.arms] == [None, 1, 3, 3, 2]
    assert NOTICE in found.notes
    page = (out / "ablation.html").read_text()
    assert all(name in page for name in ("ground truth", "both", "runs/nowhere"))
    assert any("arm 2 of 3, three" in line for line in said)  # of those with captions


def test_captions_are_drawn_once_at_the_largest_count(done):
    """Three of the pretrained captioner serve the arms of one, two and three; the oracle is the generator itself."""
    out, run, _ = done
    layers = {layer.name: layer.draws for layer in RunDir(out / "captions").layers()}
    assert layers == {NONE: 3, SHORT: 1}
    none, short = _texts(out, NONE), _texts(out, SHORT)
    for seen in run.ablation.gallery:
        told = {arm: [one.text for one in captions] for arm, captions in seen.captions.items()}
        assert told == {
            "one": none[seen.key][:1],
            "three": none[seen.key],
            "both": [*none[seen.key][:2], *short[seen.key]],
        }
    assert len(run.ablation.gallery) == 2


def test_numbers_are_what_a_count_by_hand_finds(done):
    """Facts told by an arm, and unique captions, over the captions themselves, scene by scene."""
    out, run, _ = done
    none, short = _texts(out, NONE), _texts(out, SHORT)
    sets = {
        "three": none,
        "both": {key: [*texts[:2], *short[key]] for key, texts in none.items()},
    }
    for name, captions in sets.items():
        cells = _arm(run.ablation, name).cells
        claims, told = [], []
        for key, texts in captions.items():
            one = scene(0, "caption", int(key))
            claims += [claim.true for text in texts for claim in check(text, one).claims]
            told.append(len({fact for text in texts for fact in facts_stated(text, one)}) / len(facts(one)))
        assert cells["claims true"].value == pytest.approx(sum(claims) / len(claims))
        assert cells["facts told"].value == pytest.approx(sum(told) / len(told))
        assert cells["facts told"].count == SCENES
        unique = [len({text.lower() for text in texts}) / len(texts) for texts in captions.values()]
        assert cells["unique captions"].value == pytest.approx(sum(unique) / len(unique), abs=0.1)


def test_what_members_add_and_share_is_what_sets_of_facts_and_words_say(done):
    out, run, _ = done
    none, short = _texts(out, NONE), _texts(out, SHORT)
    alone = []
    for key, texts in none.items():
        one = scene(0, "caption", int(key))
        others = {fact for text in texts[:2] for fact in facts_stated(text, one)}
        alone.append(len(set(facts_stated(short[key][0], one)) - others) / len(facts(one)))
    of_short = next(one for one in run.ablation.adds if one.captioner == "short")
    assert of_short.arm == "both"
    assert of_short.changes["facts told"].value == pytest.approx(sum(alone) / len(alone))
    shared = []
    for key, texts in none.items():
        pairs = [
            {tuple(words[at : at + 2]) for at in range(len(words) - 1)}
            for words in (texts[0].split(), short[key][0].split())
        ]
        if pairs[0] | pairs[1]:
            shared.append(len(pairs[0] & pairs[1]) / len(pairs[0] | pairs[1]))
    overlap = next(one for one in run.ablation.overlap if "2-gram" in one.title)
    assert overlap.captioners == ("none top-p 0.9", "short top-p 0.9")
    assert overlap.values[0][1] == pytest.approx(sum(shared) / len(shared), abs=0.02)  # punctuation apart
    assert overlap.values[0][0] == overlap.values[1][1] == 1
    assert {one.images for one in run.ablation.overlap} == {SCENES}


def test_arms_of_more_captions_are_rarefied_where_diversity_is_compared(done):
    _, run, _ = done
    assert _arm(run.ablation, "one").cells["Div-2"].value is None
    lines = {(line.name, line.metric): [m for m, _ in line.points] for line in run.ablation.saturation}
    assert lines["none top-p 0.9", "facts told"] == [1, 3]


def test_students_and_what_was_declared(done):
    out, run, _ = done
    results = [json.loads(line) for line in (out / "probe/results.jsonl").read_text().splitlines()]
    for arm in ("ground truth", "one", "three", "both"):
        mine = {one["task"]: one["value"] for one in results if one["arm"] == arm}
        assert {task: of["0"] for task, of in _arm(run.ablation, arm).probe["0"].items()} == mine
    contrast = next(one for one in run.ablation.contrasts if one.primary)
    values = {arm: _arm(run.ablation, arm).probe["0"]["average"]["0"] for arm in ("three", "one")}
    assert contrast.difference == pytest.approx(values["three"] - values["one"])
    assert (contrast.arm, contrast.against, contrast.p) == ("three", "one", None)
    assert run.ablation.declared.contrasts == (("three", "one"),) and not run.ablation.declared.changes


def test_a_mix_is_chosen_by_facts_a_second_among_those_who_say_what_is_true(done, tmp_path):
    """The oracle joins sets of facts by hand, and takes seconds from the ledger's own entries."""
    out, *_ = done
    captions, draws = RunDir(out / "captions"), {NONE: 3, SHORT: 1}
    said = {NONE: _texts(out, NONE), SHORT: _texts(out, SHORT)}
    seconds = {}
    for name, count in draws.items():
        spent = [second for entry in captions.entries([name]) for second in entry.seconds.values()]
        seconds[name] = sum(spent) / (SCENES * count)

    def told(mix):
        shares = []
        for key in said[NONE]:
            one = scene(0, "caption", int(key))
            texts = [text for name, count in mix.items() for text in said[name][key][:count]]
            shares.append(len({fact for text in texts for fact in facts_stated(text, one)}) / len(facts(one)))
        return sum(shares) / len(shares)

    options = MeasureOptions(workers=1)
    mix = best_mix(captions, draws, Budget(least=0.0, captions=3), options, tmp_path)
    taken, now = dict.fromkeys(draws, 0), 0.0
    for step in mix.steps:
        gains = {}
        for name in (name for name in draws if taken[name] < draws[name]):
            gains[name] = (told({**taken, name: taken[name] + 1}) - now) / seconds[name]
        assert gains[step.layer] == pytest.approx(max(gains.values())) and gains[step.layer] > 0
        taken[step.layer] += 1
        now = told(taken)
        assert step.value == pytest.approx(now)
    assert mix.steps[-1].seconds == pytest.approx(sum(seconds[name] * count for name, count in taken.items()))
    true = {name: _arm_true(said[name]) for name in draws}
    worse = min(true, key=true.get)
    gated = best_mix(captions, draws, Budget(least=sum(true.values()) / 2), options, tmp_path)
    assert list(gated.refused) == [worse] and worse not in {step.layer for step in gated.steps}
    assert f"Kept out: {worse}" in gated.words
    assert json.loads((tmp_path / "budget.json").read_text())["refused"] == dict(gated.refused)
    none = best_mix(captions, draws, Budget(least=1.0), options, tmp_path)
    assert none.steps == () and "none passes the gate" in none.words
    with pytest.raises(UserError, match="'CLIPScore' is not measured"):
        best_mix(captions, draws, Budget(gate="CLIPScore"), options, tmp_path)


def test_a_budget_is_asked_for_by_its_objective_on_the_command_line(done, tmp_path, capsys):
    out, *_ = done
    there = tmp_path / "pilot"
    shutil.copytree(out / "captions", there / "captions")
    shutil.copytree(out / "captioners", there / "captioners")
    shutil.copy(out / "recipe.yaml", there)
    pilot = ["ablate", str(there / "recipe.yaml"), f"output={there}", "probe=null", "budget.least=0", "gallery=0"]
    assert captioners([*pilot, "--budget", "captions in effect"]) == 2  # an arm's captioner is not there
    assert "Most captions in effect per second of drawing: " in capsys.readouterr().out
    kept = json.loads((there / "budget.json").read_text())
    assert kept["budget"] == {"objective": "captions in effect", "gate": "claims true", "least": 0.0, "captions": 10}
    assert kept["steps"] and any(
        "per second" in note for note in json.loads((there / "ablation.json").read_text())["notes"]
    )
    assert captioners([*pilot, "--budget", "facts tld"]) == 1
    assert "must be 'facts told' or 'captions in effect'" in capsys.readouterr().err
    assert captioners(["ablate", str(there), "--check", "--budget", "facts told"]) == 1
    assert "leave out --budget" in capsys.readouterr().err
    assert captioners(["ablate", "--help"]) == 0
    assert "--budget" in capsys.readouterr().out


def _arm_true(captions):
    claims = [
        claim.true
        for key, texts in captions.items()
        for text in texts
        for claim in check(text, scene(0, "caption", int(key))).claims
    ]
    return sum(claims) / len(claims)


def test_greedy_takes_the_dear_one_last_and_stops_where_nothing_is_gained():
    worth = {"a": [5.0, 1.0, 0.0], "b": [6.0, 3.0]}
    steps = greedy(
        lambda mix: sum(sum(worth[name][:count]) for name, count in mix.items()),
        {"a": 3, "b": 2},
        {"a": 1.0, "b": 2.0},
        9,
    )
    assert [(step.layer, step.value, step.seconds) for step in steps] == [
        ("a", 5.0, 1.0), ("b", 11.0, 3.0), ("b", 14.0, 5.0), ("a", 15.0, 6.0)
    ]  # fmt: skip
    assert len(greedy(lambda mix: float(mix["a"]), {"a": 3}, {"a": 1.0}, 2)) == 2


def test_a_judge_that_is_a_captioners_own_tower_is_refused_and_the_rest_is_measured(done):
    out, _, _ = done
    there = {name: arm for name, arm in MINIATURE["arms"].items() if name != "lost"}
    measure = {"references": "own", "workers": 1, "clip": "demo"}
    changed = recipe(out, measure=measure, gallery=0, arms=there, captioners={"none": "demo", "short": LEARNER})
    arms = Arms(changed, "it", out, "", lambda _: None)
    arms.measure()
    found = arms.ablation()
    assert any("Measured without a judge, one: " in note and "tower" in note for note in found.notes)
    assert _arm(found, "one").cells["claims true"].value is not None
    assert _arm(found, "one").cells["CLIPScore"].value is None


def test_the_same_command_again_makes_nothing_anew(done):
    out, first, _ = done
    before = _files(out)
    again = ablate(recipe(out))
    after = _files(out)
    assert before.keys() == after.keys()
    written = {path.name for path in after if before[path] != after[path]}
    assert written <= {"manifest.jsonl", "used.jsonl"}  # of the set, and of the page, as they were
    assert again.ablation == first.ablation


def test_what_an_arm_costs_is_its_share_of_the_ledgers_seconds_and_its_trainings(done):
    out, run, _ = done
    book = json.loads((out / "book.json").read_text())["seconds"]
    spent = dict.fromkeys((NONE, SHORT), 0.0)
    for entry in RunDir(out / "captions").entries():
        spent[entry.layer] += sum(entry.seconds.values())
    cost = {arm.name: arm.seconds for arm in run.ablation.arms}
    assert cost["three"] == pytest.approx(spent[NONE]) and cost["one"] == pytest.approx(spent[NONE] / 3)
    assert cost["both"] == pytest.approx(spent[NONE] * 2 / 3 + spent[SHORT] + book["captioner short"])
    assert cost["ground truth"] == 0 and cost["lost"] is None


def test_stopped_between_arms_it_has_a_valid_page_and_goes_on(done, tmp_path, monkeypatch, capsys):
    """What an undisturbed run finds is found; the arm that was done is not trained again."""
    out, whole, _ = done
    there = tmp_path / "stopped"
    shutil.copytree(out, there)
    for name in ("probe", "ablation.json"):
        path = there / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (there / "declared.json").unlink()
    probe, calls = students.probe, Counter()

    def stopped(asked, say, **more):
        calls["arms"] += 1
        if calls["arms"] == 4:  # the first call reads what is there
            raise InterruptedRunError("stopped; run the same command again")
        return probe(asked, say, **more)

    monkeypatch.setattr(students, "probe", stopped)
    with pytest.raises(InterruptedRunError):
        ablate(recipe(there))
    found = read_ablation((there / "ablation.json").read_bytes())
    assert Counter(arm.status for arm in found.arms) == {"done": 2, "missing": 2, "failed": 1}
    assert [(one.arm, one.difference) for one in found.contrasts] == [("three", None)], "it counts among the tests"
    first = (there / "probe/results.jsonl").read_text()
    monkeypatch.setattr(students, "probe", probe)
    again = json.loads(ablate(recipe(there)).ablation.as_json())
    assert (there / "probe/results.jsonl").read_text().startswith(first)
    complete = (there / "ablation.json").read_bytes()

    def at_once(asked, say, **more):
        raise InterruptedRunError("stopped")

    monkeypatch.setattr(students, "probe", at_once)
    with pytest.raises(InterruptedRunError):
        ablate(recipe(there))
    assert (there / "ablation.json").read_bytes() == complete, "what was found is not wiped by a start that found none"
    expected = json.loads(whole.ablation.as_json())
    for one in (again, expected):
        one.pop("recipe"), one["declared"].pop("when"), one["declared"].pop("sha256")
    assert again == expected


def test_controls_that_are_there_stand_on_the_page_while_students_are_trained(done, tmp_path, monkeypatch):
    """They were gone from it, and from the students that it rests on, until the last arm was done."""
    out, _, _ = done
    there, probe = tmp_path / "controlled", students.probe
    shutil.copytree(out, there)
    first = ablate(recipe(there, probe={**MINIATURE["probe"], "sanity": True}))
    controls = {arm.name: arm.probe for arm in first.ablation.arms if arm.sanity}
    assert set(controls) == set(CONTROLS)
    assert len(first.ablation.controls) == 3
    results = (there / "probe/results.jsonl").read_text()

    def stops(asked, say, *, only):
        if only:
            raise InterruptedRunError("stopped")
        return probe(asked, say, only=only)

    def interim(**changes):
        monkeypatch.setattr(students, "probe", stops)
        with pytest.raises(InterruptedRunError):
            ablate(recipe(there, probe={**MINIATURE["probe"], "sanity": True, **changes}))
        found = read_ablation((there / "ablation.json").read_bytes())
        named = {one.arm for one in read(there / "probe", "used.jsonl")}
        return found, {arm.name: arm.probe for arm in found.arms if arm.sanity}, named

    found, seen, named = interim()
    assert seen == controls and set(CONTROLS) < named and found.controls == first.ablation.controls
    assert (there / "probe/results.jsonl").read_text() == results, "none is trained for it"
    _, seen, named = interim(steps=3)
    assert not seen and not named, "those of another training are no controls of this one"


def test_an_ablation_grows_and_what_it_has_stays(done, tmp_path):
    """One more arm and one more draw: other layers, trainings and students are as they were; the change is told."""
    out, _, _ = done
    there = tmp_path / "grown"
    shutil.copytree(out, there)
    before = (there / "probe/results.jsonl").read_text().splitlines()
    arms = {**MINIATURE["arms"], "short x 2": {"members": [{"captioner": "short", "draws": 2}]}}
    arms.pop("lost")
    declare = {"contrasts": [["short x 2", "one"]], "margin": 0.05}
    run = ablate(recipe(there, arms=arms, declare=declare))
    assert not run.failed and all(arm.status == "done" for arm in run.ablation.arms)
    none, short = _texts(there, NONE), _texts(there, SHORT)
    assert none == _texts(out, NONE)
    assert {key: texts[:1] for key, texts in short.items()} == _texts(out, SHORT)
    after = (there / "probe/results.jsonl").read_text().splitlines()
    assert after[: len(before)] == before
    assert {json.loads(line)["arm"] for line in after[len(before) :]} == {"short x 2"}
    assert [change.what for change in run.ablation.declared.changes] == [
        "arms.short x 2", "arms.three", "contrasts", "margin"
    ]  # fmt: skip
    assert run.ablation.declared.contrasts == (("three", "one"),)  # the first one stands


def test_the_plan_tells_what_exists(done):
    out, _, _ = done
    source = out / "recipe.yaml"
    said = plan(str(source))
    assert said.row("both").how == "students 1 of 1; captions exist" and said.row("both").high == 0
    assert "missing: captions of gone" in said.row("lost").how
    assert said.row("short").how == "exists"
    assert said.row("seconds_per_caption").known == "measured"
    fresh = plan(str(source), [f"output='{out}/elsewhere'"])
    assert fresh.row("short").how == "missing: finetune/demo-short, 2 steps"
    assert fresh.row(NONE).how == f"0 of {3 * SCENES} captions exist"
    assert fresh.row("both").how == f"students 0 of 1; missing: captioner short; missing: captions of {NONE} and 1 more"
    assert fresh.row("students").high == pytest.approx(5 * 2 * fresh.row("seconds_per_student_step").high / 3600)


def test_another_folder_and_an_altered_declaration_are_refused(done, tmp_path):
    out, _, _ = done
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("")
    with pytest.raises(UserError, match="holds no ablation; name another output"):
        ablate(recipe(tmp_path / "other"))
    there = tmp_path / "altered"
    shutil.copytree(out, there)
    kept = json.loads((there / "declared.json").read_text())
    kept["declared"]["margin"] = 0.5
    (there / "declared.json").write_text(json.dumps(kept))
    with pytest.raises(UserError, match="was altered after it was written"):
        ablate(recipe(there))
    (there / "declared.json").unlink()
    with pytest.raises(UserError, match="is not there, and results are"):
        ablate(recipe(there))


def test_what_a_claim_is_about_is_declared_too_and_no_change_can_be_erased(tmp_path):
    declare(recipe("x"), tmp_path)
    probe = {**MINIATURE["probe"], "lr": 0.1}
    arms = {
        **MINIATURE["arms"],
        "three": {"members": [{"captioner": "none", "draws": 7}]},
        "both": {"members": [{"captioner": "none", "draws": 7}]},  # in no contrast
    }
    changed = recipe("x", probe=probe, arms=arms)
    assert [one.what for one in declare(changed, tmp_path).changes] == ["arms.three", "lr"]
    assert declare(changed, tmp_path) == declared(tmp_path), "said once"
    kept = json.loads((tmp_path / "declared.json").read_text())
    for name, value in (("changes", []), ("changes", kept["changes"][:1]), ("when", "1999"), ("last", {})):
        (tmp_path / "declared.json").write_text(json.dumps({**kept, name: value}))
        with pytest.raises(UserError, match="was altered"):
            declared(tmp_path)


class Pretended:
    """Arms, a maker and a book of nothing, and a probe that only notes what it is asked."""

    out = Path("nowhere")

    def __init__(self, asked, bad):
        self.asked, self.bad, self.failed, self.calls = asked, bad, {}, []
        self.rows = list(asked.rows().values())[:4]
        self.batches = batches(asked, asked.rows().values())

    @property
    def to_probe(self):
        return [row for row in self.rows if row.name not in self.failed]

    def batch_of(self, row):
        return batch_of(self.asked, row, self.batches) if row.members else self.batches[0]

    def refused(self, _batch):
        return {}

    def export(self, *_):
        return None

    def reinforce(self, *_):
        return Path("shards")

    def part(self, *_):
        return nullcontext()

    def fail(self, row, why):
        self.failed[row.name] = why

    def probed(self, run, _upto):
        self.failed |= run.failed

    def probe(self, asked, _say, *, only):
        self.calls.append((tuple(asked.arms), tuple(only), asked.sanity))
        if self.bad in only:
            raise UserError("no such thing")
        return ProbeRun(directory="", results=[], contrasts=[])


def test_a_failing_last_arm_takes_no_control_with_it_and_all_arms_share_their_pictures(monkeypatch):
    asked = recipe("x", probe={**MINIATURE["probe"], "sanity": True})
    it = Pretended(asked, bad="both")
    monkeypatch.setattr(students, "probe", it.probe)
    monkeypatch.setattr(students, "declare", lambda *_: None)
    students.probe_arms(asked, it, it, it, lambda _: None)
    every = ("ground truth", "one", "three", "both")
    trained = [(every, (name,), False) for name in every]
    assert it.calls == [(every, (), True), *trained, (every, CONTROLS, True)]
    assert it.failed == {"both": "no such thing"}


def test_captions_that_cannot_be_embedded_take_their_own_arms_along_and_no_others(monkeypatch):
    arms = {**MINIATURE["arms"], "three": {**MINIATURE["arms"]["three"], "rules": {"refuse": []}}}
    it = Pretended(recipe("x", arms=arms), bad="")
    monkeypatch.setattr(students, "probe", it.probe)
    monkeypatch.setattr(students, "declare", lambda *_: None)
    monkeypatch.setattr(it, "export", lambda batch, _: batch)

    def reinforce(batch, _teachers):
        if not batch.called:
            raise UserError("the disk is full")
        return Path("shards")

    monkeypatch.setattr(it, "reinforce", reinforce)
    students.probe_arms(it.asked, it, it, it, lambda _: None)
    assert it.failed == dict.fromkeys(("one", "both"), "the disk is full")
    assert {asked for _, only, _ in it.calls for asked in only} == {"ground truth", "three"}


def test_a_control_that_fails_ends_the_command_with_2(done, capsys, monkeypatch):
    out, found, _ = done
    monkeypatch.setattr(job, "ablate", lambda *_, **__: replace(found, failed={}, unheld=("shuffled (0.9)",)))
    assert captioners(["ablate", str(out / "recipe.yaml")]) == 2
    assert "control failed: shuffled (0.9)" in capsys.readouterr().err


def test_the_command_ends_with_2_where_an_arm_failed(done, capsys, monkeypatch):
    out, found, _ = done
    monkeypatch.setattr(job, "ablate", lambda *_, **__: found)
    assert captioners(["ablate", str(out / "recipe.yaml")]) == 2
    told = capsys.readouterr()
    assert "arm lost failed" in told.err and "ablation.html" in told.out
    assert captioners(["ablate", "generate/demo"]) == 1
    assert "run it with 'captioners generate" in capsys.readouterr().err
