"""What is given to train on becomes one source with captions, in one sentence, or an error that names both readings."""

import json
from base64 import b64encode

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.data.coco_source import CocoOptions
from captioners.data.folder_source import FolderOptions
from captioners.data.huggingface_source import HuggingfaceOptions
from captioners.data.jsonl_source import JsonlOptions
from captioners.data.recognise import recognise
from captioners.data.table_source import TableOptions
from captioners.data.webdataset_source import WebdatasetOptions
from tests.data.annotated import JPEG, coco, pictures, write_lines
from tests.data.rows import good
from tests.data.tars import write


def read(path, **given):
    """The options, the sentence without the path, and captions of what they read: it must read, not only be named."""
    options, said = recognise([str(path)], captioned=True, given=given)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said
    captions = [sample.captions for sample in good(options.open())]
    assert all(captions)
    return options, said.removeprefix(f"{path}: "), captions


@pytest.fixture
def photos(tmp_path):
    return pictures(tmp_path / "photos", "a.jpg", "sub/b.jpg")


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
def test_a_folder_with_metadata(photos, name):
    rows = [("a.jpg", "one"), ("sub/b.jpg", "two")]
    if name.endswith("jsonl"):
        write_lines(photos / name, *({"file_name": file, "text": text} for file, text in rows))
    else:
        write_lines(photos / name, "file_name,text", *map(",".join, rows))
    options, said, captions = read(photos)
    assert options == FolderOptions(inputs=[str(photos)], captions="metadata")
    assert said == f"2 pictures with captions in {name}"
    assert captions == [("one",), ("two",)]


def test_a_folder_of_pictures_with_texts(photos):
    write_lines(photos / "sub/b.txt", "two")
    write_lines(photos / "README.txt", "not a caption")
    options, said = recognise([str(photos)], captioned=True)
    assert options == FolderOptions(inputs=[str(photos)], captions="beside")
    assert said.endswith(": 2 pictures, 1 of them with a caption in a .txt beside it")


def test_metadata_and_texts_are_two_readings_and_an_option_says_which(photos):
    write_lines(photos / "a.txt", "beside")
    write_lines(photos / "metadata.jsonl", {"file_name": "a.jpg", "text": "one"})
    with pytest.raises(UserError) as raised:
        recognise([str(photos)], captioned=True)
    said = str(raised.value)
    for reading in ("captions: metadata", "captions: beside"):
        assert f"(source: {{kind: folder, inputs: [{photos}], {reading}}})" in said
    options, _, captions = read(photos, captions="metadata")
    assert (options.captions, captions) == ("metadata", [("one",)])
    assert recognise([str(photos)], captioned=True, given={"captions": "beside"})[0].captions == "beside"


@pytest.mark.parametrize(
    ("name", "separator"),
    [("captions.csv", ","), ("captions.tsv", "\t"), ("captions.jsonl", None), ("c.parquet", None)],
)
@pytest.mark.parametrize("as_folder", [False, True])
def test_tables_by_name_or_in_the_folder_of_their_pictures(photos, name, separator, as_folder):
    rows = [
        {"path": file, "caption": text, "id": n}
        for n, (file, text) in enumerate((("a.jpg", "one"), ("sub/b.jpg", "two")))
    ]
    if name.endswith("jsonl"):
        write_lines(photos / name, *rows)
    elif name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows), photos / name)
    else:
        write_lines(photos / name, *(separator.join(map(str, row)) for row in [rows[0], *(r.values() for r in rows)]))
    options, said, captions = read(photos if as_folder else photos / name)
    assert isinstance(options, JsonlOptions if name.endswith("jsonl") else TableOptions)
    assert (options.image_column, options.caption_column, options.key_column) == ("path", "caption", "id")
    assert said.endswith(", images in 'path', captions in 'caption', keys in 'id'")
    assert captions == [("one",), ("two",)]


def test_columns_are_never_guessed(photos):
    path = write_lines(photos / "a.csv", "image,caption,text", "a.jpg,one,two")
    with pytest.raises(UserError, match=r"is the caption in 'caption' or 'text'\? say source\.caption_column"):
        recognise([str(path)], captioned=True)
    assert read(path, caption_column="text")[2] == [("two",)]
    write_lines(path, "image,filename,text", "a.jpg,a.jpg,two")
    with pytest.raises(UserError, match=r"is the image in 'image' or 'filename'\? say source\.image_column"):
        recognise([str(path)], captioned=True)
    write_lines(path, "image,words", "a.jpg,two")
    with pytest.raises(UserError, match=r"which column holds the caption\? there are: image, words; say"):
        recognise([str(path)], captioned=True)
    assert read(path, caption_column="words")[2] == [("two",)]
    write_lines(path, "image;text", "a.jpg;two, three")
    with pytest.raises(UserError, match="which column holds the image"):
        recognise([str(path)], captioned=True)
    options, _, captions = read(path, separator=";")
    assert (options.separator, captions) == (";", [("two, three",)])
    with pytest.raises(UserError, match="of its options, wrong: Extra inputs"):
        recognise([str(path)], captioned=True, given={"separator": ";", "wrong": 1})
    with pytest.raises(UserError, match=r"no column 'txt'"):
        recognise([str(path)], captioned=True, given={"separator": ";", "caption_column": "txt"})[0].open()


