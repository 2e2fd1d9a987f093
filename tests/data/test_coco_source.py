"""COCO-style captions: joined by image id, chosen by what a licence is, and pictures that are not there are counted."""

import json

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.data.coco_source import CocoOptions
from captioners.data.entries import ENTRIES
from captioners.data.source import describe, sources
from tests.data.annotated import COCO_LICENCES, coco, picture, pictures
from tests.data.rows import bad, check_contract, good

SIX = [f"Caption number {n}." for n in range(6)]
IMAGES = [(number, number, (f"A thing  of licence {number}.\n",)) for number in range(1, 9)]


@pytest.fixture
def place(tmp_path):
    coco(tmp_path / "annotations/captions_val2017.json", [*IMAGES, (397133, 4, SIX)])
    pictures(tmp_path / "val2017", *(f"{id_:012d}.jpg" for id_ in [*range(1, 9), 397133]))
    return tmp_path


def source(place, **options):
    given = {"inputs": [str(place / "annotations")], "images": [str(place / "val2017")], **options}
    return CocoOptions(**given).open()


def test_it_is_filed_under_its_name():
    assert sources.get("coco") is CocoOptions


def test_every_image_has_its_picture_all_its_captions_and_its_licence(place):
    found = good(source(place))
    assert [s.key for s in found] == [f"{id_:012d}" for id_ in [*range(1, 9), 397133]]
    assert found[-1].captions == tuple(SIX)
    assert found[0].captions == ("A thing of licence 1.",)  # white space joined
    assert found[-1].image == picture("000000397133.jpg")
    assert found[-1].meta == {"image_id": 397133, "licence": "creativecommons.org/licenses/by/2.0"}
    assert found[-1].name == "captions_val2017.json: 000000397133.jpg"
    assert describe(source(place)) == ("9 of 9 images, 14 captions",)
    check_contract(source(place))


def test_licences_choose_images_and_the_count_is_told(place):
    chosen = source(place, licences=[4, 5, 6])
    assert [s.meta["image_id"] for s in good(chosen)] == [4, 5, 6, 397133]
    first, second = describe(chosen)
    assert first == "4 of 9 images, 9 captions"
    assert second.startswith("4 of 9 images have the licences 4 creativecommons.org/licenses/by/2.0, 5 ")
    check_contract(chosen)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: [{**row, "id": 9 - row["id"]} for row in rows], r"4: creativecommons.org/licenses/by-sa/2.0"),
        (lambda rows: rows[:5], r"6: not there, expected creativecommons.org/licenses/by-nd/2.0"),
        (lambda rows: [*rows, {"id": 9, "url": "http://x.org", "name": "x"}], r"9: x.org, expected no such licence"),
        (lambda rows: [], r"4: not there"),
        (lambda rows: [{**row, "url": row["url"].replace("2.0", "4.0")} for row in rows], r"by/4.0, expected"),
    ],
    ids=["renumbered", "one_less", "one_more", "none", "another_version"],
)  # fmt: skip
def test_another_table_of_licences_is_refused(place, change, says):
    coco(place / "annotations/captions_val2017.json", IMAGES, change(COCO_LICENCES))
    with pytest.raises(UserError, match=f"its licences are not MSCOCO's .*{says}.*leave `licences` out"):
        source(place, licences=[4, 5, 6]).shards()
    assert len(good(source(place))) == 8  # without a choice by licence, any table does


def test_https_and_a_missing_slash_are_the_same_address(place):
    rows = [{**row, "url": row["url"].replace("http:", "https:").rstrip("/")} for row in COCO_LICENCES]
    coco(place / "annotations/captions_val2017.json", IMAGES, rows)
    assert len(good(source(place, licences=[4, 5, 6]))) == 3


def test_a_count_far_from_the_paper_s_is_warned_of(place, monkeypatch):
    monkeypatch.setattr("captioners.data.coco_source._WHOLE", 9)
    assert "should be about 38,000 images, and these are 4" in describe(source(place, licences=[4, 5, 6]))[-1]
    assert not any("should be" in said for said in describe(source(place, licences=[4, 5])))


