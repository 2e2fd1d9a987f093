"""Beam search over log-probabilities, plain or in diverse groups, for the beams of one image.

Score = sum of log-probabilities / length ** length_penalty, the end token counted (as in `transformers`). An image stops when no
unfinished beam can still beat its worst kept caption, whatever it adds; `early_stopping` stops it at the first `width` captions.
Groups: diverse beam search, Vijayakumar et al. 2016 (arXiv 1610.02424, algorithm 1), Hamming diversity over the tokens of this step;
the penalty steers the choice and stays out of the score.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from captioners.decoding.constraints import constrain
from captioners.decoding.values import Beam


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


class _Group:
    """The beams of one group and the best captions they finished."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.scores = torch.full((size,), float("-inf"), dtype=torch.float64)
        self.scores[0] = 0.0  # all beams start as one
        self.logprobs = self.scores.clone()
        self.tokens: list[tuple[int, ...]] = [()] * size
        self.finished: list[Hypothesis] = []
        self.done = False

    def keep(self, hypothesis: Hypothesis) -> None:
        self.finished.append(hypothesis)
        self.finished.sort(key=lambda h: -h.score)
        del self.finished[self.size :]


class BeamSearch:
    """The search of one image: `advance` once a step until `done`, then `best`.

    Args:
        options: width, groups, penalties.
        end_id: the end token; max_tokens: content tokens at most.
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

        Rows of groups that are done go on as they are; their tokens mean nothing.
        """
        size = self.groups[0].size
        log_probs = logits.float().log_softmax(dim=1)
        tokens, sources = [], []
        chosen = torch.zeros(logits.shape[1], device=logits.device)
        self.written += 1
        for index, group in enumerate(self.groups):
            rows = slice(index * size, (index + 1) * size)
            if group.done:
                tokens += [self.end_id] * size
                sources += list(range(rows.start, rows.stop))
                continue
            next_tokens, parents = self._advance_group(group, log_probs[rows], chosen)
            if len(self.groups) > 1:
                chosen += torch.bincount(torch.tensor(next_tokens, device=chosen.device), minlength=len(chosen))
            tokens += next_tokens
            sources += [rows.start + parent for parent in parents]
        return tokens, sources

    def _advance_group(self, group: _Group, log_probs: Tensor, chosen: Tensor) -> tuple[list[int], list[int]]:
        size, vocabulary = log_probs.shape
        # The first step's beams are one beam, and the others' -inf would only fill the candidates with copies.
        alive = 1 if self.written == 1 else size
        steered = self._steer(group, log_probs[:alive], chosen)
        # Per row first: a caption has at most 2 * size candidates of its own among the 2 * size best of all.
        values, ids = steered.topk(min(2 * size, vocabulary), dim=1)
        values = values.double() + group.scores[:alive, None].to(values.device)
        flat, order = values.flatten().sort(descending=True, stable=True)
        flat, order = flat[: 2 * size].cpu(), order[: 2 * size].cpu()
        parents = (order // values.shape[1]).tolist()
        ids_flat = ids.flatten().cpu()[order].tolist()
        own = log_probs.cpu()[parents, ids_flat].double()
        penalty = chosen.cpu()[ids_flat].double() * self.options.diversity_penalty
        candidates = zip((flat + penalty).tolist(), (own + group.logprobs[parents]).tolist(), parents, ids_flat, flat.tolist(), strict=True)
        return self._select(group, list(candidates))

    def _steer(self, group: _Group, log_probs: Tensor, chosen: Tensor) -> Tensor:
        """Return what this step chooses by: log-probabilities under the limits, less the groups' diversity penalty."""
        n, device = log_probs.shape[0], log_probs.device
        history = torch.zeros(n, max(1, len(self.prompt) + self.max_tokens), dtype=torch.long, device=device)
        written = self.written - 1
        length = len(self.prompt) + written
        if length:
            history[:, :length] = torch.tensor([self.prompt + group.tokens[row] for row in range(n)], device=device)
        counts = torch.full((n,), length, device=device)
        scores = constrain(log_probs.clone(), history, counts, torch.full_like(counts, written), self.options, self.end_id)
        return scores - self.options.diversity_penalty * chosen if self.options.groups > 1 else scores

    def _select(self, group: _Group, candidates: list[tuple[float, float, int, int, float]]) -> tuple[list[int], list[int]]:
        """Finish and continue the candidates (score, log-probability, parent, token, steered), best first."""
        size, last = group.size, self.written >= self.max_tokens
        going: list[tuple[float, float, int, int]] = []
        for rank, (score, logprob, parent, token, steered) in enumerate(candidates):
            if steered == float("-inf"):
                continue
            ends = token == self.end_id
            if (ends or last) and rank < size:
                content = group.tokens[parent] if ends else (*group.tokens[parent], token)
                length = self.written  # the end token counts like any other
                group.keep(Hypothesis(content, logprob, score / length**self.options.length_penalty, ends))
            if not ends and len(going) < size:
                going.append((score, logprob, parent, token))
        if not last and going:
            best = going[0][0]
        tokens = [token for _, _, _, token in going]
        parents = [parent for _, _, parent, _ in going]
        histories = [(*group.tokens[parent], token) for _, _, parent, token in going]
        short = size - len(going)
        group.tokens = histories + [()] * short
        group.scores = torch.tensor([score for score, *_ in going] + [float("-inf")] * short, dtype=torch.float64)
        group.logprobs = torch.tensor([logprob for _, logprob, *_ in going] + [float("-inf")] * short, dtype=torch.float64)
        group.done = last or not going or self._settled(group, best)
        return tokens + [self.end_id] * short, parents + [0] * short

    def _settled(self, group: _Group, best: float) -> bool:
        if len(group.finished) < group.size:
            return False
        if self.options.early_stopping:
            return True
        # Sums only fall. A positive exponent favours the longest caption, a negative one the shortest.
        alpha = self.options.length_penalty
        length = self.max_tokens if alpha > 0 else self.written + 1
        return best / length**alpha <= group.finished[-1].score

    def best(self, count: int) -> list[Hypothesis]:
        """Return the `count` best captions: by score, and with groups the best of each group before any second best."""
        ranked = [(rank, -h.score, h) for group in self.groups for rank, h in enumerate(group.finished)]
        return [h for _, _, h in sorted(ranked, key=lambda r: r[:2])[:count]]
