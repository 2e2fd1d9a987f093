"""`captioners report A B` as a user runs it, on drawn scenes: the page, the blind page, votes, and what it refuses."""

import json
from pathlib import Path

import pytest

from captioners.cli.main import run
from tests.jobs.comparing import VOICES, ScriptedCaptioner

SCENES = "{kind: drawn, split: eval, voice: alt_text, count: 9}"


@pytest.fixture
def captioners(capsys):
    def call(*arguments):
        code = run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_two_captioners_on_a_page_with_numbers_beside_it(captioners, run_dir):
    code, out, _ = captioners("report", "random-tiny", "demo", "--data", SCENES, "-o", "page.html")
    assert code == 0
    assert f"source {SCENES}" in out
    assert "Did it get better? YES: CIDEr-D 0.00 -> " in out and "on 9 images (same references and decoding)" in out
    assert "demo knows only scenes of the drawn world" in out
    assert "--blind" in out
    assert "random-tiny against demo" in Path("page.html").read_text()
    numbers = json.loads(Path("page.json").read_text())
    assert (numbers["verdict"], numbers["images"], len(numbers["rows"])) == ("YES", 9, 9)
    assert len(numbers["forgotten"]) == 6


def test_a_blind_page_and_its_votes(captioners, run_dir, monkeypatch):
    voices = {"random-tiny": VOICES["poor"], "demo": VOICES["good"]}
    scripted = "captioners.kinds.coca.CocaCaptioner"
    monkeypatch.setattr(scripted, lambda name: ScriptedCaptioner(name, voices[name]))
    code, out, _ = captioners("report", "random-tiny", "demo", "--data", SCENES, "--blind")
    assert code == 0
    assert "9 images to vote on" in out and "which is which stands in blind.key.json" in out
    page, key = Path("blind.html").read_text(), json.loads(Path("blind.key.json").read_text())
    assert "random-tiny" not in page and "Did it get better" not in out
    told = {"format": "captioners-votes", "version": 1, "page": key["page"]}
    votes = {name: "left" if left == "after" else "right" for name, left in key["left"].items()}
    for name in ("a", "b"):
        Path(f"{name}.json").write_text(json.dumps(told | {"votes": votes}, indent=1 if name == "a" else None))
    for arguments in (("--votes", "a.json", "b.json"), ("--votes", "a.json", "b.json", "-o", "blind.html")):
        code, out, _ = captioners("report", *arguments)
        assert code == 0
        assert out.startswith("Which do people prefer? demo: demo is preferred in 100 % [")
        assert "9 images" in out and "2 voters" in out
    Path("blind.key.json").write_text(json.dumps(key | {"page": "another"}))
    code, _, err = captioners("report", "random-tiny", "demo", "--data", SCENES, "--blind")
    assert code == 1 and "the key of another blind page" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "0 names were given; report takes one run, or two captioners A B"),
        (("a", "b", "c"), "3 names were given"),
        (("latest", "--blind"), "are for two captioners; name both"),
        (("demo", "demo", "--images", "0"), "a comparison takes 1 to 5,000"),
        (("demo", "demo", "--images", "999", "--blind"), "a blind page shows 1 to 300"),
        (("demo", "demo", "--blind", "--no-images"), "cannot be judged without their images"),
        (("demo", "demo", "-o", "page.pdf"), "a page ends in .html"),
        (("demo", "dmo"), "Did you mean 'demo'"),
        (("demo", "demo", "--data", "nowhere"), "nowhere"),
        (("demo", "demo", "--scorer", "demo"), "has the image tower of demo"),
        (("--votes", "none.json"), "no such file"),
    ],
)
def test_mistakes_are_one_line(captioners, run_dir, arguments, says):
    code, _, err = captioners("report", *arguments)
    assert code == 1
    assert says in err
    assert err.count("\n") == 1
    assert not list(Path().iterdir())
