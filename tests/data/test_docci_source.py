"""DOCCI: one description an image, by split, in the schema of docci_descriptions.jsonlines."""

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.data.docci_source import DocciOptions
from captioners.data.source import describe, sources
from tests.data.annotated import picture, pictures, write_lines
from tests.data.rows import bad, check_contract, good

SPLITS = ("train", "test", "qual_dev", "qual_test")


def row(split, number, text):
    id_ = f"{split}_{number:05d}"
    return {"example_id": id_, "split": split, "image_file": f"{id_}.jpg", "description": text}


@pytest.fixture
def place(tmp_path):
    rows = [row(split, n, f"A {split}\n photo,  number {n}.") for n in range(3) for split in SPLITS]
    write_lines(tmp_path / "docci_descriptions.jsonlines", *rows)
    pictures(tmp_path / "images", *(r["image_file"] for r in rows))
    return tmp_path


def source(place, **options):
    inputs = [str(place / "docci_descriptions.jsonlines")]
    return DocciOptions(**{"inputs": inputs, "images": str(place / "images"), **options}).open()


def test_it_is_filed_under_its_name_and_has_its_card():
    assert sources.get("docci") is DocciOptions
    assert DocciOptions(inputs=[], images="x").own_card() == "docci"


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_s_images_and_descriptions(place, split):
    found = good(source(place, split=split))
    assert [s.key for s in found] == [f"{split}_0000{n}" for n in range(3)]
    assert [s.captions for s in found] == [(f"A {split} photo, number {n}.",) for n in range(3)]
    assert found[1].image == picture(f"{split}_00001.jpg")
    assert found[1].meta == {"example_id": f"{split}_00001"}
    check_contract(source(place, split=split))


def test_the_default_is_train_and_the_counts_are_told(place):
    assert [s.key for s in good(source(place))] == ["train_00000", "train_00001", "train_00002"]
    assert describe(source(place)) == ("3 images of the split train (train 3, test 3, qual_dev 3, qual_test 3)",)


def test_a_folder_does_as_well_as_its_file(place):
    assert len(good(source(place, inputs=[str(place)]))) == 3


def test_bad_lines_and_missing_pictures_become_rows(place):
    (place / "images/train_00000.jpg").unlink()
    write_lines(
        place / "docci_descriptions.jsonlines",
        row("train", 0, "x"), "{not json", "", {"example_id": "train_00009", "split": "train"}, row("train", 1, " "),
    )  # fmt: skip
    assert bad(source(place)) == [
        ("train_00000", "missing"),
        ("docci_descriptions.jsonlines line 2", "bad_line"),
        ("train_00009", "bad_line"),
    ]
    assert [s.captions for s in good(source(place))] == [()]
    check_contract(source(place))


def test_what_is_not_there_is_said(place):
    with pytest.raises(UserError, match=r"images: .*none is not a folder"):
        source(place, images=str(place / "none")).shards()
    with pytest.raises(NotFoundError, match=r"Did you mean 'docci_descriptions.jsonlines'"):
        source(place, inputs=[str(place / "docci_description.jsonlines")]).shards()
    write_lines(place / "docci_descriptions.jsonlines", row("test", 0, "x"))
    with pytest.raises(UserError, match="split: no image is of train; there are test"):
        source(place).shards()
