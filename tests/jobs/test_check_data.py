"""`captioners check ... --data` as a stranger meets it: what was recognised, what is wrong, one clear line each."""

import csv
import json
import shutil

import pytest
import yaml

from captioners.cli.main import run
from captioners.core.errors import CaptionersError
from captioners.data.drawn_source import DrawnOptions
from captioners.jobs.check.data import check_data
from tests.data.annotated import coco, pictures

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)


@pytest.fixture(scope="module")
def samples():
    source = DrawnOptions(split="finetune", voice="short", count=24).open()
    return [sample for shard in source.shards() for sample in source.samples(shard)]


def _table(path, samples, *, columns=("image", "caption"), missing=0):
    """A csv of pictures in `pictures/` beside it, the first so many of which are not there."""
    (path.parent / "pictures").mkdir()
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        for number, sample in enumerate(samples):
            rows.writerow([f"pictures/{sample.key}.jpg", sample.captions[0]])
            if number >= missing:
                (path.parent / "pictures" / f"{sample.key}.jpg").write_bytes(sample.image)
    return str(path)


def _folder(folder, samples, caption=lambda sample: sample.captions[0]):
    folder.mkdir()
    for sample in samples:
        (folder / f"{sample.key}.jpg").write_bytes(sample.image)
        (folder / f"{sample.key}.txt").write_text(caption(sample))
    return str(folder)


def test_a_folder_of_pictures_and_texts_and_one_with_metadata_are_the_same_set(tmp_path, samples):
    one = check_data([_folder(tmp_path / "texts", samples), "init=demo"])
    other = tmp_path / "meta"
    shutil.copytree(tmp_path / "texts", other, ignore=shutil.ignore_patterns("*.txt"))
    rows = [{"file_name": f"{sample.key}.jpg", "text": sample.captions[0]} for sample in samples]
    (other / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    two = check_data([str(other), "init=demo"])
    assert one.recognised.startswith(f"{tmp_path}/texts: 24 pictures, 24 of them with a caption in a .txt beside it")
    assert "24 pictures with captions in metadata.jsonl" in two.recognised
    assert one.facts == two.facts
    assert one.problem is None
    assert one.warnings == []
    assert "licence     unspecified" in one.lines  # an unknown licence stops nothing


@pytest.mark.parametrize(
    ("columns", "change", "said"),
    [
        (("picture", "words"), [], "which column holds the image.* picture, words; say source.image_column="),
        (("image", "caption"), ["source.caption_column=capt"], "has no column 'capt' .*It has: image, caption"),
    ],
)
def test_a_wrong_column_lists_those_that_are_there(columns, change, said, tmp_path, samples):
    path = _table(tmp_path / "t.csv", samples, columns=columns)
    with pytest.raises(CaptionersError, match=said):
        check_data([path, "init=demo", *change])


def test_nothing_there_and_pictures_without_captions(tmp_path, samples):
    (tmp_path / "void").mkdir()
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "x.jpg").write_bytes(samples[0].image)
    for path, said in (
        (tmp_path / "nothing", "no such files"),
        (tmp_path / "void", "neither pictures, tars nor JSONL files"),
        (bare, "1 picture, but no captions; put photo.txt beside photo.jpg"),
    ):
        with pytest.raises(CaptionersError, match=said) as raised:
            check_data([str(path), "init=demo"])
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("missing", "fatal"), [(1, False), (9, True)])
def test_missing_files_are_listed_counted_and_above_the_ceiling_fatal(missing, fatal, tmp_path, samples):
    found = check_data([_table(tmp_path / "t.csv", samples, missing=missing), "init=demo"])
    lines = "\n".join(found.lines)
    assert f"images      {24 - missing} of 24 samples" in lines
    assert f"skipped     {missing} missing" in lines
    assert f"t.csv row 1: the image 'pictures/00000000.jpg' is not there; it is looked for in {tmp_path}" in lines
    assert bool(found.problem) == fatal
    if fatal:
        assert found.problem.startswith(
            "9 of 24 samples cannot be used (37.5%: 9 missing), more than the 5% of skipped"
        )


def test_empty_captions_and_one_caption_for_all(tmp_path, samples):
    empty = check_data([_folder(tmp_path / "empty", samples, lambda _: " \n"), "init=demo"])
    assert empty.problem.startswith("the source holds no picture with a caption (24 samples skipped; the first: ")
    assert empty.lines[0] == "skipped     24 no_caption"
    same = check_data([_folder(tmp_path / "same", samples, lambda _: "a photo"), "init=demo"])
    assert same.problem.startswith("all 24 captions are 'a photo': there is nothing to learn but that sentence")


def test_a_heic_picture_names_its_extra(tmp_path, samples):
    from importlib.util import find_spec

    folder = _folder(tmp_path / "heic", samples)
    (tmp_path / "heic" / "x.heic").write_bytes(HEIC)
    (tmp_path / "heic" / "x.txt").write_text("a phone's picture")
    lines = "\n".join(check_data([folder, "init=demo"]).lines)
    if find_spec("pillow_heif") is None:
        assert "skipped     1 missing_codec" in lines
        assert "x.heic: a HEIC picture; to read it, pip install 'captioners[heif]'" in lines
    else:
        assert "skipped     1 " in lines


@pytest.fixture
def mscoco(tmp_path):
    """A recipe that reads four pictures of COCO's, one of which an evaluation set holds, too."""
    path = coco(tmp_path / "captions_train2017.json", [(n, 4, (f"number {n}",)) for n in (1, 3, 5, 7)])
    pictures(tmp_path / "images", *(f"{n:012d}.jpg" for n in (1, 3, 5, 7)))
    (tmp_path / "val.txt").write_text("3\n4\n")
    source = {"kind": "coco", "inputs": [str(path)], "images": [str(tmp_path / "images")], "licences": [4, 5, 6]}
    recipe = {"extends": "finetune/custom", "init": "demo", "source": source, "leaks": {"val": f"{tmp_path}/val.txt"}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(recipe))
    return str(tmp_path / "mine.yaml")


def test_what_the_source_tells_and_leaks_are_said_first(mscoco, capsys):
    assert run(["check", mscoco, "--data"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "source      4 of 4 images, 4 captions"
    assert lines[2].startswith("source      4 of 4 images have the licences 4 ")
    assert "leaks       val: 1 of its 2 images are in this set (3); leave them out, or evaluate on others" in lines


def test_a_list_of_leaks_that_is_not_there_is_one_line(mscoco, capsys):
    assert run(["check", mscoco, "--data", "leaks={val: nowhere.json}"]) == 1
    said = capsys.readouterr().err
    assert "nowhere.json" in said
    assert len(said.splitlines()) == 1
