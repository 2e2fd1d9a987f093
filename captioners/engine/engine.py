"""Row slots fed by a bounded queue: images are admitted once, rows leave at their end, freed slots are refilled.

The order of work depends on what happens to be in flight; what a row writes does not (design promise 1).
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from captioners.core.errors import CaptionersError
from captioners.decoding.beam import BeamSearch, Hypothesis
from captioners.decoding.values import Beam, Sample
from captioners.engine.job import Finished, Job
from captioners.engine.rows import Rows, Written
from captioners.engine.step_model import StepModel


@dataclass
class _Image:
    """A job whose image is remembered: where its memory is and which rows are out."""

    job: Job
    memory: int
    slots: dict[int, int] = field(default_factory=dict)
    """Row number -> slot, of the rows in flight."""
    placed: int = 0
    search: BeamSearch | None = None

    @property
    def rows(self) -> int:
        return self.job.decoding.width if isinstance(self.job.decoding, Beam) else self.job.draws

    @property
    def waiting(self) -> int:
        return self.rows - self.placed


def _tokens(job: Job, made: list[Tensor], number: int) -> Tensor:
    """Return a job's image tokens, the `number`-th that were made now or what its encoding has; leave them there."""
    if number < 0:
        assert job.encoding is not None
        assert job.encoding.tokens is not None
        return job.encoding.tokens
    if job.encoding is not None:
        job.encoding.tokens = made[number]
    return made[number]


def _finished(job: Job, draw: int, what: Written | Hypothesis) -> Finished:
    return Finished(key=job.key, draw=draw, tokens=what.tokens, logprob=what.logprob, ended=what.ended)


