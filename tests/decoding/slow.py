"""Decoding written out plainly, in numpy and loops, to compare the fast one with."""

import itertools

import numpy as np


def distribution(logits, *, temperature=1.0, top_k=None, top_p=None, min_p=None, temperature_last=False):
    """The filtered distribution of one row, by sorting; `temperature_last` is open_clip's order, which is wrong."""
    scores = np.asarray(logits, dtype=np.float64)
    if not temperature_last:
        scores = scores / temperature
    keep = np.ones(len(scores), bool)
    if top_k is not None:
        keep &= scores >= np.sort(scores)[::-1][min(top_k, len(scores)) - 1]
    probabilities = np.where(keep, np.exp(scores - scores.max()), 0)
    probabilities /= probabilities.sum()
    if top_p is not None and top_p < 1:
        mass = 0.0
        for token in np.argsort(-probabilities, kind="stable"):
            edge = probabilities[token]
            mass += edge
            if mass >= top_p:
                break
        probabilities = np.where(probabilities >= edge, probabilities, 0)
    if min_p is not None:
        probabilities = np.where(probabilities >= min_p * probabilities.max(), probabilities, 0)
    if temperature_last:
        probabilities = probabilities ** (1 / temperature)
    return probabilities / probabilities.sum()


def log_softmax(logits):
    logits = np.asarray(logits, dtype=np.float64)
    return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())


def every_caption(step, vocabulary, end, most, least):
    """(content, log-probability, ended) of every caption of at most `most` tokens; `step` gives log-probabilities."""
    allowed = [token for token in range(1, vocabulary) if token != end]
    for length in range(most + 1):
        for content in itertools.product(allowed, repeat=length):
            total = sum(step(content[:place])[token] for place, token in enumerate(content))
            if length == most:
                yield content, total, False
            elif length >= least:
                yield content, total + step(content)[end], True


def diverse_beam(step, *, end, most, width, groups, penalty, alpha):
    """Diverse beam search as in the paper: group after group in a step; returns each group's (content, score)s."""
    size = width // groups
    beams = [[((), 0.0)] for _ in range(groups)]
    finished = [[] for _ in range(groups)]
    for length in range(1, most + 1):
        used = []
        for group in range(groups):
            if not beams[group]:
                continue
            candidates = []
            for content, score in beams[group]:
                table = step(content)
                for token in range(1, len(table)):
                    total = score + table[token]
                    candidates.append((total - penalty * used.count(token), total, content, token))
            candidates.sort(key=lambda c: -c[0])
            for _, total, content, token in candidates[:size]:
                if token == end or length == most:
                    whole = content if token == end else (*content, token)
                    finished[group].append((whole, total / length**alpha))
            finished[group] = sorted(finished[group], key=lambda f: -f[1])[:size]
            alive = [(total, (*content, token)) for _, total, content, token in candidates if token != end][:size]
            used += [content[-1] for _, content in alive]
            beams[group] = [(content, total) for total, content in alive]
            bound = (most if alpha > 0 else length + 1) ** alpha
            if len(finished[group]) == size and max(t for t, _ in alive) / bound <= finished[group][-1][1]:
                beams[group] = []
    return finished
