"""The demo in miniature: the whole path from drawn scenes to a page, and again, with nothing redone."""

import json

import pytest

from captioners.cli.main import run
from captioners.core.errors import UserError
from captioners.core.run_dir import RunDir
from captioners.data.drawn_check import check
from captioners.data.drawn_scene import scene
from captioners.data.drawn_voices import captions
from captioners.jobs.demo.job import NOTICE, DemoOptions, demo, voices_of
from captioners.metrics.faithfulness import claims_true
from captioners.metrics.references import cider_d

MINIATURE = {
    "scenes": 24,
    "held_out": 6,
    "finetune": ("steps=2", "batch_size=4"),
    "generate": ("members.2.draws=2", "members.5.draws=2"),
}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished miniature: its options, what it found, and what was said."""
    options = DemoOptions(out=tmp_path_factory.mktemp("demo") / "it", **MINIATURE)
    said = []
    return options, demo(options, said.append), said


def _files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_the_page_holds_the_notice_the_tables_and_every_member(done):
    options, found, _ = done
    page = (options.out / "captions/report.html").read_text()
    assert found.page.endswith("report.html")
    assert NOTICE in page
    for title in (
        "From the alt-text captioner to each voice",
        "What greedy captions say is true",
        "What diversity costs",
        "Claims true, by kind",
        "How long it took",
    ):
        assert f"<h2>{title}</h2>" in page
    for name in ("pretrained-greedy", "detailed-top_p", "short-beam"):
        assert name in page
    assert len(found.findings) == 2


def test_what_is_measured_is_what_a_count_by_hand_finds(done):
    """The oracle reads the rows and asks the checker itself, scene by scene."""
    options, found, _ = done
    rows = RunDir(options.out / "captions").captions(["detailed-greedy"]).to_pylist()
    assert len(rows) == 6
    claims, crossed = [], []
    for row in rows:
        place = int(row["key"])
        claims += check(row["text"], scene(0, "caption", place)).claims
        crossed += check(row["text"], scene(0, "caption", (place + 3) % 6)).claims
    layer = found.layers["detailed-greedy"]
    assert layer.true.value == pytest.approx(sum(claim.true for claim in claims) / len(claims))
    assert layer.true_of_others.value == pytest.approx(sum(claim.true for claim in crossed) / len(crossed))
    assert claims_true(layer.own).count == 6


def test_the_table_of_voices_is_what_a_count_by_hand_finds(done):
    """The oracle draws the references anew from the seed, and pairs captions with scenes by their keys."""
    options, found, _ = done
    kept = json.loads((options.out / "voices.json").read_text())["voices"]
    assert [about["voice"] for about in kept] == ["short", "detailed"]
    run = RunDir(options.out / "captions")
    said = {
        layer: {int(row["key"]): row["text"] for row in run.captions([layer]).to_pylist()}
        for layer in ("pretrained-greedy", "short-greedy", "detailed-greedy")
    }
    for about, gained in zip(kept, found.gains, strict=True):
        references = [captions(scene(0, "caption", place), about["voice"], 5, 0) for place in range(6)]
        measured = {one["metric"]: one for one in about["measures"]}
        for side, layer in (("before", "pretrained-greedy"), ("after", f"{about['voice']}-greedy")):
            by_hand = cider_d([said[layer][place] for place in range(6)], references).mean()
            assert measured["CIDEr-D"][side] == pytest.approx(by_hand)
            assert getattr(gained.claims, side) == pytest.approx(found.layers[layer].true.value, nan_ok=True)
        assert about["references"] == 5 and measured["CIDEr-D"]["images"] == 6
    table = found.table.read_text()
    assert NOTICE[1:] in table
    assert [line.split(" | ")[0] for line in table.splitlines() if line.startswith("|")] == [
        "| voice",
        "| ---",
        "| short",
        "| detailed",
    ]


def test_each_step_says_its_command_and_its_time(done):
    _, found, said = done
    assert [line for line in said if not line.startswith(" ")] == [
        "1/5 draw",
        "2/5 fine-tune short",
        "3/5 fine-tune detailed",
        "4/5 caption",
        "5/5 measure",
    ]
    assert any("captioners finetune finetune/demo-detailed" in line for line in said)
    assert found.steps[0].name == "draw"
    assert all(step.wall > 0 and step.cpu > 0 for step in found.steps)


def test_the_same_command_again_redoes_nothing_but_the_page(done):
    options, first, _ = done
    before = _files(options.out)
    again = demo(options)
    after = _files(options.out)
    changed = {path.relative_to(options.out).as_posix() for path in after if before.get(path) != after[path]}
    assert changed <= {"captions/report.html", "captions/recipe.yaml", "demo.json", "voices.md", "voices.json"}
    assert again.findings == first.findings
    assert again.steps == first.steps


def test_a_voice_is_added_to_a_finished_demo(done):
    """One without members in the packaged ensemble is captioned greedily; what was there stays as it is."""
    options, first, _ = done
    before, said = _files(options.out), []
    more = demo(DemoOptions(out=options.out, voices=("short", "count"), **MINIATURE), said.append)
    assert "3/5 fine-tune count" in said
    assert [gained.voice for gained in more.gains] == ["short", "count"]
    assert more.gains[0] == first.gains[0]
    assert more.layers["count-greedy"].true.count == 6
    card = json.loads((options.out / "count/captioner/captioner.json").read_text())
    assert "json:captions.count" in (options.out / "count/recipe.yaml").read_text() and card["name"] == "demo-count"
    after = _files(options.out)
    kept = [path for path in before if not {"demo.json", "voices.md", "voices.json"} & {path.name}]
    changed = {path.relative_to(options.out).as_posix() for path in kept if before[path] != after[path]}
    assert changed <= {"captions/report.html", "captions/recipe.yaml"}
    steps = {step.name: step for step in more.steps}
    assert steps["caption"].wall > {step.name: step for step in first.steps}["caption"].wall
    assert steps["fine-tune short"] in first.steps


def test_a_voice_whose_recipe_has_changed_is_refused(done):
    options, _, _ = done
    file = options.out / "demo.json"
    kept = json.loads(file.read_text())
    file.write_text(json.dumps(kept | {"voices": kept["voices"] | {"short": "0" * 12}}))
    with pytest.raises(UserError, match="holds a demo with another recipe of short; remove it"):
        demo(options)
    file.write_text(json.dumps(kept))


def test_voices_are_named(capsys):
    assert voices_of("all") == ("short", "detailed", "relational", "count", "paraphrased")
    assert voices_of("count, short,count") == ("count", "short")
    for unknown in ("alt_text", "shrot", ""):  # the first is what the pretrained captioner has learned
        with pytest.raises(UserError, match=f"no voice to fine-tune is named '{unknown}'"):
            voices_of(unknown)
    assert run(["demo", "--voices", "shrot"]) == 1
    assert "Did you mean 'short'?" in capsys.readouterr().err
    assert run(["demo", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert f"{', '.join(voices_of('all'))}; or all" in told


def test_a_folder_with_another_demo_is_refused(done):
    options, _, _ = done
    with pytest.raises(UserError, match="holds a demo with another scenes; remove it, or name another --output"):
        demo(DemoOptions(out=options.out, **MINIATURE | {"scenes": 25}))


def test_a_folder_with_something_else_is_refused(tmp_path):
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(UserError, match="the folder is not empty and holds no demo"):
        demo(DemoOptions(out=tmp_path, **MINIATURE))


def test_a_damaged_book_is_told(tmp_path):
    (tmp_path / "demo.json").write_text("{")
    with pytest.raises(UserError, match=r"demo\.json: damaged"):
        demo(DemoOptions(out=tmp_path, **MINIATURE))


def test_what_a_killed_drawing_left_is_drawn_again(tmp_path, monkeypatch):
    """A set is there whole or not at all: half of one is never trained on."""

    class Killed(BaseException):
        pass

    def killed(options, say=None):
        options.out.mkdir()
        (options.out / "00000.tar").write_bytes(b"half")
        raise Killed

    monkeypatch.setattr("captioners.jobs.demo.job.data_draw", killed)
    for _ in range(2):  # the second finds the first one's half
        with pytest.raises(Killed):
            demo(DemoOptions(out=tmp_path / "it", **MINIATURE))
        assert not (tmp_path / "it/data/finetune").exists()
    kept = json.loads((tmp_path / "it/demo.json").read_text())
    assert kept["steps"]["draw"]["finished"] is False


def test_the_command_line_tells_a_wrong_folder_in_one_line(tmp_path, capsys):
    (tmp_path / "holiday.jpg").touch()
    assert run(["demo", "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_from_scratch_the_voices_start_from_a_captioner_made_here(tmp_path):
    small = ("steps=2", "batch_size=4", "warmup=0", "source.count=40", "tokenizer.sentencepiece.vocab_size=320")
    said = []
    out = tmp_path / "it"
    found = demo(DemoOptions(out=out, from_scratch=True, pretrain=small, **MINIATURE), said.append)
    done = ["draw", "pretrain", "fine-tune short", "fine-tune detailed", "caption", "measure"]
    assert [step.name for step in found.steps] == done
    made = json.loads((out / "pretrained/captioner/captioner.json").read_text())
    for voice in ("short", "detailed"):
        card = json.loads((out / voice / "captioner/captioner.json").read_text())
        assert card["init"]["digest"] == made["weights_digest"]
        assert card["licences"] == {**made["licences"], "fine-tuning data": "Apache-2.0 (drawn world, version 1)"}
    layers = {layer.name: layer for layer in RunDir(out / "captions").layers()}
    assert layers["pretrained-greedy"].meaning["weights"] == made["weights_digest"]
