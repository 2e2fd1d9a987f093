"""DCI: three variants joined as DCI's own code joins them, against hand-written answers, in the exact schema."""

import json

import pytest

from captioners.core.errors import UserError
from captioners.data.dci_source import DciOptions, text_of
from captioners.data.source import describe, sources, unstamped
from tests.data.annotated import picture, pictures
from tests.data.rows import bad, check_contract, good


def mask(idx, quality, label="", caption="", **more):
    bounds = {"topLeft": {"x": 0, "y": 0}, "bottomRight": {"x": 9, "y": 9}}
    return {"idx": idx, "outer_mask": "iVBORw0KGgo=", "area": 81, "bounds": bounds, "requirements": [], "parent": -1,
            "mask_quality": quality, "label": label, "caption": caption, **more}  # fmt: skip


MASKS = {
    "3": mask(3, 0, "pump", "A red pump"),
    "0": mask(0, 1, "wall", "bad shape, so this is not said"),
    "7": mask(7, 2, "noise", "never said"),
    "9": {name: value for name, value in mask(9, 2).items() if name not in ("label", "caption")},
    "1": mask(1, 0, "ground", "Bricks"),
}


def image(name, short="A pump.", extra="Brick ground. It is wet.", masks=MASKS):
    return {"image": name, "height": 32, "width": 48, "short_caption": short, "extra_caption": extra,
            "mask_keys": list(masks), "mask_data": masks, "summaries": {"base": ["A red pump on brick."]},
            "negatives": {"base": {"swaps": [], "layout": [], "basic": []}},
            "clip_scores": {"base": {"sum": 1.0}}}  # fmt: skip


@pytest.fixture
def place(tmp_path):
    (tmp_path / "complete").mkdir()
    files = {
        "b-data.json": image("sa_2.jpg"),
        "a-data.json": image("sa_1.jpg", short=""),
        "c-data.json": image("sa_3.jpg", extra="", masks={}),
        "d-data.json": image("sa_4.jpg"),
        "e-data.json": image("sa_5.jpg", short="", extra="", masks={}),
    }
    for name, data in files.items():
        (tmp_path / "complete" / name).write_text(json.dumps(data))
    splits = {"train": ["b-data.json", "a-data.json", "c-data.json"], "valid": ["d-data.json"], "test": ["e-data.json"]}
    (tmp_path / "splits.json").write_text(json.dumps(splits))
    pictures(tmp_path / "photos", *(f"sa_{n}.jpg" for n in range(1, 6)))
    return tmp_path


def source(place, **options):
    return DciOptions(inputs=[str(place)], **options).open()


def test_it_is_filed_under_its_name_and_has_its_card():
    assert sources.get("dci") is DciOptions
    assert DciOptions(inputs=["x"]).own_card() == "dci"


ALSO = "The following can also be seen in the image:\npump: A red pump\nwall\nground: Bricks"


@pytest.mark.parametrize(
    ("variant", "texts"),
    [
        ("short", ["A pump.", "Brick ground.", "A pump."]),
        ("extended", ["A pump.\nBrick ground. It is wet.", "Brick ground. It is wet.", "A pump."]),
        (
            "complete",
            [f"A pump.\nBrick ground. It is wet.\n{ALSO}", f"Brick ground. It is wet.\n{ALSO}", "A pump."],
        ),
    ],
)
def test_variants(place, variant, texts):
    found = good(source(place, variant=variant))
    assert [s.captions for s in found] == [(text,) for text in texts]
    assert [s.key for s in found] == ["b-data", "a-data", "c-data"]  # the order of splits.json
    assert found[0].image == picture("sa_2.jpg")
    assert found[0].meta == {"image": "sa_2.jpg"}
    check_contract(source(place, variant=variant))


def test_masks_of_either_schema_and_half_filled_ones():
    readme = {**mask(1, 0, "pump", "Red"), "idx": "1", "bounds": [[0, 0], [500, 500]], "parent": "-1"}
    assert text_of(image("x", masks={"1": readme}), "complete").endswith("image:\npump: Red")
    halves = {"1": mask(1, 0, "pump"), "2": mask(2, 0, caption="Red"), "3": mask(3, 1), "4": mask(4, 0)}
    assert text_of(image("x", masks=halves), "complete").endswith("image:\npump\nRed")
    assert text_of({"short_caption": None, "extra_caption": None}, "complete") == ""


def test_the_first_sentence_that_stands_for_an_empty_short_caption():
    def short(extra):
        return text_of({"short_caption": " ", "extra_caption": extra}, "short")

    assert short("It is 3.5 m high. And wet.") == "It is 3.5 m high."
    assert short("no full stop") == "no full stop"
    assert short("") == ""


def test_splits(place):
    assert [s.key for s in good(source(place, splits=["valid", "test"]))] == ["d-data", "e-data"]
    assert good(source(place, splits=["test"]))[0].captions == ()
    assert describe(source(place, splits=["train", "valid"])) == ("4 images of train, valid, as extended",)


def test_missing_photos_and_broken_annotations_become_rows(place):
    (place / "photos/sa_2.jpg").unlink()
    (place / "complete/a-data.json").write_text("{")
    (place / "complete/c-data.json").unlink()
    assert bad(source(place)) == [("b-data", "missing"), ("a-data", "not_json"), ("c-data", "missing")]
    check_contract(source(place))
    (place / "complete/b-data.json").write_text("[]")
    assert bad(source(place))[0] == ("b-data", "not_json")


def test_what_is_not_there_is_said(place):
    with pytest.raises(UserError, match="none: no such folder; DCI needs"):
        source(place, images=str(place / "none")).shards()
    (place / "splits.json").write_text('{"train": 3, "valid": []}')
    with pytest.raises(UserError, match=r"has no list 'train'; there are train, valid"):
        source(place).shards()
    (place / "splits.json").write_text("{")
    with pytest.raises(UserError, match=r"splits.json: not JSON"):
        source(place).shards()


@pytest.mark.parametrize("picture", [True, False])
def test_captions_that_were_edited_are_seen_though_no_stamp_covers_them(place, picture):
    """References of DCI were kept when an annotation had been edited: shards are known by their files' names."""
    if not picture:
        (place / "photos" / "sa_2.jpg").unlink()
    [shard] = source(place).shards()
    before = list(unstamped(source(place), shard))
    assert [key for key, _ in before] == ["b-data", "a-data", "c-data"]
    assert before[0][1] == ("A pump.\nBrick ground. It is wet.",)
    (place / "complete" / "b-data.json").write_text(json.dumps(image("sa_2.jpg", short="A tap.")))
    (place / "complete" / "a-data.json").write_text("{")
    assert list(unstamped(source(place), shard)) == [("b-data", ("A tap.\nBrick ground. It is wet.",)), before[2]]
    assert source(place).shards([shard]) == [shard], "a run of it goes on"
