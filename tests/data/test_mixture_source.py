"""Several sources as one: a source like any other, with weights for training."""

import pytest
from pydantic import TypeAdapter, ValidationError

from captioners.data.choices import AnySource
from captioners.data.drawn_source import DrawnOptions
from captioners.data.mixture_source import MixtureOptions, part_of, weights_of
from captioners.data.source import sources
from tests.data.rows import bad, check_contract, good
from tests.data.tars import foreign, write
from tests.images.pictures import jpeg, noise

PICTURE = jpeg(noise(16, 16))


def _mixture(folder):
    folder.mkdir(exist_ok=True)
    write(folder / "a.tar", {"one": {"jpg": PICTURE, "txt": b"told"}, "two": {"png": PICTURE, "txt": b"told"}})
    foreign(folder / "b.tar", [("three.jpg", PICTURE), ("four.txt", b"no image")])
    return MixtureOptions(
        parts=[
            {"source": {"kind": "webdataset", "inputs": [str(folder)]}, "weight": 3},
            {"source": {"kind": "drawn", "count": 3}},
            {"source": {"kind": "drawn", "count": 2, "seed": 9}, "weight": 2},
        ]
    )


def test_it_is_a_source_like_any_other(tmp_path):
    source = _mixture(tmp_path / "tars").open()
    check_contract(source)
    assert [row.key for row in good(source)] == [
        "one", "two", "three", "00000000", "00000001", "00000002", "00000000", "00000001",
    ]  # fmt: skip
    assert bad(source) == [("four", "no_image")]
    assert [part_of(shard) for shard in source.shards()] == [0, 0, 1, 2]
    assert weights_of(source) == (3, 1, 2)


def test_what_is_added_to_a_part_comes_after_all_that_is_frozen(tmp_path):
    options = _mixture(tmp_path / "tars")
    frozen = options.open().shards()
    write(tmp_path / "tars" / "c.tar", {"five": {"jpg": PICTURE}})
    now = options.open().shards(frozen)
    assert now[: len(frozen)] == frozen
    assert [shard.path for shard in now[len(frozen) :]] == ["1/c.tar"]


def test_a_source_that_is_no_mixture_is_one_part():
    source = DrawnOptions(count=3).open()
    assert weights_of(source) == (1,)
    assert [part_of(shard) for shard in source.shards()] == [0]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "at least 1 item"),
        ([{"source": {"kind": "drawn"}, "weight": 0}], r"parts\.0\.weight"),
        ([{"source": {"kind": "drawn"}, "weight": 0.5}], r"parts\.0\.weight"),
        ([{"source": {"kind": "drawn", "cuont": 3}}], r"parts\.0\.source\.drawn\.cuont"),
        ([{"source": {"kind": "mixture", "parts": []}}], "does not match any of the expected tags"),
    ],
)
def test_what_makes_no_sense_is_refused(parts, said):
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(AnySource).validate_python({"kind": "mixture", "parts": parts})


def test_it_is_found_by_name_and_takes_every_other_source():
    assert sources.get("mixture") is MixtureOptions
    schema = MixtureOptions.model_json_schema()
    kinds = schema["$defs"]["Part"]["properties"]["source"]["discriminator"]["mapping"]
    assert sorted(kinds) == [name for name in sources.names() if name != "mixture"]
