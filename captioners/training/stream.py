"""Training batches of a set that is read as training goes on, as a function of position, with no buffer to save.

Sample n of a rank depends on (seed, epoch, world size, n) alone. Each epoch permutes all shards; rank r takes every
`world`-th of them from the r-th on; `block_shards` of these at a time are a block, whose samples are permuted together.
Decode processes only work ahead: their number changes nothing. To go on at any position, one block is read again, and
of that only the files; the block after it is read while the first is shown.

Ranks never wait for each other's data: a rank's stream has no end, it goes on with its own next epoch. Shards are never
quite equal, so one rank may begin an epoch some samples before another does. What an epoch shows stays the same, every
shard once over all ranks; only when is shifted, by the inequality of the ranks' shards.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from types import TracebackType
from typing import Self

from captioners.core.errors import UserError
from captioners.core.seeds import permutation
from captioners.data.batches import Batch, collate
from captioners.data.blocks import Block, BlockReader, Shown
from captioners.data.frozen import Counted
from captioners.data.mixture_source import part_of
from captioners.data.order import Mixing, share_of


class Positions:
    """Where a rank's sample number n is: in which epoch, block and slot.

    Args:
        counts: samples of each shard, at least 1.
        seed: of the shards' order.
        rank, world: which process of how many.
        block_shards: shards of a block.
        name: sets the orders of several parts apart.
    """

    def __init__(
        self,
        counts: Sequence[int],
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        block_shards: int = 1,
        name: tuple[int | str, ...] = (),
    ) -> None:
        if len(counts) < world:
            raise UserError(
                f"{world} processes are to share {len(counts)} shards, and each needs one of its own: cut the data "
                f"into more shards (captioners data pack), train with at most {len(counts)} processes, or leave "
                "`stream` out to hold the set in memory"
            )
        self._counts, self._seed, self._rank, self._world = counts, seed, rank, world
        self._block_shards, self._name = block_shards, name
        self._starts = [0]
        """The rank's first number of each epoch, as far as it was asked for."""
        self._epoch: tuple[int, list[list[int]], list[int]] = (-1, [], [])

    def blocks(self, epoch: int) -> list[list[int]]:
        """Return the numbers of the shards of each of the rank's blocks of an epoch."""
        return self._blocks(epoch)[0]

    def slots(self, epoch: int, block: int) -> int:
        """Return how many samples a block shows."""
        ends = self._blocks(epoch)[1]
        return ends[block] - (ends[block - 1] if block else 0)

    def find(self, number: int) -> tuple[int, int, int]:
        """Return (epoch, block, slot) of a rank's sample, from 0."""
        while self._starts[-1] <= number:
            self._starts.append(self._starts[-1] + self._blocks(len(self._starts) - 1)[1][-1])
        epoch = bisect_right(self._starts, number) - 1
        within = number - self._starts[epoch]
        ends = self._blocks(epoch)[1]
        block = bisect_right(ends, within)
        return epoch, block, within - (ends[block - 1] if block else 0)

    def _blocks(self, epoch: int) -> tuple[list[list[int]], list[int]]:
        if self._epoch[0] != epoch:
            order = permutation(len(self._counts), "shards", self._seed, epoch, *self._name)
            own = order[self._rank :: self._world].tolist()
            blocks = [own[at : at + self._block_shards] for at in range(0, len(own), self._block_shards)]
            ends = list(accumulate(sum(self._counts[shard] for shard in block) for block in blocks))
            self._epoch = epoch, blocks, ends
        return self._epoch[1:]


