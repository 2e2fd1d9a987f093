"""The kind `existing`: whose caption is whose, what is missing, and a whole run with it."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captioners.core.errors import CaptionersError, UserError
from captioners.core.package_data import SAMPLES
from captioners.core.run_dir import RunDir
from captioners.core.seeds import Stream
from captioners.data.tar import TarWriter
from captioners.jobs.generate.job import generate
from captioners.jobs.recipes.generate import GenerateRecipe
from captioners.kinds.captioner import Request
from captioners.kinds.existing_options import ExistingOptions
from tests.kinds.tiny_models import pictures


def said(fields, draws=2, first_draw=0, **options):
    captioner = ExistingOptions(**options).load("auto", "auto")
    captioner.open()
    stream, image = Stream(0, "ab" * 32), pictures(1)[0]
    asked = Request(index=5, image=image, stream=stream, draws=draws, first_draw=first_draw, fields=fields)
    found = list(captioner.caption([asked]))
    assert [(result.index, result.draw) for result in found] == [(5, first_draw + n) for n in range(draws)]
    return [result.text if result.finish != "error" else result.raw_text for result in found]


def test_captions_come_in_their_order_and_missing_ones_are_empty():
    fields = {"key": "k", "captions": ("a cat", "two  dogs\n", "a bird")}
    assert said(fields) == ["a cat", "two dogs"]
    assert said(fields, draws=4) == ["a cat", "two dogs", "a bird", ""]
    assert said(fields, draws=1, first_draw=2) == ["a bird"]
    assert said({"key": "k", "captions": ()}) == ["", ""]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("syn_text", "one text"),
        ("long.en", "inside"),
        ("a.b", "with a dot"),
        ("syn.json:syn_text", "of a member"),
        ("long.fr", ""),
        ("nothing.at.all", "the sample has no field 'nothing.at.all'; it has: a.b, long, number, syn.json, syn_text"),
        ("number", "'number' holds neither a text nor a list of texts"),
    ],
)
def test_fields_are_found_by_name_and_inside_of_others(field, expected):
    fields = {
        "syn_text": "one text", "long": {"en": ["inside"]}, "a.b": "with a dot",
        "syn.json": {"syn_text": ["of a member"]}, "number": 3,
    }  # fmt: skip
    assert said(fields, draws=1, field=field) == [expected]


def parquet(file, **columns):
    pq.write_table(pa.table(columns), file)
    return str(file)


def test_a_file_is_joined_by_key_or_by_a_field_of_the_sample(tmp_path):
    file = parquet(tmp_path / "theirs.parquet", uid=["b", "a", "b"], text=["first", "other", "second"])
    join = {"file": file, "field": "text", "key": "uid"}
    assert said({"key": "1", "uid": "b"}, **join) == ["first", "second"]
    assert said({"key": "1", "uid": "none"}, **join) == ["", ""]
    assert said({"key": "1"}, draws=1, **join) == ["the sample has no field 'uid' to look its captions up by"]
    lists = parquet(tmp_path / "lists.parquet", key=[7, 8], captions=[["x y", "z"], None])
    assert said({"key": "7"}, file=lists) == ["x y", "z"] and said({"key": "8"}, draws=1, file=lists) == [""]


def test_a_folder_of_files_is_one_table_and_its_digest_is_that_of_what_it_says(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    parquet(folder / "0.parquet", key=["a"], text=["x"])
    parquet(folder / "1.parquet", key=["b"], text=["y"])
    whole = parquet(tmp_path / "whole.parquet", key=["a", "b"], text=["x", "y"], more=[1, 2])
    other = parquet(tmp_path / "other.parquet", key=["a", "b"], text=["x", "z"])
    load = lambda file: ExistingOptions(file=str(file), field="text").load("auto", "auto").info  # noqa: E731
    assert load(folder).meaning == load(whole).meaning != load(other).meaning
    assert load(whole).grade == "exact" and load(whole).weights_digest == load(whole).meaning["weights"]


def test_a_file_that_cannot_be_joined_is_refused(tmp_path):
    file = parquet(tmp_path / "theirs.parquet", uid=["a"], text=["x"])
    with pytest.raises(UserError, match=r"field: .* has no column 'txt'\. Did you mean 'text'\? It has: uid, text"):
        ExistingOptions(file=file, field="txt", key="uid").load("auto", "auto")
    with pytest.raises(UserError, match=r"key: .* has no column 'key'"):
        ExistingOptions(file=file, field="text").load("auto", "auto")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        ExistingOptions(file=str(tmp_path / "bad.parquet")).load("auto", "auto")
    with pytest.raises(CaptionersError, match="not open"):
        next(ExistingOptions().load("auto", "auto").caption([]))


def test_a_run_makes_layers_of_captions_that_are_there(tmp_path):
    photo = (SAMPLES / "cat.jpg").read_bytes()
    with TarWriter(tmp_path / "0.tar") as tar:
        for n in range(3):
            members = {"jpg": photo, "json": b'{"uid": "u%d"}' % n, "txt": b"their own words %d" % n}
            if n != 1:
                members["syn.json"] = b'{"syn_text": ["a cat on a sofa", "a grey cat asleep"]}'
            tar.add(f"k{n}", members)
    theirs = parquet(tmp_path / "theirs.parquet", uid=["u0", "u2"], caption=["what they said of it", "no"])
    recipe = GenerateRecipe.model_validate(
        {
            "source": {"kind": "webdataset", "inputs": [str(tmp_path / "0.tar")], "keep": ["syn.json"]},
            "members": [
                {"captioner": {"kind": "existing"}, "draws": 1},
                {"captioner": {"kind": "existing", "field": "syn.json:syn_text", "name": "syn"}, "draws": 2},
                {"captioner": {"kind": "existing", "file": theirs, "field": "caption", "key": "uid"}, "draws": 1},
            ],
            "output": str(tmp_path / "run"),
            "decode_workers": 0,
        }
    )
    done = generate(recipe)
    rows = RunDir(tmp_path / "run").captions().to_pylist()
    found = {(row["member"], row["key"], row["draw"]): (row["text"], row["keep"], row["attempt"]) for row in rows}
    assert {key: value[0] for key, value in found.items() if key[0] == "captions"} == {
        ("captions", f"k{n}", 0): f"their own words {n}" for n in range(3)
    }
    assert found["syn", "k0", 1] == ("a grey cat asleep", True, 0)
    assert found["syn", "k1", 0] == ("", False, 0), "what is not there is refused, and not asked for again"
    assert found["theirs-caption", "k0", 0][0] == "what they said of it"
    assert found["theirs-caption", "k2", 0] == ("no", False, 0)
    assert done.stored["syn"].captioned == 2 and done.stored["syn"].filtered == 1
    assert generate(recipe).progress.captions == 0, "the same command has nothing left to do"
    entry = next(iter(RunDir(tmp_path / "run").entries(["captions"])))
    assert entry.environment["grade"] == "exact"
