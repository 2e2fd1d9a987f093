"""Entries before their pictures are read: their order, their keys, and a file that breaks off."""

import pytest

from captioners.core.errors import NotFoundError
from captioners.data.entries import Entry, ListedSource, image_of, keys_of, refused, samples_of
from captioners.data.source import Sample, Shard
from captioners.data.texts import BadSampleError

SHARD = Shard(path="s#00000", size=0, stamp="")


def entry(key, image=b"x", says=None):
    return Entry(key, f"name of {key}", lambda: (image, ("text",), {"of": key}), says)


def broken(*first):
    yield from first
    raise BadSampleError("unreadable", "a.parquet: from row 2 on it cannot be decoded (why); copy it again")


def told(rows):
    return [(row.index, row.key, row.reason if not isinstance(row, Sample) else "") for row in rows]


def test_a_key_twice_is_a_fault_wherever_reading_begins():
    entries = [entry("a"), entry("b"), entry("a"), Entry("c", "n", refused("missing", "not there at all, look again"))]
    whole = [(0, "a", ""), (1, "b", ""), (2, "a", "duplicate_key"), (3, "c", "missing")]
    for start in range(5):
        assert told(samples_of(SHARD, start, entries)) == whole[start:]


@pytest.mark.parametrize("before", [[], [entry("a")], [entry("a"), entry("b")]])
def test_where_a_file_breaks_off_one_row_says_so(before):
    count = len(before)
    for start in range(count + 2):
        found = told(samples_of(SHARD, start, broken(*before)))
        assert found == [(n, before[n].key, "") for n in range(start, count)] + [(count, "", "unreadable")] * (
            start <= count
        )


def test_a_picture_by_its_key():
    entries = [entry("a"), Entry("b", "the name", refused("missing", "gone"))]
    assert image_of(SHARD, "a", entries) == b"x"
    with pytest.raises(NotFoundError, match="the name: gone"):
        image_of(SHARD, "b", entries)
    with pytest.raises(NotFoundError, match="has no image of the key 'c'"):
        image_of(SHARD, "c", entries)


def test_a_listed_source_reads_its_list_once_and_tells_what_it_found():
    asked = []

    def read():
        asked.append(1)
        return [entry("a")]

    held = ListedSource("set", read, lambda: [f"{len(asked)} time"])
    assert held.describe() == ("1 time",)
    assert [s.key for shard in held.shards() for s in held.samples(shard)] == ["a"]
    assert asked == [1]
    assert ListedSource("set", read).describe() == ()


def test_keys_of_odd_names():
    assert keys_of(["a/1.jpg", "a/1.png", "a/1.png.jpg", "..", "a\nb.jpg", ""]) == [
        "a/1",
        "a/1.png",
        "a/1.png.jpg",
        "..",
        "a\\nb",
        "",
    ]