def test_jsonl_with_pictures_in_it(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", {"image": b64encode(JPEG).decode(), "text": "one"})
    options, _, captions = read(path)
    assert isinstance(options, JsonlOptions)
    assert captions == [("one",)]


def test_tars_and_where_their_captions_are(tmp_path):
    for folder in ("txt", "json"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "txt/0.tar", {"a": {"jpg": JPEG, "txt": b"one", "json": b'{"caption": "other"}'}})
    # What img2dataset writes beside its tars is no table of pictures.
    pq.write_table(pa.table({"url": ["x"], "caption": ["y"], "key": ["z"]}), tmp_path / "txt/0.parquet")
    options, said, captions = read(tmp_path / "txt")
    assert options == WebdatasetOptions(inputs=[str(tmp_path / "txt")])
    assert said == "1 tar shard, read as webdataset, captions in .txt"
    assert captions == [("one",)]
    write(tmp_path / "json/0.tar", {"a": {"jpg": JPEG, "json": b'{"caption": "other", "id": 1}'}})
    options, said, captions = read(tmp_path / "json")
    assert (options.caption_key, captions) == ("json:caption", [("other",)])
    assert said.endswith("captions in json:caption")
    write(tmp_path / "json/0.tar", {"a": {"jpg": JPEG, "json": b'{"caption": "other", "text": "x"}'}})
    with pytest.raises(UserError, match="is the caption in 'caption' or 'text'"):
        recognise([str(tmp_path / "json")], captioned=True)
    assert read(tmp_path / "json", caption_key="json:text")[2] == [("x",)]


def test_a_saved_dataset(tmp_path):
    import datasets

    columns = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    rows = {"image": [{"bytes": JPEG, "path": None}], "text": ["one"]}
    held = datasets.Dataset.from_dict(rows, features=columns)
    held.save_to_disk(tmp_path / "one")
    options, said, captions = read(tmp_path / "one")
    assert options == HuggingfaceOptions(inputs=[str(tmp_path / "one")], caption_column="text")
    assert said == "a dataset saved by `datasets`, 1 row, images in 'image', captions in 'text'"
    assert captions == [("one",)]
    datasets.DatasetDict({"train": held, "test": held}).save_to_disk(tmp_path / "two")
    with pytest.raises(UserError, match="has the splits train, test; say which"):
        recognise([str(tmp_path / "two")], captioned=True)
    assert read(tmp_path / "two", split="test")[0].split == "test"


def test_coco_style_json_and_its_pictures_beside_it(tmp_path):
    coco(tmp_path / "annotations/mine.json", [(1, 1, ("one", "two"))])
    (tmp_path / "annotations/other.json").write_text('{"images": "no annotations here, only a long enough text"}')
    pictures(tmp_path / "val", "000000000001.jpg")
    options, said, captions = read(tmp_path)
    assert options == CocoOptions(inputs=[str(tmp_path / "annotations/mine.json")], images=[str(tmp_path / "val")])
    assert said == f"1 file of COCO-style annotations, pictures in {tmp_path / 'val'}"
    assert captions == [("one", "two")]
    assert read(tmp_path / "annotations/mine.json")[0] == options
    pictures(tmp_path / "more", "000000000001.jpg")
    with pytest.raises(UserError, match=r"its pictures are in .*more and in .*val; say source\.images"):
        recognise([str(tmp_path)], captioned=True)
    assert read(tmp_path, images=[str(tmp_path / "more")])[0].images == [str(tmp_path / "more")]
    for folder in ("val", "more"):
        (tmp_path / folder / "000000000001.jpg").unlink()
    with pytest.raises(UserError, match=r"000000000001\.jpg is not in or below .*; say source\.images"):
        recognise([str(tmp_path / "annotations/mine.json")], captioned=True)


def test_published_sets_with_several_texts_are_not_guessed(tmp_path):
    path = write_lines(tmp_path / "graphs.jsonl", {"vertices": [], "img_path": "x", "short_caption": "y"})
    with pytest.raises(UserError, match=r"graphs of GBC; write a recipe with source: \{kind: gbc"):
        recognise([str(path)], captioned=True)
    rows = [{"image_id": 1, "coco_url": "x", "image": {"bytes": JPEG, "path": None}, "caption": "y", "recaption": "z"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "new_data.parquet")
    with pytest.raises(UserError, match=r"two texts; .*\{kind: recap_coco.*for `recaption`.*caption_column: caption"):
        recognise([str(tmp_path / "new_data.parquet")], captioned=True)


def test_two_kinds_of_annotations_are_two_readings_and_kind_says_which(photos):
    write_lines(photos / "a.txt", "beside")
    write_lines(photos / "more.csv", "image,caption", "a.jpg,one")
    with pytest.raises(UserError, match=r"can be read as 2 pictures, 1 of them .* and 1 table \(source: \{kind: table"):
        recognise([str(photos)], captioned=True)
    assert read(photos, kind="table")[2] == [("one",)]
    assert recognise([str(photos)], captioned=True, given={"kind": "folder"})[0].captions == "beside"


def test_pictures_without_captions_are_told_how_to_get_some(photos):
    with pytest.raises(UserError, match=r"2 pictures, but no captions; put photo\.txt beside photo\.jpg, or"):
        recognise([str(photos)], captioned=True)
    assert recognise([str(photos)])[0] == FolderOptions(inputs=[str(photos)])  # captioning them is another matter
    with pytest.raises(NotFoundError, match="neither pictures"):
        recognise([str(pictures(photos / "empty", ".hidden"))], captioned=True)


def test_to_be_captioned_pictures_stay_pictures_whatever_lies_beside_them(photos):
    write_lines(photos / "metadata.csv", "file_name,text", "a.jpg,one")
    write_lines(photos / "more.csv", "image,caption", "a.jpg,one")
    coco(photos / "annotations.json", [(1, 1, ("one",))])
    (photos / "a.json").write_text(json.dumps({"url": "x"}))
    assert recognise([str(photos)])[0] == FolderOptions(inputs=[str(photos)])
    assert isinstance(recognise([str(photos / "more.csv")])[0], TableOptions)
