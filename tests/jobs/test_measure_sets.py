"""captioners/jobs/measure: caption sets side by side, against plain loops over the captions and hand-made cases."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from captioners.cli.main import run as command
from captioners.core.errors import InterruptedRunError, UserError
from captioners.core.run_dir import RunDir
from captioners.data.caption_sets import CaptionSet, Part, sets_of_run
from captioners.data.drawn_check import check, facts, facts_stated
from captioners.data.drawn_voices import captions
from captioners.jobs.measure import cell
from captioners.jobs.measure.gauge import Shelf
from captioners.jobs.measure.quick import sets_of_runs
from captioners.jobs.measure.table import MeasureOptions, measure_sets
from captioners.metrics.intervals import mean
from captioners.metrics.references import bleu, bleu_counts, cider_d, rouge_l
from captioners.metrics.registry import REGISTRY
from captioners.metrics.tokens import words
from tests.jobs.drawn_runs import SEED, drawn_run, says, scene_of, voice

HERE = MeasureOptions(workers=1)
MEMBERS = {"short": voice("short", 4), "detailed": voice("detailed", 2), "greedy": voice("relational", 1)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return drawn_run(tmp_path_factory.mktemp("drawn") / "run", MEMBERS)


def one(run, member, draws=None):
    return CaptionSet(member, (Part(run.url, member, draws),))


def texts_of(run, member):
    """key -> texts, by pandas."""
    rows = run.captions([member]).to_pandas()
    return rows[rows["keep"]].sort_values("draw").groupby("key")["text"].apply(list).to_dict()


def value(table, row, metric):
    return next(found for found in table.rows if found.name == row).cells[metric].interval


def files(run):
    return {path: path.stat().st_mtime_ns for path in Path(run.url, "measures").rglob("*.*")}


def test_truth_is_what_the_checker_says_claim_by_claim(run):
    table = measure_sets(sets_of_run(run.url), HERE)
    for member, (made, _) in MEMBERS.items():
        said = texts_of(run, member)
        claims = [claim.true for key, texts in said.items() for t in texts for claim in check(t, scene_of(key)).claims]
        assert value(table, member, "claims true").value == pytest.approx(sum(claims) / len(claims))
        told = []
        for key, texts in said.items():
            sets = [facts_stated(text, scene_of(key)) for text in texts]
            chosen = [set().union(*some) for some in combinations(sets, min(2, made))]
            told.append(np.mean([len(facts_told) / len(facts(scene_of(key))) for facts_told in chosen]))
        assert value(table, member, "facts told").value == pytest.approx(np.mean(told))
    assert value(table, "short", "captions unparseable").value == 0


def test_sets_of_unequal_m_are_compared_at_the_smallest_and_it_is_said(run):
    table = measure_sets(sets_of_run(run.url), HERE)
    assert [row.m for row in table.rows] == [2, 1, 4, 7]
    split = {key: [words(text) for text in texts] for key, texts in texts_of(run, "short").items()}
    pairs = [[a + b for a, b in combinations(texts, 2)] for texts in split.values()]
    expected = [np.mean([len(set(pair)) / len(pair) for pair in of_image]) for of_image in pairs]
    found = value(table, "short", "Div-1")
    assert (found.value, found.count) == (pytest.approx(np.mean(expected)), 24)
    assert any("are compared at 2 captions an image" in note and "short, all members" in note for note in table.notes)
    greedy = next(row for row in table.rows if row.name == "greedy")
    assert greedy.cells["Div-1"].interval is None and greedy.cells["Div-1"].why == "one caption an image"
    assert any(note.startswith("-: greedy: one caption an image has no diversity") for note in table.notes)
    assert value(table, "greedy", "length").count == 24


def test_an_interval_is_the_bootstrap_over_images(run):
    table = measure_sets([one(run, "short")], HERE)
    values = table.per_image()["Div-1"].to_numpy()
    shown = [cell.Shown(table.metrics[0], ("x",))]
    found = cell.intervals(shown, {"x": values}, np.arange(24, dtype=np.uint64), 5)[table.metrics[0].name]
    expected = mean(values, seed=5)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))
    order = np.random.Generator(np.random.PCG64(1)).permutation(24)
    again = cell.intervals(shown, {"x": values[order]}, order.astype(np.uint64), 5)[table.metrics[0].name]
    assert (again.low, again.high) == (found.low, found.high)


def test_of_a_large_set_the_interval_rests_on_some_images(run, monkeypatch):
    generator = np.random.Generator(np.random.PCG64(1))
    columns, ids = {"x": generator.normal(3, 1, 4000)}, generator.integers(0, 2**62, 4000).astype(np.uint64)
    shown = [cell.Shown(next(iter(measure_sets([one(run, "short")], HERE).metrics)), ("x",))]
    whole = next(iter(cell.intervals(shown, columns, ids, 0).values()))
    monkeypatch.setattr(cell, "RESERVOIR", 1000)
    some = next(iter(cell.intervals(shown, columns, ids, 0).values()))
    assert some.value == whole.value and some.count == whole.count == 4000
    assert some.high - some.low == pytest.approx(whole.high - whole.low, rel=0.15)
    assert some.low < whole.value < some.high


def test_references_score_as_plain_functions_do(run):
    table = measure_sets([one(run, "greedy"), one(run, "short", 2)], MeasureOptions(workers=1, references="own"))
    references = {key: captions(scene_of(key), "short", 3, SEED) for key in texts_of(run, "greedy")}
    told = list(references.values())
    for member, draws in (("greedy", 1), ("short", 2)):
        said = [[texts[draw] for texts in texts_of(run, member).values()] for draw in range(draws)]
        ciders = np.mean([cider_d(texts, told) for texts in said], axis=0)
        assert value(table, member, "CIDEr-D").value == pytest.approx(ciders.mean())
        assert value(table, member, "ROUGE-L").value == pytest.approx(np.mean([rouge_l(t, told) for t in said]))
        counts = sum(bleu_counts(texts, told).sum(axis=0) for texts in said)
        assert value(table, member, "BLEU-4").value == pytest.approx(float(bleu(counts)))
    per_image = table.per_image().to_pandas()
    greedy = per_image[per_image["set"] == "greedy"].set_index("key")["CIDEr-D"]
    assert greedy.tolist() == pytest.approx(cider_d([texts_of(run, "greedy")[key][0] for key in greedy.index], told))


def test_references_of_another_source_are_met_by_shard_and_key(run):
    own = measure_sets([one(run, "greedy")], MeasureOptions(workers=1, references="own"))
    source = f"{{kind: drawn, seed: {SEED}, split: eval, count: 24, voice: short, captions: 3}}"
    same = measure_sets([one(run, "greedy")], MeasureOptions(workers=1, references=source))
    assert value(same, "greedy", "CIDEr-D").value == value(own, "greedy", "CIDEr-D").value
    assert same.stamp["references"]["references"] == source


def test_what_is_novel_is_what_no_reference_says(run):
    table = measure_sets([one(run, "short")], MeasureOptions(workers=1, references="own", all_metrics=True))
    known = {words(text) for key in texts_of(run, "short") for text in captions(scene_of(key), "short", 3, SEED)}
    said = [words(text) for texts in texts_of(run, "short").values() for text in texts]
    expected = np.mean([caption not in known for caption in said])
    assert 0 < expected < 1
    assert value(table, "short", "novel captions").value == pytest.approx(expected)


def test_every_metric_of_a_table_is_listed(run):
    table = measure_sets(sets_of_run(run.url), MeasureOptions(workers=1, references="own", all_metrics=True))
    assert {one.name for one in table.metrics} <= set(REGISTRY)


def test_what_is_not_measured_is_told_with_its_reason(run):
    table = measure_sets([one(run, "greedy")], HERE)
    assert table.rows[0].cells["CIDEr-D"].why == "needs --references SOURCE"
    assert table.rows[0].cells["CLIPScore"].why == "needs --clip NAME"
    assert "not measured: relative embedding distance, CLIPScore: needs --clip NAME" in table.notes
    assert "not measured: RefCLIPScore: needs --clip NAME and --references SOURCE" in table.notes
    text = table.as_text()
    assert not any(line.startswith("CIDEr-D") for line in text.splitlines())
    assert table.as_json()["rows"][0]["cells"]["CIDEr-D"] == {"value": None, "why": "needs --references SOURCE"}


def test_what_is_measured_stays_and_a_run_that_went_on_has_little_to_do(tmp_path, monkeypatch):
    members = {"short": voice("short", 2), "detailed": voice("detailed", 2)}
    run = drawn_run(tmp_path / "run", members, stop=16)
    options = MeasureOptions(workers=1, references="own", all_metrics=True)
    first = measure_sets(sets_of_run(run.url), options)
    before = files(run)
    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "rows", lambda *_: pytest.fail("captions were read again"))
        again = measure_sets(sets_of_run(run.url), options)
    assert again.as_json() == first.as_json() and files(run) == before
    drawn_run(tmp_path / "run", members)
    longer = measure_sets(sets_of_run(run.url), options)
    assert [row.images for row in longer.rows] == [24] * 3
    after = files(run)
    assert {path: time for path, time in after.items() if path in before} == before
    new = {(path.relative_to(run.url).parts[1], path.name.split(".")[1]) for path in after if path not in before}
    anew = {start for gauge, start in new if gauge not in ("within", "frequencies") and start != "json"}
    # Words are weighed by all captions, so what is weighed is measured anew.
    assert anew == {"00000016"} and ("within", "00000000") in new


def test_a_damaged_file_is_told(tmp_path):
    run = drawn_run(tmp_path / "run", {"short": voice("short", 2)}, count=8)
    measure_sets([one(run, "short")], HERE)
    [damaged] = Path(run.url, "measures/within").rglob("*.parquet")
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(UserError, match=rf"{damaged}: is damaged; remove it and measure again"):
        measure_sets([one(run, "short")], HERE)


def test_stopped_it_goes_on_and_finds_the_same(tmp_path, monkeypatch):
    run = drawn_run(tmp_path / "run", {"short": voice("short", 2)})
    whole = measure_sets([one(run, "short")], HERE).as_json()
    other = drawn_run(tmp_path / "other", {"short": voice("short", 2)})
    write, written = Shelf.write, []

    def stopping(*arguments):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(arguments)
        write(*arguments)

    monkeypatch.setattr(Shelf, "write", stopping)
    with pytest.raises(InterruptedRunError, match="what is measured stays") as stopped:
        measure_sets([one(other, "short")], HERE)
    assert stopped.value.exit_code == 75
    monkeypatch.undo()
    assert measure_sets([one(other, "short")], HERE).as_json() == whole
    assert all(path.exists() for path in [Path(other.url, "measures")])


def test_captions_that_were_made_anew_are_measured_anew(tmp_path):
    run = drawn_run(tmp_path / "run", {"short": voice("short", 2)}, part=24)
    before = value(measure_sets([one(run, "short")], HERE), "short", "Div-1").value
    entry = next(run.entries())
    run.place.remove(run.ledger.name("short", entry.shard, 0))
    (draws, _), same = voice("short", 2), lambda _: ["a red circle", "a red circle"]
    drawn_run(tmp_path / "run", {"short": (draws, same)}, part=24)
    after = value(measure_sets([one(run, "short")], HERE), "short", "Div-1").value
    assert after == 0.5 != before


def test_what_was_judged_is_known_when_the_source_is_gone(tmp_path):
    run = drawn_run(tmp_path / "run", {"short": voice("short", 2)}, count=8)
    settled = json.loads(run.place.read("run.json"))
    found = measure_sets([one(run, "short")], HERE).as_json()
    gone = settled | {"source": {"kind": "webdataset", "inputs": [str(tmp_path / "gone")]}}
    run.place.write("run.json", json.dumps(gone).encode())
    assert measure_sets([one(run, "short")], HERE).as_json() == found
    with pytest.raises(UserError, match=r"--references own: .*: no such"):
        measure_sets([one(run, "short")], MeasureOptions(workers=1, references="own"))


def test_two_processes_find_what_one_finds(tmp_path):
    members = {"short": voice("short", 3), "detailed": voice("detailed", 2)}
    one_run, other = (drawn_run(tmp_path / name / "run", members, part=4) for name in ("one", "two"))
    tables = [
        measure_sets(sets_of_run(run.url), MeasureOptions(workers=workers, all_metrics=True))
        for run, workers in ((one_run, 1), (other, 2))
    ]
    assert tables[0].as_json() == tables[1].as_json()
    digests = [{path.relative_to(run.url): path.read_bytes() for path in files(run)} for run in (one_run, other)]
    assert digests[0] == digests[1]


def test_different_images_are_refused_and_the_shared_ones_measured(tmp_path):
    members = {"short": voice("short", 2)}
    long, short = drawn_run(tmp_path / "long", members), drawn_run(tmp_path / "half", members, stop=16)
    sets = sets_of_runs([long.url, short.url])
    assert [found.name for found in sets] == ["long/short", "half/short"]
    with pytest.raises(UserError, match=r"different images \(long/short 24, half/short 16\); 16 are in all of them"):
        measure_sets(sets, HERE)
    table = measure_sets(sets, MeasureOptions(workers=1, common=True, all_metrics=True, references="own"))
    cells = [row.cells for row in table.rows]
    assert [row.images for row in table.rows] == [16, 16]
    for name in ("Div-1", "Self-CIDEr", "vocabulary", "compression ratio", "claims true"):
        assert cells[0][name].interval == cells[1][name].interval
    assert table.per_image().num_rows == 32


def test_images_with_fewer_captions_are_counted(tmp_path):
    loop = "a red circle a red circle a red circle a red circle"

    def say(index):
        return ["a red circle and a blue square", loop if index < 5 else "a green star above a blue square"]

    run = drawn_run(tmp_path / "run", {"loops": (2, say)})
    table = measure_sets([one(run, "loops")], MeasureOptions(workers=1, all_metrics=True))
    assert value(table, "loops", "degenerate captions").value == pytest.approx(5 / 48)
    assert value(table, "loops", "refused captions").value == pytest.approx(5 / 48)
    assert value(table, "loops", "Div-1").count == value(table, "loops", "vocabulary").count == 19
    assert any(note.startswith("loops: 5 of 24 images have fewer than 2 captions") for note in table.notes)


def test_members_in_effect_are_one_for_twins_and_two_for_strangers(tmp_path):
    twins = {"a": says(["a red circle here"]), "b": says(["a red circle here"])}
    strangers = {"a": says(["a red circle here"]), "b": says(["two blue squares there"])}
    found = [
        value(measure_sets(sets_of_run(drawn_run(tmp_path / str(at), m).url), HERE), "all members", "Vendi beta").value
        for at, m in enumerate((twins, strangers))
    ]
    assert found == pytest.approx([1, 2])
    alone = measure_sets(sets_of_run(str(tmp_path / "0")), HERE).rows[0]
    assert alone.cells["Vendi beta"].why == "one member"


def test_the_command(run, tmp_path, capsys):
    target, table = tmp_path / "table.json", tmp_path / "images.parquet"
    arguments = [run.url, "workers=1", "--references", "own", "--json", str(target), "--parquet", str(table)]
    assert command(["measure", *arguments]) == 0
    said = capsys.readouterr().out
    assert "not measured: relative embedding distance, CLIPScore, RefCLIPScore: needs --clip NAME" in said
    assert f"next:    captioners measure {run.url} workers=1 --references own --all" in said
    found = json.loads(target.read_text())
    assert [row["name"] for row in found["rows"]] == ["detailed", "greedy", "short", "all members"]
    assert found["stamp"]["tokenizer"] == "ptb-like-2" and found["stamp"]["m"] == 2
    images = pd.read_parquet(table)
    assert len(images) == 4 * 24
    means = images.groupby("set")["facts told"].mean().to_dict()
    cells = {row["name"]: row["cells"]["facts told"]["value"] for row in found["rows"]}
    assert means == pytest.approx(cells)
    assert images.loc[images["set"] == "greedy", "Div-1"].isna().all()
    assert command(["measure", run.url, "workers=0"]) == 1
    assert "workers" in capsys.readouterr().err
    assert command(["measure", "seed=1"]) == 1
    assert "no run among them" in capsys.readouterr().err
    assert command(["measure", run.url, "--references", str(tmp_path / "none")]) == 1


def test_from_python(run):
    import captioners

    table = captioners.measure(run.url, references="own")
    assert [row.name for row in table.rows] == ["detailed", "greedy", "short", "all members"]


def test_mistakes(run):
    with pytest.raises(UserError, match="of different names"):
        measure_sets([one(run, "short"), one(run, "short")], HERE)
    with pytest.raises(UserError, match="of different names"):
        measure_sets([], HERE)
    with pytest.raises(UserError, match="two runs are called run"):
        sets_of_runs([run.url, run.url])