class Engine:
    """Decodes jobs over a step model.

    Args:
        model: the step model.
        encode: images [B, 3, H, W] -> image tokens [B, N, D].
        start_id: the start token.
        end_id: the end token.
        length: most tokens a row holds, prompt included and start excluded.
        encode_batch: images per encode.
        look_every: steps between looks at the done flags (1 on a CPU, where looking is free).
    """

    def __init__(
        self,
        model: StepModel,
        encode: Callable[[Tensor], Tensor],
        *,
        start_id: int,
        end_id: int,
        length: int,
        encode_batch: int = 1,
        look_every: int = 1,
    ) -> None:
        self._model, self._encode = model, encode
        self._start_id, self._end_id, self._length = start_id, end_id, length
        self._encode_batch, self._look_every = encode_batch, look_every
        self._rows = Rows(model.slots, length, end_id, model.device)
        self._images: list[_Image] = []
        self._encoded: deque[tuple[Job, Tensor]] = deque()
        self._last: tuple[Tensor, Tensor] | None = None
        """The image encoded last and its tokens, for a job of the same image that comes next."""
        self._free_slots = list(range(model.slots))
        self._free_memories = list(range(model.memories))
        self._owner: dict[int, tuple[_Image, int]] = {}
        self._ages: dict[int, int] = {}
        self._groups: dict[Sample, Tensor] = {}
        self._running = False
        self.steps = 0
        self.row_steps = 0
        """Rows that were some caption's, summed over steps; row_steps / steps is the mean occupancy."""
        self.images_encoded = 0
        self.encode_seconds = 0.0
        """Seconds in `encode`; where work is queued on a device, the seconds it took to queue it."""

    @torch.inference_mode()
    def run(self, jobs: Iterable[Job]) -> Iterator[Finished]:
        """Pull jobs as room allows and yield captions as they end, in whatever order they do.

        One run at a time: an abandoned one must be closed (or forgotten) before the next starts.
        """
        if self._running:
            raise CaptionersError("this engine is already running; close its generator before starting another run")
        self._running = True
        source = iter(jobs)
        try:
            while True:
                self._admit(source)
                if not self._images:
                    return
                self._pack()
                self._step()
                if self.steps % self._look_every == 0:
                    yield from self._collect()
        finally:
            self._running = False
            self._clear()

    def _clear(self) -> None:
        """Forget everything in flight, so that an abandoned run leaves the engine usable."""
        if self._owner:
            self._model.evict(sorted(self._owner))
        self._free_slots = list(range(self._model.slots))
        self._free_memories = list(range(self._model.memories))
        self._rows.done[:] = True
        for state in (self._images, self._encoded, self._owner, self._ages, self._groups):
            state.clear()
        self._last = None

    def _admit(self, source: Iterator[Job]) -> None:
        for image in self._images:
            self._place(image)
        while self._free_slots and self._free_memories and not any(image.waiting for image in self._images):
            if not self._encoded:
                self._encode_next(source)
            if not self._encoded:
                return
            job, tokens = self._encoded.popleft()
            # What is remembered needs neither pixels nor tokens any more.
            image = _Image(replace(job, image=None, encoding=None), self._free_memories.pop(0))
            if isinstance(job.decoding, Beam):
                image.search = BeamSearch(job.decoding, self._end_id, job.limit, job.prompt)
            self._model.remember(image.memory, tokens)
            self._images.append(image)
            self._place(image)

    def _encode_next(self, source: Iterator[Job]) -> None:
        """Pull the jobs of the next images and encode each image once, or take the tokens that another engine made."""
        images = [] if self._last is None else [self._last[0]]
        tokens = [] if self._last is None else [self._last[1]]
        known, found = len(images), 0
        jobs: list[tuple[Job, int]] = []  # -1: its encoding has the tokens
        while len(images) - known + found < self._encode_batch and len(jobs) < max(
            self._encode_batch, self._model.memories
        ):
            job = next(source, None)
            if job is None:
                break
            problem = job.problem(self._model.slots, self._length)
            if problem:
                raise CaptionersError(f"job {job.key} cannot be decoded: {problem}")
            if job.encoding is not None and job.encoding.tokens is not None:
                found += not jobs or jobs[-1][0].encoding is not job.encoding
                jobs.append((job, -1))
                continue
            assert job.image is not None
            if not images or job.image is not images[-1]:
                images.append(job.image)
            jobs.append((job, len(images) - 1))
        if len(images) > known:
            start = time.perf_counter()
            tokens += self._encode(torch.stack(images[known:])).unbind()
            self.encode_seconds += time.perf_counter() - start
            self.images_encoded += len(images) - known
            self._last = images[-1], tokens[-1]
        self._encoded.extend((job, _tokens(job, tokens, number)) for job, number in jobs)

    def _place(self, image: _Image) -> None:
        """Give free slots to rows of the image that have none: beams all at once, draws one by one."""
        count = min(image.waiting, len(self._free_slots))
        if count == 0 or (image.search is not None and count < image.waiting):
            return
        slots, self._free_slots = self._free_slots[:count], self._free_slots[count:]
        self._model.admit(slots, image.memory, image.placed)
        for slot in slots:
            row = image.placed
            uniforms = None if image.search is not None or image.job.uniforms is None else image.job.uniforms[row]
            self._rows.place(slot, self._start_id, image.job.prompt, image.job.limit, uniforms)
            self._owner[slot], self._ages[slot] = (image, row), 0
            image.slots[row] = slot
            image.placed += 1
        self._mark(image.job.decoding, slots, True)

    def _mark(self, decoding: Sample | Beam, slots: list[int], on: bool) -> None:
        """Note which slots sample by which options."""
        if isinstance(decoding, Sample):
            if decoding not in self._groups:
                self._groups[decoding] = torch.zeros(self._model.slots, dtype=torch.bool, device=self._model.device)
            self._groups[decoding][torch.tensor(slots, device=self._model.device)] = on

    def _pack(self) -> None:
        """At the tail, move rows out of the last slots when that shortens the step by a whole tile."""
        last, count = max(self._owner) + 1, len(self._owner)
        grain = self._model.granularity
        if -(-last // grain) == -(-count // grain):
            return
        sources = [slot for slot in sorted(self._owner) if slot >= count]
        targets = [slot for slot in range(count) if slot not in self._owner]
        age = max(self._ages[slot] for slot in sources)
        self._model.reorder(targets, sources, age, move=True)
        self._rows.move(targets, sources)
        for target, source in zip(targets, sources, strict=True):
            image, row = self._owner.pop(source)
            self._owner[target], self._ages[target] = (image, row), self._ages.pop(source)
            image.slots[row] = target
            self._mark(image.job.decoding, [source], False)
            self._mark(image.job.decoding, [target], True)
        self._free_slots = [slot for slot in range(self._model.slots) if slot not in self._owner]

    def _step(self) -> None:
        grain = self._model.granularity
        n = -(-(max(self._owner) + 1) // grain) * grain
        memories = max(image.memory for image in self._images) + 1
        most_rows = max(image.rows for image in self._images)
        logits = self._model.step(self._rows.token[:n], max(self._ages.values()), memories, most_rows)
        for options in {image.job.decoding: None for image in self._images}:
            if isinstance(options, Sample):
                self._rows.sample(logits, options, self._groups[options][:n])
        for image in self._images:
            if image.search is not None and image.slots and not image.search.done:
                self._advance_beams(image, logits)
        for slot in self._ages:
            self._ages[slot] += 1
        self.steps += 1
        self.row_steps += len(self._owner)

    def _advance_beams(self, image: _Image, logits: Tensor) -> None:
        assert image.search is not None
        slots = [image.slots[row] for row in range(image.rows)]
        fed = self._ages[slots[0]]  # tokens after the start that these rows have been fed
        index = torch.tensor(slots, device=self._model.device)
        if fed < len(image.job.prompt):
            self._rows.token[index] = image.job.prompt[fed]
            return
        tokens, sources = image.search.advance(logits[index])
        moved = [(slot, slots[source]) for slot, source in zip(slots, sources, strict=True) if slot != slots[source]]
        if moved and not image.search.done:
            self._model.reorder([to for to, _ in moved], [of for _, of in moved], fed + 1)
        self._rows.token[index] = torch.tensor(tokens, device=self._model.device)

    def _collect(self) -> Iterator[Finished]:
        done = set(self._rows.done.nonzero()[:, 0].tolist())
        for image in list(self._images):
            if image.search is not None:
                if image.search.done:
                    self._leave(image, dict(image.slots))
                    for draw, best in enumerate(image.search.best(image.job.draws)):
                        yield _finished(image.job, draw, best)
                continue
            ended = {row: slot for row, slot in image.slots.items() if slot in done}
            written = self._rows.take(list(ended.values())) if ended else []
            self._leave(image, ended)
            for row, what in zip(ended, written, strict=True):
                yield _finished(image.job, row, what)

    def _leave(self, image: _Image, rows: dict[int, int]) -> None:
        """Free the slots of rows that ended, and the image's memory with its last row."""
        if not rows:
            return
        slots = sorted(rows.values())
        self._model.evict(slots)
        self._mark(image.job.decoding, slots, False)
        for row, slot in rows.items():
            del image.slots[row], self._owner[slot], self._ages[slot]
        self._free_slots = sorted([*self._free_slots, *slots])
        if not image.slots and not image.waiting:
            self._images.remove(image)
            self._free_memories = sorted([*self._free_memories, image.memory])
