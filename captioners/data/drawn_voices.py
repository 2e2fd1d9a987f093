"""Annotation voices of the drawn world: who says what of a scene, and in which words.

A voice is a policy with a seed of its own over the same scenes, and stands for a kind of caption set: `alt_text` for
web text (unreliable by intent), `short` for MSCOCO, `detailed` for DOCCI, `relational` for GBC and DCI, `count` for
counting sets and `paraphrased` for ReCap-COCO: the facts of `short`, caption by caption, in other words. All but
`alt_text` say nothing untrue, in the grammar that `drawn_check` reads. Everything is lower-case.

Captions belong to the frozen world: what changes one raises `WORLD_VERSION`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from captioners.core.errors import NotFoundError, near
from captioners.data.drawn_scene import ATTRIBUTES, RELATIONS, Draws, Scene, Thing, related
from captioners.data.drawn_web import web_text
from captioners.data.drawn_words import (
    LINKS,
    OTHER_WORDS,
    RELATION_WORDS,
    a,
    joined,
    number_of,
    words_for,
)


@dataclass(frozen=True)
class Voice:
    """How one voice writes a caption."""

    write: Callable[[Scene, Draws, Draws], str]
    """From a scene, the draws of what is said, and the draws of how it is put."""
    retells: str = ""
    """Another voice, with which it shares the draws of what is said."""


def captions(scene: Scene, voice: str, n: int, seed: int) -> list[str]:
    """Return `n` captions of a scene in one voice, repeats included; the first of them do not depend on `n`."""
    if voice not in VOICES:
        raise NotFoundError(f"no voice is named {voice!r}.{near(voice, VOICES)} Known: {', '.join(VOICES)}")
    told, found = VOICES[voice].retells or voice, []
    for k in range(n):
        what, how = Draws(f"{scene.name}/{told}/{seed}/{k}/what"), Draws(f"{scene.name}/{voice}/{seed}/{k}/how")
        found.append(VOICES[voice].write(scene, what, how))
    return found


def _short(scene: Scene, what: Draws, how: Draws) -> str:
    things = _salient(scene, what)
    return how.pick(("", "", "", "a picture of ", "there is ")) + joined(_each_a(things, ("colour",)))


def _salient(scene: Scene, draws: Draws) -> list[Thing]:
    """Return one or two things, the large ones mostly."""
    ranked = sorted(draws.shuffled(scene.things), key=lambda thing: (thing.size == "small") != draws.chance(0.15))
    return ranked[: 1 if draws.chance(0.35) else 2]


def _each_a(things: Sequence[Thing], attributes: tuple[str, ...]) -> list[str]:
    """Return a phrase for each thing; a second one of the same words is 'another'."""
    said: list[str] = []
    phrases = []
    for thing in things:
        words = words_for(thing, attributes)
        phrases.append(f"another {words}" if words in said else a(words))
        said.append(words)
    return phrases


def _detailed(scene: Scene, what: Draws, how: Draws) -> str:
    things = what.shuffled(scene.things) if what.chance(0.5) else list(scene.things)
    phrases = _each_a(things, ("size", "texture", "colour"))
    form = how.integer(0, 3)
    if form == 0 or len(phrases) == 1:
        return how.pick(("", "there is ", "the picture shows ")) + joined(phrases)
    if form == 1:
        return f"there is {joined(phrases[:-1])}. there is also {phrases[-1]}."
    if form == 2:
        return "; ".join(phrases)
    return f"{number_of(len(phrases), 'shape')}: {joined(phrases)}"


def _relational(scene: Scene, what: Draws, how: Draws) -> str:
    if len(scene.things) == 1:
        return a(words_for(scene.things[0], ("size", "colour")))
    pairs = [what.shuffled(pair) for pair in combinations(scene.things, 2)]
    said: list[str] = []
    named: list[Thing] = []
    for one, other in what.shuffled(pairs)[: what.integer(1, 2)]:
        relation = what.pick([relation for relation in RELATIONS if related(one, relation, other)])
        verb = how.pick(("", "is ")) if not said else "is "
        left = _again(one, named)
        named.append(one)
        right = _again(other, named)
        named.append(other)
        said.append(f"{left} {verb}{how.pick(RELATION_WORDS[relation])} {right}")
    return ". ".join(said)


def _again(thing: Thing, named: Sequence[Thing]) -> str:
    """Return 'the ...' for a thing that was named before, 'another ...' for a new one like it, else 'a ...'."""
    words = words_for(thing, ("colour",))
    if any(thing is other for other in named):
        return f"the {words}"
    return f"another {words}" if any(words_for(other, ("colour",)) == words for other in named) else a(words)


def _count(scene: Scene, what: Draws, how: Draws) -> str:
    by = what.pick(("shape", "colour", "shape", "colour", "all"))
    total = number_of(len(scene.things), "shape")
    if by == "all":
        return how.pick(("", "there are " if len(scene.things) > 1 else "there is ")) + total
    groups = []
    for value in ATTRIBUTES[by]:
        count = sum(getattr(thing, by) == value for thing in scene.things)
        if count:
            groups.append(number_of(count, value if by == "shape" else f"{value} shape"))
    order = how.shuffled(groups)
    if len(order) > 1 and what.chance(0.25):
        return f"{total}: {joined(order)}"
    return joined(order)


def _paraphrased(scene: Scene, what: Draws, how: Draws) -> str:
    things = _salient(scene, what)
    phrases: list[str] = []
    same = len({(thing.colour, thing.shape) for thing in things}) < len(things)
    for number, thing in enumerate(things):
        colour = how.pick(OTHER_WORDS[thing.colour])
        words = f"{colour} {how.pick(OTHER_WORDS[thing.shape])}"
        phrases.append(f"another {words}" if number and same else a(words))
    opening = how.pick(("", "", "we see ", "one can see ", "here is ", "this image contains "))
    return opening + f" {how.pick(LINKS)} ".join(phrases)


VOICES: dict[str, Voice] = {
    "alt_text": Voice(web_text),
    "short": Voice(_short),
    "detailed": Voice(_detailed),
    "relational": Voice(_relational),
    "count": Voice(_count),
    "paraphrased": Voice(_paraphrased, retells="short"),
}
"""Name -> voice; a voice is one entry here."""
