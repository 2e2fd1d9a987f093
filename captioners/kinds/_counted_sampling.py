"""Our sampling inside transformers' `generate`: the counter-based random numbers choose each token, and nothing else.

`generate` keeps its caches and knows every model; this logits processor leaves it no choice but the token that was
drawn, so that its own generator decides nothing.
"""

import torch
from torch import Tensor
from transformers import LogitsProcessor, NoRepeatNGramLogitsProcessor, RepetitionPenaltyLogitsProcessor

from captioners.decoding.sampling import draw
from captioners.decoding.values import Sample


class CountedSampling(LogitsProcessor):  # type: ignore[misc]  # transformers has no types
    """Draws one batch of rows; made anew for each.

    Args:
        options: how to draw. Its penalties see what was written, not the prompt.
        uniforms: in [0, 1), float64 [R, T], the number of each row and step.
        end_ids: tokens that end a caption, long [E].
    """

    def __init__(self, options: Sample, uniforms: Tensor, end_ids: Tensor) -> None:
        self._options, self._uniforms, self._end_ids = options, uniforms, end_ids
        rows = uniforms.shape[0]
        self._going = torch.ones(rows, dtype=torch.bool, device=uniforms.device)
        self._steps: list[Tensor] = []
        self._penalties: list[LogitsProcessor] = []
        if options.repetition_penalty != 1.0:
            self._penalties.append(RepetitionPenaltyLogitsProcessor(options.repetition_penalty))
        if options.no_repeat_ngram:
            self._penalties.append(NoRepeatNGramLogitsProcessor(options.no_repeat_ngram))
        self.logprobs = torch.zeros(rows, dtype=torch.float64, device=uniforms.device)
        """Sum of each row's log-probabilities, temperature 1, before any filter, end token included, float64 [R]."""

    @property
    def tokens(self) -> Tensor:
        """What was drawn, long [R, T]; after its end token, a row's are of no meaning."""
        return torch.stack(self._steps, dim=1)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002  # holds the prompt, or does not
        """Return scores [R, V] of which only the token drawn is possible."""
        scores = scores.float()
        step, logprobs = len(self._steps), scores.log_softmax(dim=1)
        for penalty in self._penalties if step else ():
            scores = penalty(self.tokens, scores)
        if step < self._options.min_tokens:
            scores = scores.index_fill(1, self._end_ids, float("-inf"))
        tokens = draw(scores, self._options, self._uniforms[:, step], self._going)
        self.logprobs += torch.where(self._going, logprobs.gather(1, tokens[:, None])[:, 0].double(), 0.0)
        self._going &= ~torch.isin(tokens, self._end_ids)
        self._steps.append(tokens)
        return torch.full_like(scores, float("-inf")).scatter_(1, tokens[:, None], 0.0)
