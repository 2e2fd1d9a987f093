"""captioners caption, fetch and demo, as a user runs them: what comes out, and one clear line for every mistake."""

import errno
import json
import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image

from captioners.cli.main import run
from captioners.core.package_data import SAMPLES

QUICK = ("-c", "random-tiny", "-d", "{top_p: 0.9, max_tokens: 6}")


@pytest.fixture
def captioners(capsys, run_dir):
    def call(*arguments):
        code = run(list(map(str, arguments)))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def photo(run_dir):
    path = run_dir / "photo.jpg"
    path.write_bytes((SAMPLES / "cat.jpg").read_bytes())
    return path


def rows(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_one_photo_gets_one_caption_and_a_run(captioners, photo):
    code, out, err = captioners("caption", photo, "-c", "random-tiny", "-d", "{beam: {width: 3, max_tokens: 6}}")
    assert (code, err) == (0, "")
    assert "photo.jpg" in out and "1 of 1 pictures, 1 captions" in out and "exact" in out
    assert "written: runs/caption-" in out and "next:    captioners caption" in out
    (row,) = rows("runs/latest/captions.jsonl")
    assert row["text"] and row["num_tokens"] == 6 and row["finish"] == "length" and row["logprob"] < 0
    assert Path("runs/latest/recipe.yaml").read_text().startswith("job: caption")


def test_n_gives_varied_captions_and_the_same_again(captioners, photo):
    assert captioners("caption", photo, "-n", 5, *QUICK)[0] == 0
    first = rows("runs/latest/captions.jsonl")
    assert [row["draw"] for row in first] == list(range(5))
    assert len({row["text"] for row in first}) == 5
    assert captioners("caption", photo, "-n", 5, *QUICK)[0] == 0
    assert rows("runs/latest/captions.jsonl") == first


def test_a_photo_in_a_folder_is_captioned_as_alone_with_any_number_of_draws(captioners, photo):
    assert captioners("caption", SAMPLES, "-n", 2, *QUICK, "--out", "all.jsonl")[0] == 0
    assert captioners("caption", photo, "-n", 4, *QUICK, "--out", "one.jsonl")[0] == 0
    among = [(r["text"], r["logprob"]) for r in rows("all.jsonl") if r["path"].endswith("cat.jpg")]
    alone = [(r["text"], r["logprob"]) for r in rows("one.jsonl")]
    assert among == alone[:2]


def test_the_saved_recipe_makes_the_same_captions_and_overrides_change_them(captioners, photo):
    captioners("caption", photo, "-n", 2, *QUICK, "--out", "a.jsonl")
    recipe = "runs/latest/recipe.yaml"
    assert captioners("caption", recipe, "output=b.jsonl")[0] == 0
    assert rows("b.jsonl") == rows("a.jsonl")
    assert captioners("caption", recipe, "output=c.jsonl", "seed=1")[0] == 0
    assert rows("c.jsonl") != rows("a.jsonl")


def test_raygen_is_named_a_reproduction_with_its_truncation_rate(captioners, photo):
    code, out, _ = captioners("caption", photo, "-n", 2, "-c", "random-tiny", "-d", "raygen")
    assert code == 0
    assert "raygen is a reproduction" in out and "stopped by its length limit" in out


def test_bad_pictures_are_skipped_with_their_reason_and_the_good_ones_captioned(captioners, photo, run_dir):
    (run_dir / "empty.jpg").write_bytes(b"")
    (run_dir / "words.png").write_text("not a picture")
    (run_dir / "cut.jpg").write_bytes(photo.read_bytes()[:2000])
    code, out, err = captioners("caption", run_dir, *QUICK)
    assert code == 2
    assert "1 of 4 pictures, 1 captions" in out
    assert "skipped (empty)" in err and "skipped (not_an_image)" in err and "skipped (truncated)" in err
    reasons = {Path(row["path"]).name: row["reason"] for row in rows("runs/latest/quarantine.jsonl")}
    assert reasons == {"empty.jpg": "empty", "words.png": "not_an_image", "cut.jpg": "truncated"}
    summary = json.loads(Path("runs/latest/summary.json").read_text())
    assert summary["pictures_read"] == summary["captioned"] + summary["quarantined"]


def _bomb(path):
    Image.new("1", (20000, 20000)).save(path)  # 400 million pixels in a few kilobytes


BAD_PICTURES = {
    "not_an_image.jpg": lambda path: path.write_text("hello"),
    "zero.jpg": lambda path: path.write_bytes(b""),
    "truncated.jpg": lambda path: path.write_bytes((SAMPLES / "cat.jpg").read_bytes()[:3000]),
    "bomb.png": _bomb,
    "line.png": lambda path: Image.new("L", (200_000, 1)).save(path),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_one_unreadable_picture_is_one_line_and_exit_1(captioners, run_dir, name):
    BAD_PICTURES[name](run_dir / name)
    code, _, err = captioners("caption", name, *QUICK)
    assert code == 1
    assert err.startswith("captioners: ") and name in err and err.count("\n") == 1 and ";" in err


def mistake(captioners, *arguments):
    code, _, err = captioners("caption", *arguments)
    assert code == 1, err
    assert "Traceback" not in err
    return err


def test_mistakes_of_the_call_are_one_line_each(captioners, photo):
    assert "nowhere.jpg" in mistake(captioners, "nowhere.jpg", *QUICK)
    assert "Did you mean 'caption/photos'" in mistake(captioners, "caption/phtos")
    assert "Did you mean 'coca-l14-coco'" in mistake(captioners, photo, "-c", "coca-l14-cocco")
    assert "Did you mean 'greedy'" in mistake(captioners, photo, "-c", "random-tiny", "-d", "gredy")
    assert "a beam of width 2 cannot give 5 captions" in mistake(captioners, photo, "-n", 5, "-d", "{beam: {width: 2}}")
    assert "max_tokens 90" in mistake(captioners, photo, "-c", "random-tiny", "-d", "{top_p: 0.9, max_tokens: 90}")
    assert "non-commercial licence" in mistake(captioners, photo, "-c", "apple-coca-context77")
    assert "Did you mean 'captioner'" in mistake(captioners, photo, "captoiner=random-tiny")
    assert "quote the braces" in mistake(captioners, *(f"{n:05d}.tar" for n in range(51)))
    assert "raise memory_gb" in mistake(captioners, photo, *QUICK, "memory_gb=0.01")
    assert "is not there" in mistake(captioners, photo, *QUICK, "device=cuda:7")


def test_no_network_for_a_hub_captioner_names_fetch(captioners, photo):
    for captioner in ("coca-l14-coco", "hf-hub:someone/some-captioner"):
        err = mistake(captioners, photo, "-c", captioner)
        assert "cannot be reached" in err and f"captioners fetch {captioner}" in err and err.count("\n") == 1


def test_weights_that_cannot_be_used_are_one_line_each(captioners, photo, run_dir):
    torch.save({"text.positional_embedding": torch.zeros(77, 512)}, run_dir / "other.pt")
    err = mistake(captioners, photo, "-c", "coca_ViT-B-32@other.pt")
    assert "other.pt don't fit the architecture" in err and "is missing" in err

    class Evil:
        def __reduce__(self):
            return (Path.touch, (run_dir / "ran",))

    (run_dir / "evil.pt").write_bytes(pickle.dumps({"state_dict": Evil()}))
    err = mistake(captioners, photo, "-c", "coca_ViT-B-32@evil.pt")
    assert "evil.pt" in err and err.count("\n") == 1
    assert not (run_dir / "ran").exists(), "the pickle's code ran"
    assert "write MODEL@FILE" in mistake(captioners, photo, "-c", "other.pt")
    (run_dir / "hollow").mkdir()
    assert "open_clip_config.json" in mistake(captioners, photo, "-c", "hollow")


def test_a_full_disk_is_one_line_and_what_was_written_stays(captioners, monkeypatch):
    from captioners.jobs.caption import job

    write, calls = job._write, []

    def fills_up(*arguments):
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        calls.append(1)
        write(*arguments)

    monkeypatch.setattr(job, "_write", fills_up)
    err = mistake(captioners, SAMPLES, *QUICK, "--out", "captions.jsonl")
    assert "out of disk" in err and err.count("\n") == 1
    assert len(rows("captions.jsonl.part")) == 3


def test_an_output_that_cannot_be_written_is_one_line(captioners, photo):
    assert "a file stands where a folder is needed" in mistake(captioners, photo, *QUICK, "--out", "photo.jpg/run")


def test_fetch_digests_and_writes_a_directory_that_captions_the_same(captioners, photo):
    code, out, _ = captioners("fetch", "random-tiny", "--to", "tiny")
    assert code == 0 and "sha256 over tensors" in out
    assert captioners("caption", photo, *QUICK, "--out", "a.jsonl")[0] == 0
    assert captioners("caption", photo, "-c", "tiny", *QUICK[2:], "--out", "b.jsonl")[0] == 0
    assert rows("a.jsonl") == rows("b.jsonl")
    code, _, err = captioners("fetch", "random-tiny", "--to", "tiny")
    assert code == 1 and "something is there already" in err
