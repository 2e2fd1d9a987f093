"""What the engine knows of each row slot, on the device: its tokens so far, its random numbers, whether it is done.

Everything a step needs stays on the device, so that the host need not wait for a token before it starts the next step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from captioners.decoding.constraints import constrain
from captioners.decoding.sampling import draw
from captioners.decoding.values import Sample


@dataclass(frozen=True)
class Written:
    """What a row wrote: content tokens, their log-probability with the end token's, and whether the end token came."""

    tokens: tuple[int, ...]
    logprob: float
    ended: bool


class Rows:
    """The state of S slots.

    Args:
        slots: S.
        length: T, most tokens a row can hold, start excluded.
        end_id: the end token.
        device: where the state lives.
    """

    def __init__(self, slots: int, length: int, end_id: int, device: torch.device) -> None:
        self.end_id = end_id
        self.token = torch.zeros(slots, dtype=torch.long, device=device)
        """What each slot feeds next."""
        self._history = torch.zeros(slots, length, dtype=torch.long, device=device)
        self._uniforms = torch.zeros(slots, length, dtype=torch.float64, device=device)
        self._length, self._prompt, self._limit = (torch.zeros_like(self.token) for _ in range(3))
        self._logprob = torch.zeros(slots, dtype=torch.float64, device=device)
        self.done = torch.ones(slots, dtype=torch.bool, device=device)
        self._ended = torch.zeros(slots, dtype=torch.bool, device=device)

    def place(self, slot: int, start_id: int, prompt: tuple[int, ...], limit: int, uniforms: Tensor | None) -> None:
        """Begin a row: feed the start token, then `prompt`, then at most `limit` tokens drawn by `uniforms`.

        Without `uniforms` the row is not drawn here: someone else writes its `token`.
        """
        self.token[slot] = start_id
        self._history[slot] = 0
        if prompt:
            self._history[slot, : len(prompt)] = torch.tensor(prompt, device=self.token.device)
        if uniforms is not None:
            self._uniforms[slot, : len(uniforms)] = uniforms.to(self.token.device)
        self._length[slot], self._prompt[slot], self._limit[slot] = 0, len(prompt), limit
        self._logprob[slot], self._ended[slot] = 0.0, False
        self.done[slot] = uniforms is None

    def sample(self, logits: Tensor, options: Sample, member: Tensor) -> None:
        """Draw the next token of each unfinished row among the first n that `member` [n] marks, from logits [n, V]."""
        n = logits.shape[0]
        history, length, prompt = self._history[:n], self._length[:n], self._prompt[:n]
        active = member & ~self.done[:n]
        written = (length - prompt).clamp(min=0)
        log_probs = logits.log_softmax(dim=1)
        # Filters see no difference between logits and log-probabilities; the penalty does, and is defined on logits.
        scores = log_probs if options.repetition_penalty == 1.0 else logits.clone()
        constrain(scores, history, length, written, options, self.end_id)
        number = self._uniforms[:n].gather(1, written.clamp(max=self._uniforms.shape[1] - 1)[:, None])[:, 0]
        drawn = draw(scores, options, number, active)
        forced = length < prompt
        place = length.clamp(max=history.shape[1] - 1)[:, None]
        token = torch.where(forced, history.gather(1, place)[:, 0], drawn)
        gain = log_probs.gather(1, token[:, None])[:, 0].double()  # what is forbidden was not drawn
        ends = (token == self.end_id) & ~forced & active
        goes = active & ~ends
        history.scatter_(1, place, torch.where(goes, token, history.gather(1, place)[:, 0])[:, None])
        self._logprob[:n] += torch.where(active & ~forced, gain, 0.0)
        self._length[:n] += goes
        self._ended[:n] |= ends
        self.done[:n] |= ends | (active & (self._length[:n] - prompt >= self._limit[:n]))
        self.token[:n] = torch.where(active, token, self.token[:n])

    def take(self, slots: list[int]) -> list[Written]:
        """Return what the rows of `slots` wrote; waits for the device, once for all of them."""
        index = torch.tensor(slots, device=self.token.device)
        ends = torch.stack([self._prompt[index], self._length[index], self._ended[index].long()], dim=1).tolist()
        rows = zip(ends, self._history[index].tolist(), self._logprob[index].tolist(), strict=True)
        return [
            Written(tuple(tokens[first:last]), logprob, bool(ended)) for (first, last, ended), tokens, logprob in rows
        ]

    def move(self, targets: list[int], sources: list[int]) -> None:
        """Carry rows to other slots; their old slots are done."""
        to, of = torch.tensor(targets, device=self.token.device), torch.tensor(sources, device=self.token.device)
        numbers = (self._length, self._prompt, self._limit, self._logprob)
        for state in (self.token, self._history, self._uniforms, *numbers, self._ended, self.done):
            state[to] = state[of]
        self.done[of] = True
