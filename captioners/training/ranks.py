"""The processes of one training run: what they sum, what they tell each other, and how none waits for one that failed.

A run of one process talks to nobody. Sums and features go over the devices' own network (NCCL, or gloo on CPUs); words
(counts, wishes to stop, failures) over gloo, so that a GPU is not waited for, and without haste: an evaluation on the
main process may take an hour.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor, nn

from captioners.core.errors import CaptionersError, InterruptedRunError, OtherProcessError, exit_code_of

_PATIENCE = timedelta(days=2)
_T = TypeVar("_T")


@dataclass(frozen=True)
class _Failure:
    """What a process tells the others of its end."""

    said: str
    exit_code: int

    @staticmethod
    def of(error: BaseException) -> "_Failure":
        return _Failure((str(error) or type(error).__name__).partition("\n")[0], exit_code_of(error))

    def elsewhere(self, what: str) -> OtherProcessError:
        return OtherProcessError(f"{what}: {self.said}", self.exit_code)


class Ranks:
    """A process among those of the run; all of them must make each call, and in the same order."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.rank: int = accelerator.process_index
        self.world: int = accelerator.num_processes
        self._words: Any = dist.new_group(backend="gloo", timeout=_PATIENCE) if self.world > 1 else None

    def close(self) -> None:
        """End the threads that carry words, here and not when the interpreter is half gone: that would abort it."""
        if self._words is not None and dist.is_initialized():
            dist.destroy_process_group(self._words)
        self._words = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def told(self, word: _T) -> list[_T]:
        """Return every process's word, by rank; small picklable values."""
        if self._words is None:
            return [word]
        words: list[_T | None] = [None] * self.world
        with self._heard():
            dist.all_gather_object(words, word, group=self._words)
        return cast(list[_T], words)

    def on_main(self, work: Callable[[], _T]) -> _T:
        """Return what `work` returns on the main process, to all; if it raises there, all of them raise."""
        if self._words is None:
            return work()
        outcome: list[tuple[_T | None, _Failure | None] | None] = [None]
        raised: BaseException | None = None
        if self.is_main:
            try:
                outcome = [(work(), None)]
            except BaseException as error:  # told to the others first, raised below
                raised = error
                outcome = [(None, _Failure.of(error))]
        with self._heard():
            dist.broadcast_object_list(outcome, src=0, group=self._words)
        if raised is not None:
            raise raised
        assert outcome[0] is not None
        value, failure = outcome[0]
        if failure:
            raise failure.elsewhere(f"process {self.rank} stops, because the main process did")
        return cast(_T, value)

    def on_all(self, work: Callable[[], _T]) -> _T:
        """Return what `work` returns here; if it raises on one process, all of them raise. The first says why."""
        done: list[_T] = []
        raised: BaseException | None = None
        try:
            done.append(work())
        except BaseException as error:  # the others must hear of it before it ends this process
            raised = error
        for rank, failure in enumerate(self.told(_Failure.of(raised) if raised else None)):
            if failure and rank == self.rank:
                break
            if failure:
                raise failure.elsewhere(f"process {self.rank} stops, because process {rank} did")
        if raised is not None:
            raise raised
        return done[0]

    def in_common(self, error: CaptionersError) -> CaptionersError:
        """Return the error to raise for one that all processes meet alike: the main one says it."""
        return error if self.is_main else OtherProcessError(str(error), error.exit_code)

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Say in a line that a process of the run is gone; the network's libraries only say what broke."""
        try:
            yield
        except RuntimeError as error:
            raise InterruptedRunError(
                f"process {self.rank} of {self.world} stops, because another one is gone "
                f"({str(error).partition(chr(10))[0][:200]}); run the same command again to go on"
            ) from error

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over processes of a tensor of one shape; the argument may be overwritten."""
        if self.world > 1:
            with self._heard():
                dist.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each parameter's gradient by its sum over processes; none counts as zero."""
        if self.world == 1:
            return
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        with self._heard():
            for one in [dist.all_reduce(gradient, async_op=True) for gradient in gradients]:
                if one is not None:
                    one.wait()

    def gathered(self, tensor: Tensor, rows: Sequence[int]) -> Tensor:
        """Return the tensors [rows[rank], ...] of all processes below each other; no gradient flows back."""
        tensor = tensor.detach()
        if self.world == 1:
            return tensor
        padded = tensor.new_zeros(max(rows), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in rows]
        with self._heard():
            dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])
