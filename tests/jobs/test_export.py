"""An exported captioner opens in plain open_clip, without our package, to the same ids and the same bits."""

import errno
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections import namedtuple
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from captioners.core.errors import UserError
from captioners.decoding.values import Beam, parse_decoding
from captioners.jobs.export.captioner import export_captioner, repository_of
from captioners.kinds.directory import write_open_clip
from captioners.models.coca import LoadedCoCa, build, load_directory, resize_context
from captioners.models.weights import weights_digest
from captioners.text.fast import FastTokenizer
from captioners.text.pieces import train_sentencepiece
from captioners.text.tokenizer import ClipTokenizer, load_tokenizer
from tests.text.captions import VARIED, thousand

TINY = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": 32, "patch_size": 8, "layers": 2, "width": 64, "head_width": 32, "mlp_ratio": 2.0,
        "attentional_pool": True, "attn_pooler_queries": 16, "attn_pooler_heads": 2, "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 24, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2,
        "embed_cls": True, "output_tokens": True,
    },
    "multimodal_cfg": {"context_length": 24, "width": 64, "heads": 2, "layers": 2},
}  # fmt: skip
CARD = {"name": "tiny", "licences": {"weights": "CC0", "data": "unknown"}, "recommended_decoding": {"strategy": "beam"}}

# What a stranger runs. `-I -S` starts without user site, PYTHON* and .pth files, so the editable install is not there.
STRANGER = """
import importlib.util, sys
library, workplace, threads, *directories = sys.argv[1:]
sys.path.append(library)
spec = importlib.util.find_spec("captioners")  # an editable install leaves its data, but no module, in this folder
assert spec is None or spec.origin is None, "captioners must not be here"
import open_clip, torch
torch.set_num_threads(int(threads))
asked, answers = torch.load(workplace + "/asked.pt"), {}
for directory in directories:
    model, _, preprocess = open_clip.create_model_and_transforms("local-dir:" + directory)
    ids = open_clip.get_tokenizer("local-dir:" + directory)(asked["captions"])
    with torch.no_grad():
        answer = model.eval()(asked["images"], ids[: len(asked["images"])])
    answer |= {"ids": ids, "size": preprocess.transforms[0].size, "mean": list(preprocess.transforms[-1].mean)}
    answers[directory] = answer
torch.save(answers, workplace + "/answers.pt")
assert "captioners" not in sys.modules
"""
CAPTIONS = thousand()
IMAGES = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def tiny():
    return LoadedCoCa(build(TINY, seed=3), TINY)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    return train_sentencepiece(VARIED, 600, tmp_path_factory.mktemp("pieces") / "p.model")


@pytest.fixture(scope="module")
def tiny_pieces(pieces):
    config = deepcopy(TINY)
    config["text_cfg"]["vocab_size"] = 600
    # A resized context: the directory must say the final length in both towers.
    return resize_context(LoadedCoCa(build(config, seed=4), config), 31)


@pytest.fixture(scope="module")
def answers(tiny, tiny_pieces, pieces, tmp_path_factory):
    """Three exported captioners and what a stranger's open_clip makes of each: {which: (loaded, tokenizer, answer)}."""
    place = tmp_path_factory.mktemp("stranger")
    (place / "files").mkdir()
    pieces.save(place / "files")
    exported = {
        "clip": (tiny, ClipTokenizer()),
        "sentencepiece": (tiny_pieces, pieces),
        "fast": (tiny_pieces, FastTokenizer(place / "files")),
    }
    written = {which: write_open_clip(*parts, CARD, place / which) for which, parts in exported.items()}
    torch.save({"captions": CAPTIONS, "images": IMAGES}, place / "asked.pt")
    arguments = [sysconfig.get_path("purelib"), str(place), str(torch.get_num_threads()), *map(str, written.values())]
    subprocess.run([sys.executable, "-I", "-S", "-c", STRANGER, *arguments], check=True, cwd=place)
    found = torch.load(place / "answers.pt")
    return {which: (*exported[which], found[str(written[which])]) for which in exported}


@pytest.mark.parametrize("which", ["clip", "sentencepiece", "fast"])
def test_a_stranger_gets_the_same_ids_and_the_same_bits(which, answers):
    loaded, tokenizer, found = answers[which]
    ids = tokenizer.batch(CAPTIONS, loaded.context_length)
    assert ids.shape == (1_000, 24 if which == "clip" else 31)
    assert torch.equal(found["ids"], ids)
    with torch.no_grad():
        ours = loaded.model(IMAGES, ids[:8])
    for key in ("logits", "image_features", "text_features"):
        assert torch.isfinite(ours[key]).all()
        assert torch.equal(found[key], ours[key]), key
    assert found["size"] == 32
    assert found["mean"] == loaded.preprocess_cfg["mean"]