def test_several_files_have_folders_of_their_own(place):
    coco(place / "annotations/captions_train2017.json", [(77, 4, ("Another.",))])
    pictures(place / "train2017", "000000000077.jpg")
    folders = [str(place / "train2017"), str(place / "val2017")]
    files = [str(place / "annotations" / f"captions_{split}2017.json") for split in ("train", "val")]
    found = source(place, inputs=files, images=folders)
    assert len(good(found)) == 10
    check_contract(found)
    assert [s.key for s in good(source(place, inputs=files, images=folders[:1]))] == ["000000000077"]
    with pytest.raises(UserError, match="3 folders for 2 annotation files"):
        source(place, inputs=files, images=[*folders, str(place)]).shards()
    with pytest.raises(UserError, match="is not a folder; name the one"):
        source(place, images=[str(place / "none")]).shards()


def test_missing_and_empty_pictures_become_rows_that_say_where_they_were_looked_for(place):
    (place / "val2017/000000000003.jpg").unlink()
    (place / "val2017/000000000004.jpg").write_bytes(b"")
    found = source(place)
    assert bad(found) == [("000000000003", "missing"), ("000000000004", "empty")]
    (said,) = [row.error for row in found.samples(found.shards()[0]) if getattr(row, "reason", "") == "missing"]
    assert f"'000000000003.jpg' is not there; it is looked for in {place / 'val2017'}" in said
    check_contract(found)


def test_ids_to_leave_out(place):
    karpathy = {"images": [{"cocoid": 397133, "split": "test"}, {"cocoid": 1, "split": "restval"}]}
    (place / "dataset_coco.json").write_text(json.dumps(karpathy))
    found = source(place, exclude=[str(place / "dataset_coco.json")])
    assert [s.meta["image_id"] for s in good(found)] == list(range(1, 9))
    assert "1 images left out that stand in" in describe(found)[-1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[]", "not COCO-style captions"),
        ('{"images": [], "annotations": [3]}', "not COCO-style captions"),
        ('{"images": [], "annotations": [{"bbox": []}]}', "hold no `caption`; name the captions_"),
    ],
)
def test_what_is_no_caption_file_is_said(place, text, says):
    (place / "annotations/captions_val2017.json").write_text(text)
    with pytest.raises(UserError, match=says):
        source(place).shards()


def test_images_of_a_bad_record_are_rows(place):
    path = place / "annotations/captions_val2017.json"
    read = json.loads(path.read_text())
    del read["images"][0]["file_name"]
    read["images"][1]["file_name"] = "../secret.jpg"
    path.write_text(json.dumps(read))
    assert [reason for _, reason in bad(source(place))] == ["no_image", "unsafe_name"]
    check_contract(source(place))


def test_images_added_later_make_new_shards_and_other_captions_are_refused(tmp_path):
    many = [(id_, 4, (f"Caption of {id_}.",)) for id_ in range(1, ENTRIES + 6)]
    path = coco(tmp_path / "annotations/a.json", many)
    pictures(tmp_path / "val2017", "000000000001.jpg")
    frozen = source(tmp_path).shards()
    assert [(shard.path, shard.count) for shard in frozen] == [("coco#00000", ENTRIES), ("coco#00001", 5)]
    coco(path, [*many, (5000, 4, ("One more.",))])
    now = source(tmp_path).shards(frozen)
    assert now[:2] == frozen
    assert [(shard.path, shard.count) for shard in now[2:]] == [("coco#00002", 1)]
    coco(path, [(1, 4, ("Another caption.",)), *many[1:]])
    with pytest.raises(UserError, match=r"coco#00000: has changed since .*annotations say something else"):
        source(tmp_path).shards(frozen)


def test_nothing_left_is_said(place):
    with pytest.raises(NotFoundError, match="holds no samples"):
        coco(place / "annotations/captions_val2017.json", [(1, 1, ("x",))])
        source(place, licences=[4]).shards()


def test_its_card_is_mscoco_s_only_for_files_of_that_name(place):
    def card(file, **options):
        return CocoOptions(inputs=[file], images=["x"], **options).own_card()

    assert card("annotations/captions_train2017.json") == "mscoco_123k"
    assert card("captions_val2014.json", licences=[1, 4]) == "mscoco_123k"
    assert (
        card("captions_val2017.json", licences=[4, 5, 6]) == card("captions_val2017.json", licences=[4]) == "mscoco_38k"
    )
    assert card("my_captions.json") is None
