"""What the demo's captions are worth: each claim judged against the scene it was made of, as tables for its page.

The control is the same captions held against other scenes: what a captioner that does not look would get.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from captioners.core.run_dir import RunDir
from captioners.data.drawn_scene import Scene, from_json
from captioners.data.source import Sample, Source
from captioners.jobs.measure.truth import judged
from captioners.metrics.diversity import diversity
from captioners.metrics.faithfulness import Judged, captions_true, claims_true, coverage, unparseable
from captioners.metrics.intervals import Interval, mean
from captioners.report.page import Section

GOAL = 0.9
"""The share of true claims that a voice's greedy captions are to reach."""
PRETRAINED = "pretrained"
_FIXED = "\u00a0"  # a space at which no line is broken
_KINDS = ("shape", "colour", "size", "texture", "count", "relation")
_DIVERSITY = ("distinct-2", "Div-2", "unique captions", "length")

Key = tuple[str, str]
"""Shard and key of an image."""


@dataclass(frozen=True)
class Layer:
    """One member's captions, image by image, judged against their own scenes and against others."""

    keys: list[Key]
    captions: list[list[str]]
    own: list[Judged]
    shuffled: list[Judged]
    """Of greedy captions only."""

    @property
    def true(self) -> Interval:
        """Share of true claims."""
        return claims_true(self.own)

    @property
    def true_of_others(self) -> Interval:
        """The same, of the scenes of other images."""
        return claims_true(self.shuffled)


def measure(run: RunDir, source: Source) -> dict[str, Layer]:
    """Return every member's captions, judged; image k's are also held against the scene half the set away."""
    scenes = scenes_of(source)
    keys = list(scenes)
    half = len(keys) // 2
    other = {key: scenes[keys[(place + half) % len(keys)]] for place, key in enumerate(keys)}
    return {layer.name: _layer(run, layer.name, scenes, other) for layer in run.layers()}


def scenes_of(source: Source) -> dict[Key, Scene]:
    """Return the scene of every sample by its shard and key, in order."""
    found = {}
    for shard in source.shards():
        for sample in source.samples(shard):
            if isinstance(sample, Sample):
                found[sample.shard, sample.key] = from_json(sample.meta["scene"])
    return found


def _layer(run: RunDir, name: str, scenes: Mapping[Key, Scene], other: Mapping[Key, Scene]) -> Layer:
    rows = run.captions([name]).to_pylist()
    by_image: dict[Key, list[tuple[int, str]]] = {}
    for row in rows:
        by_image.setdefault((row["shard"], row["key"]), []).append((row["draw"], row["text"]))
    captions = {key: [text for _, text in sorted(by_image[key])] for key in scenes if key in by_image}
    return Layer(
        keys=list(captions),
        captions=list(captions.values()),
        own=[judged(texts, scenes[key]) for key, texts in captions.items()],
        shuffled=[judged(texts, other[key]) for key, texts in captions.items() if name.endswith("-greedy")],
    )


def sections(layers: Mapping[str, Layer], voices: Sequence[str]) -> list[Section]:
    """Return the tables of the demo's page."""
    return [_truth(layers, voices), _trade(layers, voices), _kinds(layers, voices)]


def finding(layers: Mapping[str, Layer], voice: str) -> str:
    """Say in one line what a voice's greedy captions reached, and whether that is the goal."""
    greedy, before = layers[f"{voice}-greedy"], layers[f"{PRETRAINED}-greedy"]
    reached = "the goal of 90 % is reached" if greedy.true.value >= GOAL else "the goal of 90 % is not reached"
    apart = not greedy.true.touches(before.true) and not greedy.true.touches(greedy.true_of_others)
    beaten = "intervals do not touch" if apart else "intervals touch"
    return (
        f"{voice}: {share(greedy.true)} of claims true ({reached}); pretrained {share(before.true)}, "
        f"shuffled images {share(greedy.true_of_others)}: {beaten}"
    )


def _truth(layers: Mapping[str, Layer], voices: Sequence[str]) -> Section:
    rows = []
    for name in (PRETRAINED, *voices):
        layer = layers[f"{name}-greedy"]
        rows.append(
            (
                name,
                share(layer.true),
                share(layer.true_of_others),
                share(captions_true(layer.own)),
                share(unparseable(layer.own)),
                share(coverage(layer.own, 1)),
                f"{_claims(layer):.1f}",
            )
        )
    return Section(
        title="What greedy captions say is true",
        text=f"{len(layers[f'{PRETRAINED}-greedy'].own):,} held-out scenes, one caption of each captioner. A claim is "
        "one thing said: an attribute, a number, or how two things stand. The control holds the same captions against "
        f"other scenes. The goal for a fine-tuned voice is 90{_FIXED}% of claims true.",
        columns=(
            "captioner",
            "claims true",
            "claims true of other scenes",
            "captions wholly true",
            "captions unparseable",
            "facts told",
            "claims a caption",
        ),
        rows=rows,
        note=" ".join(finding(layers, voice) + "." for voice in voices)
        + " In brackets: 95 % intervals, bootstrapped over images. What the checker cannot read is neither true nor "
        "false and stands apart.",
    )


def _trade(layers: Mapping[str, Layer], voices: Sequence[str]) -> Section:
    rows = []
    for name, layer in layers.items():
        if not name.startswith(tuple(voices)):
            continue
        made = len(layer.captions[0])
        found = {metric.name: mean(values) for metric, values in diversity(layer.captions).items()}
        rows.append(
            (
                name,
                str(made),
                share(layer.true),
                share(captions_true(layer.own)),
                share(unparseable(layer.own)),
                share(coverage(layer.own, made)),
                *(_number(found[kind]) if made > 1 or kind == "length" else "–" for kind in _DIVERSITY),
            )
        )
    return Section(
        title="What diversity costs",
        text="The same voices by decoding: greedy takes the likeliest word, a beam the likeliest captions, top-p draws "
        "from the captioner's distribution. Diversity is compared at an equal number of captions an image.",
        columns=(
            "member",
            "captions an image",
            "claims true",
            "captions wholly true",
            "unparseable",
            "facts told together",
            "distinct-2",
            "Div-2",
            "unique",
            "words",
        ),
        rows=rows,
        note="Diversity is blind to meaning: a contradiction is as diverse as a paraphrase. Read it with the claims.",
    )


def _kinds(layers: Mapping[str, Layer], voices: Sequence[str]) -> Section:
    names = [f"{name}-greedy" for name in (PRETRAINED, *voices)]
    rows = [
        (kind, *(share(claims_true(layers[name].own, kind)) for name in names))
        for kind in _KINDS
        if any(claims_true(layers[name].own, kind).value >= 0 for name in names)
    ]
    return Section(title="Claims true, by kind", columns=("kind", *names), rows=rows, note="–: no such claim was made.")


def _claims(layer: Layer) -> float:
    counts = [sum(c.true is not None for c in v.claims) for image in layer.own for v in image.verdicts]
    return sum(counts) / max(1, len(counts))


def share(interval: Interval) -> str:
    """Return '91.2 % [89.9, 92.4]', its ends kept together, or a dash where nothing is defined."""
    if isnan(interval.value):
        return "–"
    ends = "" if isnan(interval.low) else f" [{100 * interval.low:.1f},{_FIXED}{100 * interval.high:.1f}]"
    return f"{100 * interval.value:.1f}{_FIXED}%{ends}"


def _number(interval: Interval) -> str:
    return "–" if isnan(interval.value) else f"{interval.value:.2f}"