def test_the_stranger_would_notice_our_package(tmp_path):
    """The control: with `.pth` files read, the editable install is found and the assertion fails."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('captioners') is None)"
    assert subprocess.run([sys.executable, "-I", "-c", code], check=False, cwd=tmp_path).returncode == 0
    assert subprocess.run([sys.executable, "-I", "-S", "-c", code], check=False, cwd=tmp_path).returncode == 1


def test_the_directory_holds_what_it_says(tiny, tmp_path):
    out = write_open_clip(tiny, ClipTokenizer(), CARD, tmp_path / "made" / "out")
    names = ["README.md", "captioner.json", "open_clip_config.json", "open_clip_model.safetensors"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    card = json.loads((out / "captioner.json").read_text())
    assert card == CARD | {
        "kind": "coca",
        "context_length": 24,
        "max_tokens": 22,
        "num_parameters": sum(p.numel() for p in tiny.model.parameters()),
        "weights_digest": weights_digest(tiny.model.state_dict()),
        "tokenizer": "clip",
        "tokenizer_digest": ClipTokenizer().digest,
        "preprocess_digest": card["preprocess_digest"],
    }
    config = json.loads((out / "open_clip_config.json").read_text())
    assert config["model_cfg"]["custom_text"] is True
    readme = (out / "README.md").read_text()
    assert "| weights | CC0 |" in readme
    assert "up to 22 tokens" in readme
    assert str(tmp_path) not in readme


def test_export_of_an_export_is_the_same(tiny_pieces, pieces, tmp_path):
    first = write_open_clip(tiny_pieces, pieces, CARD, tmp_path / "first")
    loaded = load_directory(first)
    again = write_open_clip(loaded, load_tokenizer(loaded.model_cfg, first), CARD, tmp_path / "again")
    for path in first.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name
    assert loaded.context_length == 31


def test_whoever_may_read_the_folder_may_read_the_files(tiny, tmp_path):
    mask = os.umask(0o027)
    try:
        out = write_open_clip(tiny, ClipTokenizer(), CARD, tmp_path / "out")
    finally:
        os.umask(mask)
    assert out.stat().st_mode & 0o777 == 0o750
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o640}


def test_an_empty_folder_may_be_named_and_a_full_one_not(tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    write_open_clip(tiny, ClipTokenizer(), CARD, tmp_path / "empty")
    with pytest.raises(UserError, match="empty: the folder is not empty; name a new one"):
        write_open_clip(tiny, ClipTokenizer(), CARD, tmp_path / "empty")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="a file of that name exists"):
        write_open_clip(tiny, ClipTokenizer(), CARD, tmp_path / "file")


def test_a_tokenizer_of_another_model_is_refused(tiny, pieces, tmp_path):
    with pytest.raises(UserError, match="the tokenizer has 600 ids and the model 49,408"):
        write_open_clip(tiny, pieces, CARD, tmp_path / "out")
    with pytest.raises(UserError, match="cleans text in a way that its configuration does not say"):
        write_open_clip(tiny, ClipTokenizer("whitespace"), CARD, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_too_little_room_is_said_before_writing(tiny, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(UserError, match=r"out of disk: 0\.\d\d GB are needed and 0\.00 GB are free"):
        write_open_clip(tiny, ClipTokenizer(), CARD, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("by", ["weights", "tokenizer"])
def test_a_disk_that_fills_up_leaves_nothing(by, tiny, tmp_path, monkeypatch):
    def full(*arguments, **options):
        from safetensors import SafetensorError

        if by == "weights":
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        raise OSError(errno.ENOSPC, "No space left on device")

    place = "safetensors.torch.save_file" if by == "weights" else "captioners.kinds.directory._write_tokenizer"
    monkeypatch.setattr(place, full)
    # The command line turns an OSError of a full disk into its one line; the safetensors error is turned here.
    with pytest.raises(UserError if by == "weights" else OSError, match=r"out of disk|No space left"):
        write_open_clip(tiny, ClipTokenizer(), CARD, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_weights_that_change_on_the_disk_are_not_handed_out(tiny, tmp_path, monkeypatch):
    import safetensors.torch

    genuine = safetensors.torch.save_file

    def damaging(state, path, metadata):
        genuine(state | {"logit_scale": state["logit_scale"] + 1}, path, metadata)

    monkeypatch.setattr(safetensors.torch, "save_file", damaging)
    with pytest.raises(UserError, match="came back from the disk changed"):
        write_open_clip(tiny, ClipTokenizer(), CARD, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_export_by_directory_carries_the_card_on(tiny_pieces, pieces, tmp_path):
    first = write_open_clip(tiny_pieces, pieces, CARD, tmp_path / "first")
    again = export_captioner(str(first), "open_clip", tmp_path / "again")
    assert (again / "captioner.json").read_bytes() == (first / "captioner.json").read_bytes()
    (first / "captioner.json").unlink()
    bare = json.loads((export_captioner(str(first), "open_clip", tmp_path / "bare") / "captioner.json").read_text())
    assert (bare["name"], bare["licences"]) == ("first", {"weights": "unknown"})


def test_a_captioner_of_the_catalogue(tmp_path):
    out = export_captioner("random-tiny", "open_clip", tmp_path / "out")
    card = json.loads((out / "captioner.json").read_text())
    assert (card["name"], card["licences"]) == ("random-tiny", {"weights": "Apache-2.0"})
    assert parse_decoding(card["recommended_decoding"]) == Beam()
    assert load_directory(out).context_length == 76


def test_the_command(tiny, tmp_path, capsys):
    from captioners.cli.main import run

    first = write_open_clip(tiny, ClipTokenizer(), CARD, tmp_path / "first")
    assert run(["export", str(first), "--to", "open_clip", "--out", str(tmp_path / "second")]) == 0
    said = capsys.readouterr().out
    assert f"written: {tmp_path / 'second'}" in said
    assert "open_clip_model.safetensors" in said
    assert run(["export", str(first), "--out", str(tmp_path / "second")]) == 1
    assert run(["export", str(first), "--to", "onnx", "--out", str(tmp_path / "third")]) == 1
    assert run(["export", str(tmp_path / "nowhere"), "--out", str(tmp_path / "third")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "not empty" in lines[0]
    assert "no export form is named 'onnx'" in lines[1]
    assert "nowhere" in lines[2]
    assert not (tmp_path / "third").exists()


def test_unknown_form():
    with pytest.raises(UserError, match=r"no export form is named 'openclip'\. Did you mean 'open_clip'\?"):
        repository_of("openclip")
    with pytest.raises(UserError, match="no export form is named 'open_clip:me/x'"):
        repository_of("open_clip:me/x")
    for name in ("garden", "me/", "me/gar den", "a/b/c", "../x"):
        with pytest.raises(UserError, match="not a repository's name; write huggingface:ORG/NAME"):
            repository_of(f"huggingface:{name}")
    assert [repository_of(form) for form in ("open_clip", "huggingface", "huggingface:me/g")] == [None, "", "me/g"]


@pytest.fixture(scope="module")
def uploadable(tiny_pieces, pieces, tmp_path_factory):
    place = tmp_path_factory.mktemp("hub")
    write_open_clip(tiny_pieces, pieces, CARD, place / "first")
    return export_captioner(str(place / "first"), "huggingface:me/garden", place / "out")


def test_a_folder_for_the_hub_has_a_card_and_says_where_its_tokenizer_will_be(uploadable):
    from huggingface_hub import ModelCard

    names = [path.name for path in sorted(uploadable.iterdir())]
    assert names[:2] == [".gitattributes", "README.md"]
    assert {"open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"} <= set(names)
    read = ModelCard((uploadable / "README.md").read_text()).data
    assert (read.license, read.library_name, read.pipeline_tag) == ("cc0-1.0", "open_clip", "image-to-text")
    config = json.loads((uploadable / "open_clip_config.json").read_text())
    assert config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] == "me/garden"
    assert "filter=lfs" in (uploadable / ".gitattributes").read_text()


def test_what_the_card_says_to_run_runs_without_a_network_and_without_us(uploadable, tmp_path):
    """The block of its card, word for word, with the folder in its place."""
    block = (uploadable / "README.md").read_text().split("or further training:\n\n")[1].split("\n\n")[0]
    code = "\n".join(line.removeprefix("    ") for line in block.splitlines())
    code = code.replace("THIS_DIRECTORY", str(uploadable)) + "\nprint(tokenizer(['a red square']).shape, model.visual)"
    start = f"import sys; sys.path.append({sysconfig.get_path('purelib')!r})\n"
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = [sys.executable, "-I", "-S", "-c", start + code]
    said = subprocess.run(run, check=True, cwd=tmp_path, env=offline, capture_output=True, text=True).stdout
    assert said.startswith("torch.Size([1, 31])")


def test_for_the_hub_the_weights_are_the_same(tiny, tmp_path):
    plain = write_open_clip(tiny, ClipTokenizer(), CARD, tmp_path / "plain")
    hub = export_captioner(str(plain), "huggingface", tmp_path / "hub")
    for name in ("open_clip_model.safetensors", "open_clip_config.json", "captioner.json"):
        assert (hub / name).read_bytes() == (plain / name).read_bytes()
    assert not (plain / ".gitattributes").exists()
    assert "hf_tokenizer_name" not in (hub / "README.md").read_text()


def test_no_path_of_this_machine_is_written(tiny, tmp_path):
    out = write_open_clip(tiny, ClipTokenizer(), CARD, tmp_path / "out")
    for path in out.iterdir():
        assert str(Path.cwd()).encode() not in path.read_bytes()[:100_000]
