"""captioners data draw: shards of the drawn world, byte for byte the same every time."""

import json
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from captioners.cli.main import run
from captioners.core.errors import NotFoundError, UserError
from captioners.core.package_data import data_cards_dir
from captioners.core.yaml_lines import read_yaml
from captioners.data.drawn_check import check
from captioners.data.drawn_scene import SPLITS, WORLD_VERSION, from_json, scene
from captioners.data.drawn_voices import VOICES, captions
from captioners.jobs.data import draw as job
from captioners.jobs.data.draw import DrawOptions, data_draw


def _members(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def _files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_hold_picture_caption_and_everything_that_is_known(tmp_path):
    sizes = data_draw(DrawOptions(out=tmp_path / "world", count=7, per_shard=3, seed=2, voice="short", captions=2))
    assert sizes == {"00000.tar": 3, "00001.tar": 3, "00002.tar": 1}
    assert json.loads((tmp_path / "world" / "sizes.json").read_text()) == sizes
    assert set(_files(tmp_path / "world")) == {*sizes, "sizes.json"}
    members = _members(tmp_path / "world" / "00001.tar")
    assert list(members) == [f"0000000{k}.{ending}" for k in (3, 4, 5) for ending in ("jpg", "json", "txt")]
    about = json.loads(members["00000004.json"])
    drawn = scene(2, "caption", 4)
    assert from_json(about["scene"]) == drawn
    assert about["world"] == 1
    assert about["captions"] == {voice: captions(drawn, voice, 2, 2) for voice in VOICES}
    assert members["00000004.txt"].decode() == about["captions"]["short"][0]
    assert check(members["00000004.txt"].decode(), drawn).verdict == "true"
    assert Image.open(BytesIO(members["00000004.jpg"])).size == (96, 96)


def test_drawn_twice_the_bytes_are_equal_and_another_seed_s_are_not(tmp_path):
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        data_draw(DrawOptions(out=tmp_path / name, count=30, per_shard=20, seed=seed))
    assert _files(tmp_path / "one") == _files(tmp_path / "two")
    assert _files(tmp_path / "one")["00000.tar"] != _files(tmp_path / "other")["00000.tar"]


def test_a_scene_does_not_depend_on_how_shards_are_cut(tmp_path):
    data_draw(DrawOptions(out=tmp_path / "one", count=6, per_shard=6))
    data_draw(DrawOptions(out=tmp_path / "two", count=6, per_shard=4))
    cut = {**_members(tmp_path / "two" / "00000.tar"), **_members(tmp_path / "two" / "00001.tar")}
    assert _members(tmp_path / "one" / "00000.tar") == cut


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty; name a new folder"):
        data_draw(DrawOptions(out=tmp_path, count=2))
    assert _files(tmp_path) == {"note.txt": b"mine"}
    with pytest.raises(UserError, match="is a file; name a folder"):
        data_draw(DrawOptions(out=tmp_path / "note.txt", count=2))


def test_an_empty_folder_is_used(tmp_path):
    assert data_draw(DrawOptions(out=tmp_path, count=2)) == {"00000.tar": 2}


@pytest.mark.parametrize("wrong", [{"split": "evl"}, {"voice": "shrt"}])
def test_an_unknown_name_is_refused_before_anything_is_made(tmp_path, wrong):
    with pytest.raises(NotFoundError, match="Did you mean"):
        data_draw(DrawOptions(out=tmp_path / "world", count=2, **wrong))
    assert not (tmp_path / "world").exists()


def test_where_nothing_can_be_made_the_refusal_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        data_draw(DrawOptions(out=tmp_path / "file" / "world", count=2))


@pytest.mark.parametrize("made_before", [True, False])
def test_what_could_not_be_finished_is_removed(tmp_path, monkeypatch, made_before):
    out = tmp_path / "world"
    if made_before:
        out.mkdir()
    real = job.jpeg

    def stopped(drawn):
        if drawn.index == 4:
            assert (out / "00000.tar").exists()  # the first shard is there when the second fails
            raise KeyboardInterrupt
        return real(drawn)

    monkeypatch.setattr(job, "jpeg", stopped)
    with pytest.raises(KeyboardInterrupt):
        data_draw(DrawOptions(out=out, count=6, per_shard=3))
    assert out.exists() == made_before
    assert not made_before or not any(out.iterdir())


def test_the_verb_says_what_it_wrote_and_refuses_in_one_line(run_dir, capsys):
    arguments = ["data", "draw", "world", "--count", "5", "--per-shard", "3", "--split", "eval", "--voice", "count"]
    assert run(arguments) == 0
    said = capsys.readouterr().out
    assert "00001.tar: 2 scenes\n5 scenes of the split eval in 2 shards" in said
    assert "written: world" in said
    assert len(list(Path("world").iterdir())) == 3
    assert run(arguments) == 1
    assert capsys.readouterr().err == "captioners: world: is not empty; name a new folder, or remove this one\n"


def test_the_data_card_says_what_there_is():
    text = (data_cards_dir() / "drawn.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    card = read_yaml(front)
    assert not card.mistakes
    assert card.value["name"] == card.value["source"] == "drawn"
    assert card.value["world"] == WORLD_VERSION
    assert list(card.value["splits"]) == list(SPLITS)
    assert card.value["voices"] == list(VOICES)
    assert set(card.value["fields"]) == {"jpg", "txt", "json"}
    assert card.value["commercial_use"] == "yes"  # a word, as YAML 1.2 has it
    assert all(f"| `{voice}` |" in body for voice in VOICES)
