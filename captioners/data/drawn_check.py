"""Whether a caption is true of a scene, claim by claim, and which of the scene's facts it states.

Exact, after "Going beneath the surface" (Xie et al. 2019, arXiv 1912.08960): a caption is parsed in a closed grammar
(`drawn_grammar`), its phrases are matched to things, and each claim is true or false. What is not in the grammar is
`unparseable`: an outcome of its own. What is not mentioned is not claimed.

Each 'a ...' of a caption means a thing of its own ('a red circle and a red circle' needs two); 'the ...' means any, so
that a thing can be named again. Phrases are matched to things so that the fewest claims are false, and among equals so
that shapes are right before colours, sizes and textures: 'a red circle' said of a blue circle and a red square is a
wrong colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from captioners.data.drawn_grammar import Clause, Phrase, parse
from captioners.data.drawn_scene import ATTRIBUTES, Scene, Thing, related

Kind = Literal["shape", "colour", "size", "texture", "count", "relation"]
Verdict = Literal["true", "false", "unparseable"]

_COUNTED = ("shape", "colour")
_ORDER: tuple[Kind, ...] = ("shape", "colour", "size", "texture", "count", "relation")


@dataclass(frozen=True)
class Claim:
    """One thing said: an attribute of something, an exact count, or how two things stand to each other."""

    kind: Kind
    said: str
    true: bool


@dataclass(frozen=True)
class CheckedClause:
    """A clause and its claims; without claims it could not be parsed."""

    text: str
    claims: tuple[Claim, ...]

    @property
    def verdict(self) -> Verdict:
        """true: all of its claims are."""
        if not self.claims:
            return "unparseable"
        return "true" if all(claim.true for claim in self.claims) else "false"


@dataclass(frozen=True)
class Checked:
    """A caption's clauses, each with its verdict."""

    clauses: tuple[CheckedClause, ...]

    @property
    def claims(self) -> tuple[Claim, ...]:
        """All claims of all clauses."""
        return tuple(claim for clause in self.clauses for claim in clause.claims)

    @property
    def verdict(self) -> Verdict:
        """false: a claim is; unparseable: none is, but a clause could not be parsed, or there is none; else true."""
        verdicts = {clause.verdict for clause in self.clauses}
        if "false" in verdicts:
            return "false"
        return "true" if verdicts == {"true"} else "unparseable"


@dataclass(frozen=True, order=True)
class Fact:
    """Something true of a scene: an attribute of a thing, two things' order along an axis, or a number of things."""

    kind: Kind
    of: tuple[int, ...]
    """Places in `Scene.things`: one for an attribute, two for a relation, none for a count."""
    value: str
    """'red'; 'left' or 'above' (of the first to the second); '2 red', '3 shape'."""


def check(caption: str, scene: Scene) -> Checked:
    """Return the verdict on a caption, clause by clause; any text has one, and nothing raises."""
    clauses = parse(caption)
    meant = _match(clauses, scene)
    return Checked(
        tuple(
            CheckedClause(clause.text, tuple(_claims(clause, things, scene)))
            for clause, things in zip(clauses, meant, strict=True)
        )
    )


def facts(scene: Scene) -> frozenset[Fact]:
    """Return all facts of a scene: 4 a thing, each pair's order along each axis that has one, and numbers.

    Numbers are those of all things, of each shape and of each colour that is there. This list is part of the frozen
    world.
    """
    found = [Fact(_kind(name), (k,), getattr(t, name)) for k, t in enumerate(scene.things) for name in ATTRIBUTES]
    found += [
        Fact("relation", (i, j), relation)
        for i, one in enumerate(scene.things)
        for j, other in enumerate(scene.things)
        for relation in ("left", "above")
        if related(one, relation, other)
    ]
    found.append(_count_fact(len(scene.things), "shape"))
    for name in _COUNTED:
        values = [getattr(thing, name) for thing in scene.things]
        found += [_count_fact(values.count(value), value) for value in values]
    return frozenset(found)


def facts_stated(caption: str, scene: Scene) -> frozenset[Fact]:
    """Return those facts of a scene that a caption's true clauses state.

    'A red circle' of a scene with two states facts of the first; several such captions still state the first's.
    """
    clauses = parse(caption)
    found: list[Fact] = []
    for clause, things in zip(clauses, _match(clauses, scene), strict=True):
        claims = _claims(clause, things, scene)
        if claims and all(claim.true for claim in claims):
            found += _stated(clause, things, scene)
    return frozenset(found)


def coverage(captions: Sequence[str], scene: Scene) -> float:
    """Return the share of a scene's facts that its captions state between them (coverage@m for m captions), 0..1."""
    stated = frozenset[Fact]().union(*(facts_stated(caption, scene) for caption in captions))
    return len(stated) / len(facts(scene))


