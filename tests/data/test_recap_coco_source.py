"""ReCap-COCO-30K: pictures and two texts of each in a Parquet file, in its exact columns."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from captioners.core.errors import UserError
from captioners.data.recap_coco_source import RecapCocoOptions
from captioners.data.source import sources
from tests.data.annotated import JPEG, picture
from tests.data.rows import bad, check_contract, good


def row(id_, **fields):
    return {"image_id": id_, "coco_url": f"http://images.cocodataset.org/val2014/{id_}.jpg",
            "image": {"bytes": picture(str(id_)), "path": None}, "caption": "A short one.",
            "recaption": f"The image shows {id_}.", **fields}  # fmt: skip


def table(path, rows, group=2):
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    return path


def source(path, **options):
    return RecapCocoOptions(inputs=[str(path)], **options).open()


def test_it_is_filed_under_its_name_and_has_its_card():
    assert sources.get("recap_coco") is RecapCocoOptions
    assert RecapCocoOptions(inputs=[]).own_card() == "recap_coco_30k"


@pytest.mark.parametrize(
    ("text", "captions"),
    [
        ("recaption", ("The image shows 391895.",)),
        ("caption", ("A short one.",)),
        ("both", ("The image shows 391895.", "A short one.")),
    ],
)
def test_texts(tmp_path, text, captions):
    path = table(tmp_path / "new_data.parquet", [row(391895), row(7), row(8)])
    found = good(source(path, text=text))
    assert [s.key for s in found] == ["000000391895", "000000000007", "000000000008"]
    assert found[0].captions == captions
    assert found[0].image == picture("391895")
    assert found[0].meta == {"image_id": 391895, "coco_url": "http://images.cocodataset.org/val2014/391895.jpg"}
    assert [shard.count for shard in source(path).shards()] == [2, 1]
    check_contract(source(path, text=text))


def test_the_older_name_of_the_column_and_ids_as_text(tmp_path):
    old = {name: value for name, value in row("12").items() if name != "image"}
    path = table(tmp_path / "a.parquet", [{**old, "image_binary": JPEG}])
    (sample,) = good(source(path))
    assert (sample.key, sample.image) == ("000000000012", JPEG)


def test_bad_rows_become_rows(tmp_path):
    rows = [row(1), row(1), row(2, image=None), row(3, recaption=None), row(None)]
    path = table(tmp_path / "a.parquet", rows, group=10)
    assert bad(source(path)) == [("000000000001", "duplicate_key"), ("000000000002", "no_image")]
    assert [s.captions for s in good(source(path))][1] == ()
    check_contract(source(path))


def test_another_file_is_refused(tmp_path):
    path = table(tmp_path / "a.parquet", [{"url": "x", "re_caption": "y"}])
    with pytest.raises(UserError, match="it lacks image_id, recaption, image; it has url, re_caption"):
        source(path).shards()
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(UserError, match=r"b\.parquet: not a readable Parquet file"):
        source(tmp_path / "b.parquet").shards()
