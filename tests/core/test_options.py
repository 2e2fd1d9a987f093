"""What a recipe's fields mean to a run's name: operations never count, and later additions only once they are used."""

from captioners.core.options import Options, added, meaning_of, operation
from captioners.data.webdataset_source import WebdatasetOptions


class Inner(Options):
    width: int = 3
    workers: int = operation(1)


class Toy(Options):
    seed: int = 0
    inner: Inner = Inner()
    where: str = operation("here")
    chosen: str | None = added(None)


def test_operations_are_left_out_at_any_depth():
    assert meaning_of(Toy(where="there", inner=Inner(workers=8))) == {"seed": 0, "inner": {"width": 3}}


def test_what_was_added_later_counts_once_it_is_used():
    assert meaning_of(Toy(chosen="x")) == {"seed": 0, "inner": {"width": 3}, "chosen": "x"}


def test_shards_chosen_by_uid_are_another_run_and_all_shards_the_same_as_ever():
    assert meaning_of(WebdatasetOptions(inputs=["x"])) == {"kind": "webdataset", "image_key": None}
    assert meaning_of(WebdatasetOptions(inputs=["x"], uids="a.npy"))["uids"] == "a.npy"
