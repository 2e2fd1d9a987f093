"""What stands on a command line becomes a source, or an error that says both readings."""

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.data.folder_source import FolderOptions
from captioners.data.jsonl_source import JsonlOptions
from captioners.data.recognise import recognise
from captioners.data.webdataset_source import WebdatasetOptions


@pytest.fixture
def place(tmp_path):
    def put(*names, text="x"):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return str(tmp_path)

    return put


def test_a_folder_of_photos(place):
    given = place("a.jpg", "sub/b.PNG", "a.txt", ".c.tar")
    assert recognise([given]) == (FolderOptions(inputs=[given]), f"{given}: 2 pictures")
    assert recognise([f"{given}/a.jpg"]) == (FolderOptions(inputs=[f"{given}/a.jpg"]), f"{given}/a.jpg: 1 picture")


@pytest.mark.parametrize("what", ["", "/0.tar", "/{0..1}.tar", "/*.tar"])
def test_tars_in_every_spelling(place, what):
    given = place("0.tar", "1.tar") + what
    options, sentence = recognise([given])
    assert options == WebdatasetOptions(inputs=[given])
    assert sentence == f"{given}: {'1 tar shard' if what == '/0.tar' else '2 tar shards'}, read as webdataset"


def test_a_jsonl_and_its_columns(place):
    given = place("a.jsonl", text='{"uid": 1, "file_name": "a.jpg", "text": "t", "n": 2}\n')
    options, sentence = recognise([f"{given}/a.jsonl"])
    assert options == JsonlOptions(
        inputs=[f"{given}/a.jsonl"], image_column="file_name", caption_column="text", key_column="uid"
    )
    assert sentence.endswith("a.jsonl: 1 JSONL file, images in 'file_name', captions in 'text', keys in 'uid'")
    place("a.jsonl", text='{"picture": "a.jpg"}\n')
    with pytest.raises(UserError, match=r"which column holds the image\? there are: picture; say source\.image_column"):
        recognise([given])


def test_pictures_beside_their_jsonl_are_pictures_unless_the_file_is_named(place):
    given = place("a.jpg", "b.jpg", text="x")
    place("meta.jsonl", text='{"image": "a.jpg"}\n')
    options, sentence = recognise([given])
    assert isinstance(options, FolderOptions)
    assert "2 pictures; to read a JSONL file beside them, name the file" in sentence
    assert isinstance(recognise([f"{given}/meta.jsonl"])[0], JsonlOptions)


def test_photos_and_tars_are_an_error_that_says_both(place):
    given = place("a.jpg", "b.jpg", "0.tar")
    with pytest.raises(UserError, match=r"1 tar shard.*kind: webdataset.* and 2 pictures.*kind: folder.*name only one"):
        recognise([given])
    with pytest.raises(UserError, match="name only one of them"):
        recognise([f"{given}/a.jpg", f"{given}/0.tar"])


def test_nothing_and_nothing_of_use(place):
    given = place("a.txt", "photo.jpg.part")
    with pytest.raises(NotFoundError, match="neither pictures, tars nor JSONL files"):
        recognise([given])
    with pytest.raises(UserError, match="not a file that a source reads"):
        recognise([f"{given}/a.txt"])
    with pytest.raises(NotFoundError, match=r"Did you mean 'a\.txt'"):
        recognise([f"{given}/a.tx"])
    with pytest.raises(NotFoundError, match="nothing was given"):
        recognise([])
