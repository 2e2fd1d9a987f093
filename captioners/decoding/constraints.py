"""What a caption may not do: end too early, repeat an n-gram, write the pad token; and the penalty on used words.

Works on a table of scores [n, V] (logits for sampling, log-probabilities for beams), in place, on the device.
"""

import torch
from torch import Tensor

from captioners.decoding.values import Limits

PAD = 0
"""Never generated: CoCa's masks and loss take id 0 for padding, though open_clip's vocabulary has a bare '!' there."""


def constrain(scores: Tensor, history: Tensor, length: Tensor, written: Tensor, limits: Limits, end_id: int) -> Tensor:
    """Apply `limits` to scores [n, V] in place and return them; a forbidden token scores -inf.

    Args:
        scores: logits or log-probabilities, float [n, V].
        history: the tokens so far, prompt included and start excluded, long [n, T]; unused places hold 0.
        length: how many of them count, long [n].
        written: of these, how many are not prompt, long [n].
        limits: what to apply.
        end_id: the end token.
    """
    if limits.repetition_penalty != 1.0:
        seen = scores.gather(1, history)
        penalised = torch.where(seen < 0, seen * limits.repetition_penalty, seen / limits.repetition_penalty)
        scores.scatter_(1, history, penalised)  # unused places touch token 0, which is forbidden below anyway
    if limits.no_repeat_ngram:
        scores.scatter_(1, _closing_ngrams(history, length, limits.no_repeat_ngram), float("-inf"))
    scores[:, PAD] = float("-inf")
    if limits.min_tokens:
        scores[:, end_id] = scores[:, end_id].masked_fill(written < limits.min_tokens, float("-inf"))
    return scores


def _closing_ngrams(history: Tensor, length: Tensor, size: int) -> Tensor:
    """Return tokens [n, windows] that would complete an n-gram seen before; 0 where a window forbids nothing."""
    n, places = history.shape
    if places < size:
        return history.new_zeros(n, 1)
    following = history[:, size - 1 :]  # the token after each window of size - 1
    ends = torch.arange(size - 1, places, device=history.device)
    matches = ends < length[:, None]
    if size > 1:
        at = (length[:, None] - size + 1 + torch.arange(size - 1, device=history.device)).clamp(min=0)
        tail = history.gather(1, at)  # the last size - 1 tokens
        windows = history.unfold(1, size - 1, 1)[:, : following.shape[1]]
        matches = matches & (windows == tail[:, None]).all(-1)
    return torch.where(matches, following, 0)
