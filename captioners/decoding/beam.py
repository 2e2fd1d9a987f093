"""Beam search over log-probabilities, plain or in diverse groups, for the beams of one image.

Score = sum of log-probabilities / length ** length_penalty, the end token counted (as in `transformers`). An image
stops when no unfinished beam can still beat its worst kept caption, whatever it adds; `early_stopping` stops it at the
first `width` captions, and width 1 is greedy. Groups: diverse beam search, Vijayakumar et al. 2016 (arXiv 1610.02424,
algorithm 1), Hamming diversity over the tokens of this step; the penalty steers the choice and stays out of the score.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from captioners.decoding.constraints import constrain
from captioners.decoding.values import Beam

_NEVER = float("-inf")


@dataclass(frozen=True)
class Hypothesis:
    """A finished caption."""

    tokens: tuple[int, ...]
    """Without start, prompt and end."""
    logprob: float
    """Sum of the model's log-probabilities, end token included."""
    score: float
    ended: bool
    """False where the length limit cut it."""


class _Candidate(NamedTuple):
    score: float
    """Sum of log-probabilities under the limits."""
    logprob: float
    """Sum of the model's own."""
    parent: int
    token: int


class _Group:
    """The beams of one group and the best captions they finished."""

    def __init__(self, size: int) -> None:
        self.size = size
        # All beams start as one.
        self.scores, self.logprobs = ([0.0] + [_NEVER] * (size - 1) for _ in range(2))
        self.tokens: list[tuple[int, ...]] = [()] * size
        self.finished: list[Hypothesis] = []
        self.done = False

    def keep(self, hypothesis: Hypothesis) -> None:
        self.finished.append(hypothesis)
        self.finished.sort(key=lambda h: -h.score)
        del self.finished[self.size :]

    def go_on(self, going: list[_Candidate]) -> None:
        """Let the beams continue as `going`; beams beyond them are dead."""
        dead = self.size - len(going)
        self.tokens = [(*self.tokens[c.parent], c.token) for c in going] + [()] * dead
        self.scores = [c.score for c in going] + [_NEVER] * dead
        self.logprobs = [c.logprob for c in going] + [_NEVER] * dead


class BeamSearch:
    """The search of one image: `advance` once a step until `done`, then `best`.

    Args:
        options: width, groups, penalties.
        end_id: the end token.
        max_tokens: content tokens at most.
        prompt: tokens already fed after the start token; they count for repetition, not for length or score.
    """

    def __init__(self, options: Beam, end_id: int, max_tokens: int, prompt: tuple[int, ...] = ()) -> None:
        self.options, self.end_id, self.max_tokens, self.prompt = options, end_id, max_tokens, prompt
        size = options.width // options.groups
        self.groups = [_Group(size) for _ in range(options.groups)]
        self.written = 0

    @property
    def done(self) -> bool:
        """Whether no beam can improve what is finished."""
        return all(group.done for group in self.groups)

    def advance(self, logits: Tensor) -> tuple[list[int], list[int]]:
        """Take the logits [width, V] of every beam; return for each beam its next token and the beam it continues.

        Beams that are dead or of a group that is done get the end token; what they compute means nothing.
        """
        size = self.groups[0].size
        log_probs = logits.float().log_softmax(dim=1)
        chosen = torch.zeros(logits.shape[1], device=logits.device)  # by the groups before this one, in this step
        tokens, sources = [], []
        self.written += 1
        for first, group in zip(range(0, self.options.width, size), self.groups, strict=True):
            going = [] if group.done else self._advance_group(group, log_probs[first : first + size], chosen)
            if going and len(self.groups) > 1:
                picked = torch.tensor([c.token for c in going], device=chosen.device)
                chosen += torch.bincount(picked, minlength=len(chosen))
            tokens += [c.token for c in going] + [self.end_id] * (size - len(going))
            sources += [first + c.parent for c in going] + list(range(first + len(going), first + size))
        return tokens, sources

    def _advance_group(self, group: _Group, log_probs: Tensor, chosen: Tensor) -> list[_Candidate]:
        """Return how the group's beams continue, best first, after keeping those that end here."""
        alive = [row for row, score in enumerate(group.scores) if score > _NEVER]
        log_probs = log_probs[alive]
        limited = self._limited([group.tokens[row] for row in alive], log_probs)
        steered = limited - self.options.diversity_penalty * chosen if self.options.groups > 1 else limited
        # Per row first: a beam has at most 2 * size candidates of its own among the 2 * size best of all.
        best = steered.topk(min(2 * group.size, steered.shape[1]), dim=1)
        found = torch.stack([best.values, *(table.gather(1, best.indices) for table in (limited, log_probs))])
        ids = best.indices.cpu().tolist()
        candidates = []
        for place, rows in enumerate(zip(*found.double().cpu().tolist(), strict=True)):
            parent = alive[place]
            for token, steer, score, logprob in zip(ids[place], *rows, strict=True):
                if steer > _NEVER:
                    sums = (group.scores[parent] + score, group.logprobs[parent] + logprob)
                    candidates.append((group.scores[parent] + steer, _Candidate(*sums, parent, token)))
        candidates.sort(key=lambda c: -c[0])
        return self._select(group, [candidate for _, candidate in candidates[: 2 * group.size]])

    def _limited(self, written: list[tuple[int, ...]], log_probs: Tensor) -> Tensor:
        """Return the log-probabilities under the limits, for beams that wrote these tokens."""
        so_far = [self.prompt + tokens for tokens in written]
        history = torch.tensor(so_far, dtype=torch.long, device=log_probs.device)
        length = torch.full((len(written),), history.shape[1], device=log_probs.device)
        return constrain(log_probs.clone(), history, length, length - len(self.prompt), self.options, self.end_id)

    def _select(self, group: _Group, candidates: list[_Candidate]) -> list[_Candidate]:
        """Finish and continue the candidates, given best first; return those that go on."""
        last = self.written >= self.max_tokens
        going: list[_Candidate] = []
        for rank, candidate in enumerate(candidates):
            ends = candidate.token == self.end_id
            if (ends or last) and rank < group.size:
                content = group.tokens[candidate.parent] + (() if ends else (candidate.token,))
                score = self._score(candidate.score, self.written)  # the end token counts like any other
                group.keep(Hypothesis(content, candidate.logprob, score, ends))
            if not ends and len(going) < group.size:
                going.append(candidate)
        group.go_on(going)
        group.done = last or not going or self._settled(group)
        return going

    def _score(self, total: float, length: int) -> float:
        return float(total / length**self.options.length_penalty)

    def _settled(self, group: _Group) -> bool:
        """Whether the group's captions are final: no running beam can still beat the worst of them."""
        if len(group.finished) < group.size:
            return False
        if self.options.early_stopping or self.options.width == 1:
            return True
        # Sums only fall. A positive exponent favours the longest caption, a negative one the shortest.
        length = self.max_tokens if self.options.length_penalty > 0 else self.written + 1
        return self._score(max(group.scores), length) <= group.finished[-1].score

    def best(self, count: int) -> list[Hypothesis]:
        """Return the `count` best captions: by score, but the best of each group before any second best."""
        ranked = [(rank, -h.score, h) for group in self.groups for rank, h in enumerate(group.finished)]
        return [h for _, _, h in sorted(ranked, key=lambda r: r[:2])[:count]]
