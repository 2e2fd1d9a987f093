"""Seconds that one worker spends on an image, captioner by captioner: scaled from a calibration, or from operations.

Scaled: decoding and writing go with a member's rows and steps, and captioners that share an image encode pay for it
once; a pass waits for pictures as its first captioner did alone. Counted in operations: (tower + cross-attention memory
+ steps of all rows) / (peak x utilisation), a multiplication with its addition two, for the kind coca alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from captioners.core.errors import UserError
from captioners.jobs.plan.calibration import (
    Calibration,
    LayerFigures,
    Range,
    Voice,
    how_of,
    loads_of,
    rows_of,
)
from captioners.jobs.plan.load import configuration_named
from captioners.jobs.plan.rows import Known, Row
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.models import coca
from captioners.models.cost import Cost, cost_of
from captioners.models.hardware import Gpu

_USUAL_CONTEXT = 76


@dataclass(frozen=True)
class Change:
    """The same recipe otherwise: what a lever of a plan does."""

    draws: Mapping[str, int] = field(default_factory=dict)
    """Member -> draws in place of its own."""
    cap: int | None = None
    """Captions end at so many tokens."""
    share: bool | None = None
    """Whether all captioners share one image encode; None: those that do."""
    precision: str | None = None

    def of(self, member: Member) -> Member:
        """Return a member as this change makes it."""
        return member.model_copy(update={"draws": self.draws.get(member.called, member.draws)})


NO_CHANGE = Change()


@dataclass(frozen=True)
class Pace:
    """Seconds of one worker for an image, by captioner, each with what its place in its pass leaves to it."""

    each: tuple[Range, ...]
    known: Known
    how: str

    def seconds(self, images: Sequence[float]) -> Range:
        """Return the seconds of one worker for so many images of each captioner."""
        low, high = (sum(n * each[end] for n, each in zip(images, self.each, strict=True)) for end in (0, 1))
        return low, high


def matched(calibration: Calibration, recipe: GenerateRecipe) -> list[int]:
    """Return which of the calibration's captioners the recipe's are, in the order of its groups.

    Raises:
        UserError: a member was not measured, or with another decoding.
    """
    found = []
    for members in recipe.groups:
        fitting = (
            n for n, v in enumerate(calibration.voices) if v.loads == loads_of(members[0]) and _covers(v, members)
        )
        number = next(fitting, None)
        if number is None:
            there = ", ".join(layer.member for v in calibration.voices for layer in v.layers)
            raise UserError(
                f"the calibration holds no measurement of {', '.join(m.called for m in members)} as this recipe has it "
                f"(it holds {there}); measure it with captioners plan RECIPE --save FILE"
            )
        found.append(number)
    return found


def _covers(voice: Voice, members: Sequence[Member]) -> bool:
    known = {layer.member: layer.how for layer in voice.layers}
    return all(known.get(member.called) == how_of(member) for member in members)


def encodes_of(
    calibration: Calibration | None, recipe: GenerateRecipe, change: Change = NO_CHANGE
) -> list[list[list[int]]]:
    """Return pass by pass the captioners of each image encode; where that is not known, each has its own."""
    if calibration is None or not calibration.encodes or change.share:
        captioners = range(len(recipe.groups))
        return [[list(captioners)]] if change.share else [[[number]] for number in captioners]
    place = {number: own for own, number in enumerate(matched(calibration, recipe))}
    passes = [[[place[n] for n in served if n in place] for served in encodes] for encodes in calibration.encodes]
    return [found for encodes in passes if (found := [served for served in encodes if served])]


def measured_pace(calibration: Calibration, recipe: GenerateRecipe, change: Change = NO_CHANGE) -> Pace:
    """Return the pace of the machine that was measured."""
    voices = [calibration.voices[number] for number in matched(calibration, recipe)]
    encodes = encodes_of(calibration, recipe, change)
    each = []
    for number, members in enumerate(recipe.groups):
        voice = voices[number]
        more = _work(voice, [change.of(m) for m in members], change.cap) / _work(voice, None, None)
        weights = {"decoding": more, "writing": more, **_once(number, encodes)}
        each.append(voice.seconds(weights))
    units = min(len(voice.units) for voice in voices)
    changed = change != NO_CHANGE or any(
        member.draws != layer.draws
        for voice, members in zip(voices, recipe.groups, strict=True)
        for member, layer in ((m, _layer(voice, m.called)) for m in members)
    )
    unit = f"95 % over {units:,} units each" if units > 1 else "one unit, so no interval"
    return Pace(tuple(each), "modelled" if changed or len(encodes) < len(voices) else "measured", unit)


def _once(number: int, encodes: Sequence[Sequence[Sequence[int]]]) -> dict[str, float]:
    """Return weights that leave out what another captioner of the pass has done already."""
    for together in encodes:
        for served in together:
            if number in served:
                not_first = number != served[0]
                waits = number != together[0][0]
                return ({"waiting": 0.0} if waits else {}) | ({"encoding": 0.0} if not_first else {})
    return {}


def _layer(voice: Voice, member: str) -> LayerFigures:
    return next(layer for layer in voice.layers if layer.member == member)


def _work(voice: Voice, members: Sequence[Member] | None, cap: int | None) -> float:
    """Return row-steps of an image: of these members, or as it was measured."""
    if members is None:
        return sum(_rows(layer) * layer.steps() for layer in voice.layers)
    return sum(rows_of(member) * _layer(voice, member.called).steps(cap) for member in members)


def _rows(layer: LayerFigures) -> int:
    width = layer.how["decoding"].get("width")
    return int(width) if width is not None else layer.draws


def modelled_pace(
    recipe: GenerateRecipe,
    gpu: Gpu,
    assumed: Mapping[str, Row],
    calibration: Calibration | None = None,
    change: Change = NO_CHANGE,
) -> Pace:
    """Return the pace of a GPU on which nothing was measured; lengths are a calibration's, where there is one.

    Raises:
        UserError: a captioner of another kind than coca, whose operations nobody counts here.
    """
    groups = recipe.groups
    voices = [calibration.voices[number] for number in matched(calibration, recipe)] if calibration else None
    encodes = encodes_of(calibration, recipe, change)
    use = assumed["utilisation"]
    each = []
    for number, members in enumerate(groups):
        cost = cost_of_captioner(members[0])
        once = 0.0 if "encoding" in _once(number, encodes) else cost.encode
        peak = 1e12 * (gpu.fp32 if (change.precision or members[0].precision) == "fp32" else gpu.bf16)
        ends = []
        for end in (0, 1):
            flops = once + cost.memory
            for member in (change.of(member) for member in members):
                steps = _steps(voices[number] if voices else None, member, assumed, change.cap, end)
                flops += rows_of(member) * caption_flops(cost, steps)
            ends.append(flops / peak)
        each.append((ends[0] / use.high, ends[1] / use.low))
    how = f"operations / (peak x {use.low:.0%} to {use.high:.0%})"
    return Pace(tuple(each), "modelled", how)


def _steps(voice: Voice | None, member: Member, assumed: Mapping[str, Row], cap: int | None, end: int) -> float:
    if voice is not None:
        return _layer(voice, member.called).steps(cap)
    tokens, longest = assumed["caption_tokens"], longest_of(member)
    return min((tokens.low, tokens.high)[end], longest, cap or longest) + 1


def longest_of(member: Member) -> int:
    """Return how many tokens a member's captions have at most, as far as its recipe and architecture say."""
    context = member.context_length or _USUAL_CONTEXT
    if member.context_length is None and isinstance(member.captioner, str):
        config, _ = configuration_named(member.captioner)
        context = int(config["text_cfg"].get("context_length", _USUAL_CONTEXT))
    return min(member.decoding.max_tokens or context - 2, context - 2)


