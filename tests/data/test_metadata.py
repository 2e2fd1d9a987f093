"""The imagefolder convention: metadata.jsonl or metadata.csv with file_name and text, as `datasets` reads them."""

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.data.folder_source import FolderOptions
from tests.data.annotated import JPEG, picture, pictures, write_lines
from tests.data.rows import bad, check_contract, good


def source(*inputs, **options):
    return FolderOptions(**{"inputs": [str(given) for given in inputs], "captions": "metadata", **options}).open()


@pytest.fixture(params=["jsonl", "csv"])
def place(request, tmp_path):
    pictures(tmp_path, "a.jpg", "sub/b.jpg", "unlisted.jpg")
    rows = [("sub/b.jpg", "two, b"), ("a.jpg", "one"), ("a.jpg", "another"), ("gone.jpg", "x"), ("../x.jpg", "x")]
    if request.param == "jsonl":
        lines = [{"file_name": name, "text": text, "by": 1} for name, text in rows]
        write_lines(tmp_path / "metadata.jsonl", *lines, "{broken")
    else:
        lines = [f'"{name}","{text}",1' for name, text in rows]
        write_lines(tmp_path / "metadata.csv", "file_name,text,by", *lines, "a,b")
    return tmp_path


def test_pictures_and_captions_in_the_order_of_the_file(place):
    found = good(source(place))
    assert [(s.key, s.captions) for s in found] == [("sub/b", ("two, b",)), ("a", ("one", "another"))]
    assert found[1].image == picture("a.jpg")
    assert str(found[1].meta["by"]) == "1"
    assert [reason for _, reason in bad(source(place))] == ["missing", "unsafe_name", "bad_line"]
    check_contract(source(place))


def test_they_are_those_of_the_datasets_library(tmp_path):
    import datasets

    place = tmp_path / "set"
    (place / "sub").mkdir(parents=True)
    for name in ("b.jpg", "sub/a.jpg"):
        (place / name).write_bytes(JPEG)
    rows = {"sub/a.jpg": "of a", "b.jpg": "of b"}
    write_lines(place / "metadata.jsonl", *({"file_name": name, "text": text} for name, text in rows.items()))
    # Of the csv, too, but there the library leaves a file open, which is an error in these tests.
    theirs = datasets.load_dataset(str(place), cache_dir=str(tmp_path / "cache"), split="train")
    theirs = theirs.cast_column("image", datasets.Image(decode=False))
    assert {row["image"]["path"].removeprefix(f"{place}/"): row["text"] for row in theirs} == rows
    assert {f"{s.key}.jpg": s.captions for s in good(source(place))} == {n: (t,) for n, t in rows.items()}


def test_a_file_in_each_folder_speaks_of_its_own_pictures(tmp_path):
    pictures(tmp_path, "x/a.jpg", "y/a.jpg")
    for folder in "xy":
        write_lines(tmp_path / folder / "metadata.jsonl", {"file_name": "a.jpg", "text": f"of {folder}"})
    write_lines(tmp_path / "my_metadata.jsonl", {"file_name": "a.jpg", "text": "not of the convention"})
    found = source(tmp_path)
    assert [(s.key, s.captions) for s in good(found)] == [("x/a", ("of x",)), ("y/a", ("of y",))]
    check_contract(found)


def test_columns(tmp_path):
    pictures(tmp_path, "a.jpg")
    write_lines(tmp_path / "metadata.jsonl", {"file_name": "a.jpg", "caption": "one"})
    assert good(source(tmp_path, caption_column="caption"))[0].captions == ("one",)
    with pytest.raises(UserError, match=r"has no column 'text' \(caption_column\)\. It has: file_name, caption"):
        source(tmp_path).shards()
    write_lines(tmp_path / "metadata.jsonl", {"image": "a.jpg", "text": "one"})
    with pytest.raises(UserError, match="has no column 'file_name'"):
        source(tmp_path).shards()


def test_none_or_two_metadata_files(tmp_path):
    pictures(tmp_path, "a.jpg")
    with pytest.raises(NotFoundError, match="no metadata files found"):
        source(tmp_path).shards()
    write_lines(tmp_path / "metadata.jsonl", {"file_name": "a.jpg", "text": "one"})
    write_lines(tmp_path / "metadata.csv", "file_name,text", "a.jpg,one")
    with pytest.raises(UserError, match=r"metadata\.csv.*two metadata files in one folder; keep one"):
        source(tmp_path).shards()
