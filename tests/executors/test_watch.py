"""What the parent watches: the quarantine ceiling over the last fifty shards, and how far the work is."""

import re

from captioners.core.entry import Counts, Entry
from captioners.core.errors import NeedsLookError
from captioners.data.source import Shard
from captioners.executors.watch import WINDOW, Watch, weights
from captioners.executors.work import Stored, Tally, Task


def stored(number, *, bad=0, reason="empty", fault=False, layer="a", part=0, last=True, good=10):
    counts = Counts(read=good + bad, captioned=good, quarantined=bad, rows=good)
    reasons = ({reason: bad} if bad else {}) | ({"cut_tar": 1} if fault else {})
    entry = Entry(
        layer=layer, fingerprint="", shard=f"{number}.tar", part=part, start=0, stop=good + bad, last=last,
        counts=counts, file="", digest="", reasons=reasons, finished=f"2026-01-01T00:00:{number % 60:02d}",
    )  # fmt: skip
    return Stored(entry, tuple({"reason": name, "error": f"{number}.tar: {name}"} for name in reasons))


def tasks(*shards):
    return [Task(0, shard) for shard in shards]


def shard(name="0.tar", size=10, count=None):
    return Shard(path=name, size=size, stamp="", count=count)


def feed(watch, messages):
    for number, message in enumerate(messages):
        try:
            watch(message)
        except NeedsLookError as error:
            return number, str(error)
    return None


def test_the_ceiling_is_looked_at_from_fifty_shards_on():
    watch = Watch([], ceiling=0.05)
    number, said = feed(watch, [stored(number, bad=1) for number in range(80)])
    assert number == WINDOW - 1
    assert "of the last 50 shards 9% of samples could not be read, over the ceiling of 5%: empty (50)" in said
    assert "such as 0.tar: empty" in said and "raise quarantine_ceiling" in said
    assert feed(Watch([], ceiling=0.1), [stored(number, bad=1) for number in range(80)]) is None


def test_only_the_last_fifty_count():
    good, bad = [stored(number) for number in range(60)], [stored(number, bad=10) for number in range(60, 80)]
    number, _ = feed(Watch([], ceiling=0.05), [*good, *bad])
    assert number == 60 + 2, "three shards of fifty with half of their samples bad are 5.7 %"


def test_shards_with_a_fault_of_their_own_count_though_they_read_nothing():
    shards = [stored(number, good=0, fault=True) if number % 10 == 0 else stored(number) for number in range(60)]
    number, said = feed(Watch([], ceiling=0.05), shards)
    assert number == WINDOW - 1 and re.search(r"10% of shards .* cut_tar \(5\), such as 0.tar: cut_tar", said)


def test_a_shard_counts_once_whatever_its_members_and_parts():
    messages = []
    for number in range(49):
        for layer in "ab":
            messages += [stored(number, bad=5, layer=layer, last=False), stored(number, bad=5, layer=layer, part=1)]
    assert feed(Watch([], ceiling=0.05), messages) is None
    assert feed(Watch([], ceiling=0.05), [*messages, stored(49)])[0] == len(messages)


def test_nothing_is_kept_of_a_shard_that_every_member_has_read():
    """What the members after the first had read of a shard used to stay: a gigabyte for a run of millions of units."""
    watch = Watch([])
    for number in range(3):
        for layer in "abc":
            watch(stored(number, layer=layer, last=False))
            assert (layer, f"{number}.tar") in watch._read
            watch(stored(number, layer=layer, part=1))
    assert watch._read == {}


def test_what_was_stored_before_this_start_counts_too():
    before = [stored(number, bad=5).entry for number in range(WINDOW)]
    watch = Watch([], before, ceiling=0.05)
    assert feed(watch, [stored(100)])[0] == 0


def test_progress_is_by_images_where_their_number_is_known_else_by_bytes():
    shown = []
    watch = Watch(tasks(shard(count=30), shard("1.tar", count=10)), show=shown.append)
    watch(Tally(10, 50, {"waiting": 1.0}))
    watch(Tally(10, 50, {"waiting": 0.5, "decoding": 2.0}))
    assert (shown[-1].images, shown[-1].captions, shown[-1].fraction) == (20, 100, 0.5)
    assert shown[-1].seconds == {"waiting": 1.5, "decoding": 2.0}
    by_bytes = tasks(shard(size=30), shard("1.tar", size=10))
    watch = Watch(by_bytes, show=shown.append)
    watch(Tally(10, 50, {}))
    watch.finished(by_bytes[1])
    assert (shown[-1].fraction, shown[-1].done, shown[-1].shards) == (0.25, 1, 2)
    watch(stored(0, bad=2))
    assert watch.progress.quarantined == 2


def test_weights_are_shares():
    assert weights([shard(size=30), shard("1.tar", size=10)]) == {"0.tar": 0.75, "1.tar": 0.25}
    assert weights([shard(size=0), shard("1.tar", size=10)]) == {"0.tar": 0.5, "1.tar": 0.5}
