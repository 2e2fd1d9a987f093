"""The data stream is a function of position: whatever was read before, with any number of workers, after any kill."""

import json
from collections import Counter

import pytest
import torch

from captioners.core.errors import NeedsLookError, UserError
from captioners.data.batches import MemoryBatches
from captioners.data.blocks import BlockReader, Choices
from captioners.data.frozen import frozen_shards
from captioners.data.mixture_source import MixtureSource, weights_of
from captioners.data.skipped import Skipped
from captioners.data.source import Shard
from captioners.data.training_set import read_training_set
from captioners.data.webdataset_source import WebdatasetOptions
from captioners.images.augment import Augmented
from captioners.images.fit import Fit
from captioners.images.pool import DecodePool
from captioners.images.preprocess import Preprocess
from captioners.models.coca import PREPROCESS
from captioners.training.stream import Positions, StreamBatches
from tests.data.tars import write
from tests.training.runs import train
from tests.training.streams import FIT, SIZES, TOKENIZER, Letters, Shards, Stream, keys, picture, same

TOTAL = sum(SIZES)
CROPPED = {"augmentation": Augmented(random_resized_crop={"scale": [0.3, 0.9]})}


def test_an_epoch_shows_every_sample_once_in_an_order_of_its_own():
    with Stream(Shards()) as batches:
        taken = keys(batches, range(3 * TOTAL))
    every = {f"s {shard}-{index}" for shard, size in enumerate(SIZES) for index in range(size)}
    epochs = [taken[at : at + TOTAL] for at in range(0, 3 * TOTAL, TOTAL)]
    assert all(set(epoch) == every and len(epoch) == TOTAL for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3
    with Stream(Shards(), seed=1) as batches:
        assert keys(batches, range(TOTAL)) != epochs[0]


@pytest.mark.parametrize("world", [2, 3, 7])
def test_all_ranks_together_show_every_epoch_once(world):
    counts = [SIZES[shard] for shard in range(len(SIZES))]
    positions = [Positions(counts, seed=0, rank=rank, world=world, block_shards=2) for rank in range(world)]
    for epoch in range(4):
        shards = [shard for each in positions for block in each.blocks(epoch) for shard in block]
        assert sorted(shards) == list(range(len(SIZES)))
    # And so it is with the samples themselves: each rank to the end of its own first epoch.
    shown = []
    for rank, each in enumerate(positions):
        length = sum(each.slots(0, block) for block in range(len(each.blocks(0))))
        assert each.find(length) == (1, 0, 0)
        with Stream(Shards(), world, rank=rank, world=world) as batches:
            shown += keys(batches, range(length))
    with Stream(Shards()) as batches:
        assert sorted(shown) == sorted(keys(batches, range(TOTAL)))


def test_the_samples_of_a_block_are_permuted_together():
    with Stream(Shards((20, 20, 20, 20)), block_shards=2) as batches:
        shards = [key[2] for key in keys(batches, range(80))]
    assert len(set(shards[:40])) == len(set(shards[40:])) == 2
    assert shards[:20] != sorted(shards[:20])
    assert not set(shards[:40]) & set(shards[40:])


@pytest.mark.parametrize("choices", [{}, {"captions": "first"}, {"captions_per_step": 2}, CROPPED], ids=str)
def test_a_batch_at_any_position_is_bit_for_bit_that_of_reading_through(choices):
    with Stream(Shards(captions=3), 3, **choices) as batches:
        through = [batches.batch(step) for step in range(25)]
        assert same(batches.batch(2), through[2])
        assert same(batches.batch(19), through[19])
    for step in (24, 0, 7, 13):
        with Stream(Shards(captions=3), 3, **choices) as batches:
            assert all(same(batches.batch(later), through[later]) for later in range(step, min(step + 3, 25)))
    assert not same(through[0], through[1])
    with Stream(Shards(captions=3), 3, seed=1, **choices) as batches:
        assert not all(same(batches.batch(step), through[step]) for step in range(25))


def test_workers_change_nothing():
    source = Shards(bad={(2, 1): "picture", (0, 2): "unreadable"})
    shown = {}
    for workers in (0, 2):
        with Stream(source, 2, workers=workers, **CROPPED) as batches:
            shown[workers] = [batches.batch(step) for step in range(30)]
    assert all(same(one, other) for one, other in zip(shown[0], shown[2], strict=True))


def test_resuming_reads_one_block_again_and_none_before_it():
    source = Shards((3,) * 12)
    positions = Positions([3] * 12, seed=0, block_shards=2)
    blocks = [block for epoch in range(2) for block in positions.blocks(epoch)]
    with Stream(source) as batches:
        keys(batches, range(72))
    assert source.reads[:24] == [shard for block in blocks for shard in block], "read through: each block once"
    for number in (0, 5, 6, 20, 35, 36, 71):
        source = Shards((3,) * 12)
        with Stream(source) as batches:
            batches.batch(number)
        own = number // 6
        begun, ahead = blocks[own], positions.blocks((own + 1) // 6)[(own + 1) % 6]
        assert source.reads == [*begun, *ahead], "the block at hand, and the one ahead"


def test_captions_are_cut_start_and_end_and_name_their_image():
    with Stream(Shards(captions=3), 4, captions_per_step=2) as batches:
        batch = batches.batch(0)
    assert batch.pixels.shape == (4, 3, FIT.height, FIT.width)
    assert batch.pixels.dtype is torch.uint8
    assert batch.owner.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert batch.images is None
    for ids, owner in zip(batch.text.tolist(), batch.owner.tolist(), strict=True):
        shard, index = batch.keys[owner][2:].split("-")
        assert ids[0] == TOKENIZER.start_id
        assert TOKENIZER.end_id in ids
        assert TOKENIZER.decode(ids).startswith(f"s {shard} {index} told")


def test_each_caption_can_be_a_sample():
    source = Shards((2, 3), captions=3)
    source.shards = lambda frozen=(): [
        Shard(path=f"s{n}", size=n, stamp="", count=size * 3) for n, size in enumerate((2, 3))
    ]  # as `frozen_shards` counts
    with Stream(source, captions="per_caption") as batches:
        said = [TOKENIZER.decode(batches.batch(step).text[0].tolist()) for step in range(15)]
    assert len(set(said)) == 15


def test_random_captions_differ_between_epochs_and_come_equally_often():
    with Stream(Shards((6,), captions=3), 6) as batches:
        said = Counter(
            TOKENIZER.decode(ids)[-1] for step in range(200) for ids in batches.batch(step).text.tolist()
        )  # 1200 draws of one in three: a standard deviation of 16.3; five of them
    assert set(said) == {"0", "1", "2"}
    assert all(abs(count - 400) < 82 for count in said.values())


@pytest.mark.parametrize("wrong", ["unreadable", "picture", "no caption", "no token"])
def test_what_cannot_be_read_moves_nothing_and_is_stood_in_for(wrong, tmp_path):
    bad = {(2, 1): wrong, (2, 5): wrong, (5, 0): wrong}
    skipped = Skipped(tmp_path / "skipped.jsonl", most=1)
    with Stream(Shards(bad=bad), skipped=skipped) as batches:
        taken = keys(batches, range(2 * TOTAL))
    epochs = [Counter(taken[:TOTAL]), Counter(taken[TOTAL:])]
    for epoch in epochs:
        assert len(epoch) == TOTAL - 3, "all that can be read is shown in each epoch"
        assert not set(epoch) & {"s 2-1", "s 2-5", "s 5-0"}
    for number in (0, 9, TOTAL - 1, TOTAL, 2 * TOTAL - 1):
        with Stream(Shards(bad=bad)) as batches:
            assert keys(batches, [number]) == [taken[number]]
    lines = [json.loads(line) for line in (tmp_path / "skipped.jsonl").read_text().splitlines()]
    assert sorted(line["key"] for line in lines) == ["2-1", "2-5", "5-0"]
    assert all(line["error"] and line["reason"] for line in lines)
    assert skipped.count >= 6, "each time that they were met"


def test_a_block_with_nothing_readable_is_stood_in_for_by_the_next():
    bad = {(2, index): "picture" for index in range(8)}
    with Stream(Shards(bad=bad), block_shards=1) as batches:
        taken = keys(batches, range(TOTAL))
    assert set(taken) == {f"s {s}-{i}" for s, size in enumerate(SIZES) for i in range(size) if s != 2}
    for number in range(0, TOTAL, 5):
        with Stream(Shards(bad=bad), block_shards=1) as batches:
            assert keys(batches, [number]) == [taken[number]]
    with (
        Stream(Shards((3, 3), bad={(s, i): "no caption" for s in (0, 1) for i in range(3)})) as batches,
        pytest.raises(UserError, match="none of the 2 shards of this process has a picture that can be read"),
    ):
        batches.batch(0)


def test_too_much_that_cannot_be_read_stops_the_run(tmp_path):
    sizes = (300,) * 6
    few = {(shard, index): "unreadable" for shard in range(6) for index in range(12)}
    many = few | {(shard, index): "picture" for shard in range(6) for index in range(12, 24)}
    with Stream(Shards(sizes, 1, few), 100, skipped=Skipped(most=0.05)) as batches:
        keys(batches, range(18))
    with (
        Stream(Shards(sizes, 1, many), 100, skipped=Skipped(tmp_path / "s.jsonl", most=0.05)) as batches,
        pytest.raises(NeedsLookError, match=r"share of 0\.05 that stream\.most_skipped allows: missing \d+, not_an_im"),
    ):
        keys(batches, range(18))


def test_fewer_shards_than_processes_is_an_error_that_says_what_to_do():
    with pytest.raises(UserError, match=r"4 processes are to share 3 shards, .* at most 3 processes, or leave"):
        Stream(Shards((5, 5, 5)), 4, world=4)
    with pytest.raises(UserError, match="batch_size: 3 cannot be split evenly"):
        Stream(Shards(), 3, world=2)


@pytest.mark.parametrize("world", [1, 2])
def test_a_mixture_keeps_its_weights_and_each_part_its_epochs(world):
    def source():
        return MixtureSource([(Shards((2, 3), name="a"), 2), (Shards((7, 4), name="b"), 1)])

    for rank in range(world):
        with Stream(source(), 3 * world, rank=rank, world=world) as batches:
            through = [batches.batch(step) for step in range(30)]
        taken = [key for batch in through for key in batch.keys]
        assert all(Counter(key[0] for key in batch.keys) == {"a": 2, "b": 1} for batch in through)
        if world == 1:
            for part, count in (("a", 5), ("b", 11)):
                own = [key for key in taken if key[0] == part]
                assert all(len(set(own[at : at + count])) == count for at in range(0, len(own) - count, count))
        for step in (29, 4):
            with Stream(source(), 3 * world, rank=rank, world=world) as batches:
                assert same(batches.batch(step), through[step])


def test_tars_are_streamed_as_a_job_does_it(tmp_path):
    for shard, size in enumerate((6, 4, 7)):
        members = {f"{shard}{n}": {"png": picture(10 * shard + n), "txt": f"{shard} {n}".encode()} for n in range(size)}
        write(tmp_path / f"{shard}.tar", members)
    whole = (tmp_path / "2.tar").read_bytes()
    (tmp_path / "2.tar").write_bytes(whole[: len(whole) // 2])  # a cut tar: its whole samples and one fault

    def run(steps, workers):
        source = WebdatasetOptions(inputs=[str(tmp_path / "*.tar")]).open()
        shards = frozen_shards(source, tmp_path / "shards.jsonl")
        skipped = Skipped(tmp_path / "skipped.jsonl")
        preprocess = Preprocess({"size": 8, **PREPROCESS})
        with DecodePool(workers, profile="as_trained", fit=preprocess.fit) as pool:
            reader = BlockReader(source, pool, TOKENIZER, 12, Choices(seed=3), skipped)
            with StreamBatches(reader, shards, 4, 3, block_shards=2, weights=weights_of(source)) as batches:
                return [batches.batch(step) for step in steps]

    through = run(range(12), 0)
    seen = {key for batch in through for key in batch.keys}
    assert {key.partition(":")[0] for key in seen} == {"0.tar", "1.tar", "2.tar"}
    assert 11 <= len(seen) < 17
    resumed = run(range(5, 12), 1)
    assert all(same(one, other) for one, other in zip(resumed, through[5:], strict=True))
    assert "cut_tar" in (tmp_path / "skipped.jsonl").read_text()


def test_a_picture_s_view_in_an_epoch_is_the_same_held_in_memory_or_streamed():
    preprocess = Preprocess({"size": 8, **PREPROCESS})
    held = read_training_set(Shards(), preprocess, TOKENIZER, 12, keep_files=True)
    views = []
    with Stream(Shards(), TOTAL, **CROPPED) as streamed, DecodePool(0, fit=preprocess.fit) as pool:
        for batches in (streamed, MemoryBatches(held, TOTAL, 0, pool=pool, **CROPPED)):
            for epoch in range(2):
                batch = batches.batch(epoch)
                views.append({key: view.numpy().tobytes() for key, view in zip(batch.keys, batch.pixels, strict=True)})
    assert views[:2] == views[2:]
    assert views[0] != views[1]


def test_uneven_ranks_never_wait_they_go_on_with_their_next_epoch():
    sizes = (40, 1, 1, 1)
    lengths = []
    for rank in range(2):
        positions = Positions(sizes, seed=0, rank=rank, world=2, block_shards=2)
        lengths.append(positions.find(200)[0])
        with Stream(Shards(sizes), 2, rank=rank, world=2) as batches:
            assert len(keys(batches, range(200))) == 200
    assert lengths[0] != lengths[1], "here the ranks are in different epochs at the same step"


def test_a_run_that_died_goes_on_bit_for_bit_with_another_number_of_workers(tmp_path):
    torch.set_num_threads(1)
    options = {"fit": Fit(32, 32), "tokenizer": Letters(), **CROPPED}

    def trained(folder, workers, dies_at=None):
        with Stream(Shards(), 4, workers=workers, **options) as batches:

            class Dying:
                def batch(self, step):
                    if step == dies_at:
                        raise ZeroDivisionError
                    return batches.batch(step)

            return train(folder, 8, Dying())

    whole = trained(tmp_path / "whole", 0)
    with pytest.raises(ZeroDivisionError):
        trained(tmp_path / "died", 2, dies_at=5)
    again = trained(tmp_path / "died", 0)
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())
    with Stream(Shards(), 4, seed=1, **options) as batches:
        other = train(tmp_path / "other", 8, batches)
    assert not all(torch.equal(other[name], tensor) for name, tensor in whole.items())


def test_the_control_a_stream_with_a_hidden_state_would_be_found_out():
    """The tests above compare keys and bits: a stream that drew from a generator, step by step, fails them."""

    class Hidden(StreamBatches):
        drawn = 0

        def batch(self, step):
            self.drawn += 1
            return super().batch(step + self.drawn % 3)

    with Stream(Shards(), 3) as batches:
        batches.__class__ = Hidden
        through = [batches.batch(step) for step in range(9)]
        assert not same(batches.batch(4), through[4])
