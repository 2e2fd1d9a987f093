"""What the processes of a run settle before each step: that all have a batch, or that all stop."""

from collections.abc import Iterator
from dataclasses import dataclass

from captioners.core.errors import OtherProcessError, exit_code_of
from captioners.data.batches import Batch
from captioners.training.gradients import Count
from captioners.training.ranks import Ranks


@dataclass(frozen=True)
class _Word:
    count: Count | None = None
    stop: str = ""
    failure: str = ""
    exit_code: int = 0


def agree(ranks: Ranks, batches: Iterator[Batch], stop: list[str]) -> tuple[Batch, list[Count]] | str:
    """Return this process's next batch and what every process brings, or the signal that one of them was sent.

    Raises what reading raised here; where another process could not read, OtherProcessError, which says so.
    """
    batch: Batch | None = None
    raised: BaseException | None = None
    word = _Word(stop=stop[0]) if stop else _Word()
    if not stop:
        try:
            batch = next(batches)
            word = _Word(Count.of(batch))
        except BaseException as error:  # the others must hear of it before it ends this process
            raised = error
            said = (str(error) or type(error).__name__).partition("\n")[0]
            word = _Word(failure=said, exit_code=exit_code_of(error))
    words = ranks.told(word)
    if raised is not None:
        raise raised
    for rank, other in enumerate(words):
        if other.failure:
            raise OtherProcessError(
                f"stopped, because process {rank} of {len(words)} failed: {other.failure}", other.exit_code
            )
    for other in words:
        if other.stop:
            return other.stop
    assert batch is not None
    return batch, [other.count for other in words if other.count is not None]