class StreamBatches:
    """One rank's share of the batches of a set that is read as it goes; close it, or use it in a `with`.

    Args:
        reader: reads blocks and shows samples.
        shards: of the run (`frozen_shards`).
        batch_size: images of a step, over all ranks.
        seed: of orders.
        rank, world: which process of how many.
        block_shards: shards that are read and permuted together.
        weights: of the parts of a mixture, as `weights_of` says of its source.
    """

    def __init__(
        self,
        reader: BlockReader,
        shards: Sequence[Counted],
        batch_size: int,
        seed: int,
        *,
        rank: int = 0,
        world: int = 1,
        block_shards: int = 4,
        weights: Sequence[int] = (1,),
    ) -> None:
        self._share = len(share_of(batch_size, rank, world))
        self._mixing = Mixing(weights, seed, "rank", rank)
        self._parts = []
        for part in range(len(weights)):
            own = [entry for entry in shards if part_of(entry.shard) == part]
            if not own:
                raise UserError(f"part {part + 1} of the mixture holds no sample; take it out, or mend it")
            name: tuple[int | str, ...] = (f"part {part}",) if len(weights) > 1 else ()
            positions = Positions(
                [entry.samples for entry in own],
                seed=seed,
                rank=rank,
                world=world,
                block_shards=block_shards,
                name=name,
            )
            self._parts.append(_Part(reader, own, positions, (world, rank, *name)))

    def batch(self, step: int) -> Batch:
        """Return the rank's share of the batch of a step, from 0; steps in order need no new start.

        Raises:
            NeedsLookError: too many samples could not be read.
        """
        shown = []
        for number in range(step * self._share, (step + 1) * self._share):
            part, within = self._mixing.at(number)
            shown.append(self._parts[part].at(within))
        return collate(
            [sample.key for sample in shown],
            [sample.pixels for sample in shown],
            [sample.captions for sample in shown],
        )

    def close(self) -> None:
        """Stop reading ahead."""
        for part in self._parts:
            part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Part:
    """The endless stream of one rank over one set of shards, from any number on."""

    def __init__(
        self, reader: BlockReader, shards: Sequence[Counted], positions: Positions, name: tuple[int | str, ...]
    ) -> None:
        self._reader, self._shards, self._positions, self._name = reader, shards, positions, name
        self._coming: Iterator[Shown] | None = None
        self._next = 0

    def at(self, number: int) -> Shown:
        if self._coming is None or self._next != number:
            self.close()
            self._coming, self._next = self._from(number), number
        try:
            shown = next(self._coming)
        except BaseException:
            self._coming = None  # a generator that has raised is at its end
            raise
        self._next += 1
        return shown

    def close(self) -> None:
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.close()  # type: ignore[attr-defined]  # a generator

    def _from(self, number: int) -> Iterator[Shown]:
        epoch, block, slot = self._positions.find(number)
        with ThreadPoolExecutor(1) as reading:
            coming = reading.submit(self._read, self._positions.blocks(epoch)[block])
            while True:
                content = coming.result()
                last = block + 1 == len(self._positions.blocks(epoch))
                after = (epoch + 1, 0) if last else (epoch, block + 1)
                slots = range(slot, self._positions.slots(epoch, block))
                coming = reading.submit(self._read, self._positions.blocks(after[0])[after[1]])
                yield from self._show(content, epoch, block, slots)
                (epoch, block), slot = after, 0

    def _show(self, content: Block, epoch: int, block: int, slots: range) -> Iterator[Shown]:
        """Yield a block's slots; of a block that has nothing to show, the epoch's next one shows its own."""
        blocks = self._positions.blocks(epoch)
        for number in range(block, block + len(blocks)):
            if number != block:
                content = self._read(blocks[number % len(blocks)])
            shown = self._reader.show(content, slots, epoch, (*self._name, epoch, number % len(blocks)))
            first = next(shown, None)
            if first is not None:
                yield first
                yield from shown
                return
        raise UserError(
            f"none of the {sum(map(len, blocks))} shards of this process has a picture that can be read and a caption; "
            f"the first is {self._shards[blocks[block][0]].shard.path}: look into it"
        )

    def _read(self, block: Sequence[int]) -> Block:
        return self._reader.read(self._shards[number].shard for number in block)
