"""Sets of the `datasets` library on disk: saved ones are mapped, others loaded; pictures stay undecoded bytes."""

import datasets
import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.data.huggingface_source import HuggingfaceOptions
from captioners.data.source import sources
from tests.data.annotated import JPEG, PNG, pictures, write_lines
from tests.data.rows import bad, check_contract, good


def made(captions=("one", "two", None), images=(JPEG, PNG, JPEG)):
    columns = {"image": datasets.Image(), "caption": datasets.Value("string"), "n": datasets.Value("int64")}
    wrapped = [image and {"bytes": image, "path": None} for image in images]
    rows = {"image": wrapped, "caption": list(captions), "n": list(range(len(captions)))}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(columns))


def source(path, **options):
    return HuggingfaceOptions(**{"inputs": [str(path)], "caption_column": "caption", **options}).open()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


def test_it_is_filed_under_its_name():
    assert sources.get("huggingface") is HuggingfaceOptions


def test_a_saved_set_gives_its_pictures_byte_for_byte(tmp_path):
    made().save_to_disk(tmp_path / "set")
    found = source(tmp_path / "set")
    assert [(s.key, s.image, s.captions) for s in good(found)] == [
        ("00000000", JPEG, ("one",)), ("00000001", PNG, ("two",)), ("00000002", JPEG, ()),
    ]  # fmt: skip
    assert good(found)[1].meta == {"n": 1}
    assert found.shards()[0].path == "set#00000"
    check_contract(found)
    check_contract(source(tmp_path / "set", key_column="n"))
    assert source(tmp_path / "set").shards(found.shards()) == found.shards()
    made(captions=("one", "two", "other")).save_to_disk(tmp_path / "set2")
    with pytest.raises(UserError, match="has changed since this run began"):
        source(tmp_path / "set2").shards(found.shards())


def test_splits(tmp_path):
    datasets.DatasetDict({"train": made(), "test": made(("x", "y", "z"))}).save_to_disk(tmp_path / "set")
    assert good(source(tmp_path / "set", split="test"))[0].captions == ("x",)
    with pytest.raises(UserError, match="has the splits train, test; say which, as in split: train"):
        source(tmp_path / "set").shards()
    with pytest.raises(UserError, match="no split 'val'; there are train, test"):
        source(tmp_path / "set", split="val").shards()


def test_an_imagefolder_and_a_folder_of_parquet(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "folder" / name).write_bytes(JPEG)
    rows = [{"file_name": f"{name}.jpg", "caption": f"of {name}"} for name in "ab"]
    write_lines(tmp_path / "folder" / "metadata.jsonl", *rows)
    found = source(tmp_path / "folder")
    assert [(s.image, s.captions) for s in good(found)] == [(JPEG, ("of a",)), (JPEG, ("of b",))]
    check_contract(found)
    (tmp_path / "parquet").mkdir()
    made().to_parquet(tmp_path / "parquet" / "train-00000-of-00001.parquet")
    found = source(tmp_path / "parquet")
    assert [s.image for s in good(found)] == [JPEG, PNG, JPEG]
    check_contract(found)


def test_columns_and_rows_without_pictures(tmp_path):
    made(images=(JPEG, None, JPEG)).save_to_disk(tmp_path / "set")
    assert bad(source(tmp_path / "set")) == [("00000001", "no_image")]
    with pytest.raises(UserError, match=r"no column 'text' \(caption_column\)\. It has: image, caption, n"):
        source(tmp_path / "set", caption_column="text").shards()


def test_what_is_not_there_or_no_set(tmp_path):
    with pytest.raises(NotFoundError, match="none: no such folder"):
        source(tmp_path / "none").shards()
    pictures(tmp_path / "odd", "a.xyz")
    with pytest.raises(UserError, match="odd: datasets does not load it"):
        source(tmp_path / "odd").shards()
