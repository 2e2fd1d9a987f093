"""Reading a source to its end, and the promises every source gives."""

from captioners.data.source import Sample, Unreadable


def rows(source, frozen=()):
    return [row for shard in source.shards(frozen) for row in source.samples(shard)]


def good(source):
    return [row for row in rows(source) if isinstance(row, Sample)]


def bad(source):
    """(key, reason) of what could not be handed out."""
    return [(row.key, row.reason) for row in rows(source) if isinstance(row, Unreadable)]


def check_contract(source):
    """Indices count from 0, a start anywhere gives the same rest, reading twice is equal, images are found again."""
    shards = source.shards()
    assert len({shard.path for shard in shards}) == len(shards)
    assert source.shards() == shards == source.shards(shards)
    for shard in shards:
        whole = list(source.samples(shard))
        assert [row.index for row in whole] == list(range(len(whole)))
        assert {row.shard for row in whole} == {shard.path}
        keys = [row.key for row in whole if isinstance(row, Sample)]
        assert len(set(keys)) == len(keys)
        for start in range(len(whole) + 1):
            assert list(source.samples(shard, start)) == whole[start:]
        for row in whole:
            if isinstance(row, Sample):
                assert source.image(shard, row.key, row.offset, len(row.image)) == row.image
            else:
                assert row.reason
                assert "\n" not in row.error
                assert len(row.error) > 20