# What a phrase means: a place in `Scene.things`, or None when every thing is taken (or it is a number of things).
_Meant = tuple[int | None, ...]
_Cost = tuple[int, ...]
_Path: TypeAlias = "tuple[_Path, _Meant] | None"  # linked, so that a step costs the same however long the caption is


def _match(clauses: Sequence[Clause], scene: Scene) -> list[_Meant]:
    """Return what each clause's phrases mean: the cheapest of all matchings in which no two 'a' share a thing.

    Clauses are coupled through the set of things taken alone, 16 sets at most; so the best way to reach each set is
    kept, clause by clause, which is exact and linear in the caption's length. Among equals the first found stays.
    """
    best: dict[int, tuple[_Cost, _Path]] = {0: ((0,) * (1 + len(_ORDER)), None)}
    for clause in clauses:
        reached: dict[int, tuple[_Cost, _Path]] = {}
        priced = [(meant, *_price(clause, meant, scene)) for meant in _meanings(clause, len(scene.things))]
        for taken, (cost, path) in best.items():
            for meant, takes, more in priced:
                if taken & takes:
                    continue
                total = tuple(map(sum, zip(cost, more, strict=True)))
                if taken | takes not in reached or total < reached[taken | takes][0]:
                    reached[taken | takes] = (total, (path, meant))
        best = reached
    _, path = min(best.values(), key=lambda found: found[0])
    meanings: list[_Meant] = []
    while path is not None:
        path, meant = path
        meanings.append(meant)
    return meanings[::-1]


def _meanings(clause: Clause, number: int) -> list[_Meant]:
    found: list[_Meant] = [()]
    for phrase in clause.phrases:
        places = (None,) if isinstance(phrase.quantifier, int) else (*range(number), None)
        found = [(*meant, place) for meant in found for place in places]
    both_new = len(clause.phrases) == 2 and all(phrase.quantifier == "a" for phrase in clause.phrases)
    return [meant for meant in found if not (both_new and meant[0] is not None and meant[0] == meant[1])]


def _price(clause: Clause, meant: _Meant, scene: Scene) -> tuple[int, _Cost]:
    """Return the things that a reading takes, as bits, and how many of its claims are false: in all, then by kind."""
    pairs = zip(clause.phrases, meant, strict=True)
    takes = sum(1 << place for phrase, place in pairs if phrase.quantifier == "a" and place is not None)
    wrong = [claim.kind for claim in _claims(clause, meant, scene) if not claim.true]
    return takes, (len(wrong), *(wrong.count(kind) for kind in _ORDER))


def _claims(clause: Clause, meant: _Meant, scene: Scene) -> list[Claim]:
    found: list[Claim] = []
    for phrase, place in zip(clause.phrases, meant, strict=True):
        if isinstance(phrase.quantifier, int):
            said = f"{phrase.quantifier} {_words(phrase)}"
            found.append(Claim("count", said, len(_fitting(phrase, scene)) == phrase.quantifier))
            continue
        thing = None if place is None else scene.things[place]
        if not any(name == "shape" for name, _ in phrase.attributes):
            found.append(Claim("shape", "shape", thing is not None))
        found += [Claim(_kind(name), value, _is(thing, name, value)) for name, value in phrase.attributes]
    if clause.relation:
        one, other = (None if place is None else scene.things[place] for place in meant)
        holds = one is not None and other is not None and related(one, clause.relation, other)
        found.append(Claim("relation", clause.relation, holds))
    return found


def _stated(clause: Clause, meant: _Meant, scene: Scene) -> list[Fact]:
    """Return the facts that a true clause states."""
    found: list[Fact] = []
    for phrase, place in zip(clause.phrases, meant, strict=True):
        places = [place] if place is not None else _fitting(phrase, scene)
        found += [Fact(_kind(name), (k,), value) for k in places for name, value in phrase.attributes]
        if isinstance(phrase.quantifier, int) and phrase.quantifier:
            counted = [value if name in _COUNTED else "" for name, value in phrase.attributes] or ["shape"]
            found += [_count_fact(phrase.quantifier, counted[0])] if len(counted) == 1 and counted[0] else []
    if clause.relation:
        one, other = (place for place in meant if place is not None)
        forward = clause.relation in ("left", "above")
        axis = "left" if clause.relation in ("left", "right") else "above"
        found.append(Fact("relation", (one, other) if forward else (other, one), axis))
    return found


def _count_fact(number: int, what: str) -> Fact:
    return Fact("count", (), f"{number} {what}")


def _fitting(phrase: Phrase, scene: Scene) -> list[int]:
    return [k for k, thing in enumerate(scene.things) if thing.has(dict(phrase.attributes))]


def _is(thing: Thing | None, name: str, value: str) -> bool:
    return thing is not None and getattr(thing, name) == value


def _kind(name: str) -> Kind:
    return next(kind for kind in _ORDER if kind == name)


def _words(phrase: Phrase) -> str:
    return " ".join(value for _, value in phrase.attributes) or "shape"