def caption_flops(cost: Cost, steps: float) -> float:
    """Return the operations of one row over so many steps, step t attending to t positions.

    >>> tiny = Cost(encode=100.0, memory=10.0, weights=50, width=4, image_tokens=2, self_layers=2, cross_layers=1)
    >>> caption_flops(tiny, 3) == sum(tiny.step_flops(rows=1, age=age) for age in (1, 2, 3))
    True
    """
    return steps * cost.step_flops(rows=1, age=0) + 4.0 * cost.width * cost.self_layers * steps * (steps + 1) / 2


def cost_of_captioner(member: Member) -> Cost:
    """Return what a captioner of the kind coca computes, from its architecture; no weights are loaded.

    Raises:
        UserError: it is of another kind. NotFoundError: nothing is called so.
    """
    if not isinstance(member.captioner, str):
        raise UserError(
            f"member '{member.called}': operations are counted of the kind coca alone; measure it on that GPU "
            "(captioners plan RECIPE --save FILE), then say --calibration FILE"
        )
    return _cost_named(member.captioner, member.context_length)


@cache
def _cost_named(captioner: str, context_length: int | None) -> Cost:
    config, _ = configuration_named(captioner)
    return cost_of(coca.outline(config if context_length is None else coca.with_context(config, context_length)))
