"""COCO numbers: of samples by key or meta, of evaluation sets by every file that lists them."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captioners.core.errors import UserError
from captioners.data.coco_ids import coco_id, image_ids
from tests.data.annotated import coco


@pytest.mark.parametrize(
    ("key", "meta", "number"),
    [
        ("000000397133", {}, 397133),
        ("val2014/COCO_val2014_000000397133", {}, 397133),
        ("COCO_train2014_000000000009.jpg", {}, 9),
        ("anything", {"image_id": 391895}, 391895),
        ("anything", {"cocoid": "391895"}, 391895),
        ("00000007", {}, None),  # the number of a line of JSONL
        ("000010005", {}, None),  # a key of img2dataset
        ("397133", {}, None),
        ("train_00042", {}, None),
        ("0000003971330", {}, None),
        ("x", {"image_id": "sa_1"}, None),
    ],
)
def test_the_number_of_a_sample(key, meta, number):
    assert coco_id(key, meta) == number


def test_every_kind_of_list(tmp_path):
    coco(tmp_path / "captions_val2017.json", [(1, 4, ("x",)), (2, 4, ())])
    karpathy = [{"cocoid": n, "split": split, "filename": "x"} for n, split in enumerate(("test", "train", "val"))]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": karpathy, "dataset": "coco"}))
    (tmp_path / "ids.txt").write_text("12\nCOCO_val2014_000000000013.jpg\n\nnonsense\n")
    pq.write_table(pa.table({"image_id": [5, 6], "recaption": ["a", "b"]}), tmp_path / "new_data.parquet")
    assert image_ids(tmp_path / "captions_val2017.json") == {1, 2}
    assert image_ids(tmp_path / "dataset_coco.json") == {0}
    assert image_ids(tmp_path / "ids.txt") == {12, 13}
    assert image_ids(tmp_path / "new_data.parquet") == {5, 6}


@pytest.mark.parametrize(("name", "text"), [("a.json", "[1]"), ("a.json", "{"), ("a.json", "{}"), ("a.txt", "none\n")])
def test_a_file_that_lists_none_is_refused(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=r"lists no COCO image ids|which images does it list"):
        image_ids(tmp_path / name)
