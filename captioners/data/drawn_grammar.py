"""The closed grammar of captions of the drawn world: text in, clauses out; what it does not know, it leaves unread.

    caption     = clause { ("," | "." | ";" | ":" | "|" | " - " | link) clause }      link: and, with, as well as, ...
    clause      = [opening] phrase [["is"] relation phrase]                           opening: there is, a photo of, ...
    phrase      = [quantifier] { size | texture | colour } noun                       each attribute at most once
    quantifier  = a | an | another | the | number                                     none: as 'a'
    relation    = left of | to the left of | ... | above | over | below | under ...

Other words for the same (`drawn_words.OTHER_WORDS`) are mapped first. A clause is read whole or not at all.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from captioners.data.drawn_scene import COLOURS, SHAPES, SIZES, TEXTURES
from captioners.data.drawn_words import LINKS, NOUNS, NUMBERS, OPENINGS, OTHER_WORDS, RELATION_WORDS, plural

_Tokens = tuple[str, ...]


@dataclass(frozen=True)
class Phrase:
    """Something spoken of: 'a large circle', 'the red star', 'two blue shapes'."""

    quantifier: str | int
    """'a': one that no other 'a' of the caption means; 'the': any; a number: exactly so many in the scene."""
    attributes: tuple[tuple[str, str], ...]
    """(attribute, value) in the caption's order; no shape for the noun 'shape'."""


@dataclass(frozen=True)
class Clause:
    """A piece of a caption that says one thing, or that could not be read."""

    text: str
    phrases: tuple[Phrase, ...]
    """None if it could not be read; two with a relation, else one."""
    relation: str = ""
    """left, right, above, below, or nothing."""


def parse(caption: str) -> list[Clause]:
    """Return the clauses of a caption in their order, read and unread ones; never raises."""
    clauses = []
    for piece in _BREAKS.split(caption.lower()):
        clauses += [_clause(words) for words in _split(_replaced(tuple(piece.split())))]
    return clauses


_BREAKS = re.compile(r"[.,;:|!?\n]|\s-\s")
# Tokens with a space in them, which no word of a caption can be: 'a circle left a square' says no relation.
_LINK = "and so"
_RELATIONS = {f"{relation} of": relation for relation in RELATION_WORDS}
_RELATION_TOKEN = {relation: token for token, relation in _RELATIONS.items()}

_ADJECTIVES = {
    value: name for name, values in (("size", SIZES), ("texture", TEXTURES), ("colour", COLOURS)) for value in values
}
_NUMBER = {word: number for number, word in enumerate(NUMBERS)}
_ONE = set(NOUNS)
_MANY = {plural(noun): noun for noun in NOUNS}
_OPENINGS = {tuple(words.split()) for words in OPENINGS}


def _substitutes() -> dict[_Tokens, str]:
    """Return what is replaced before parsing: other words, relations in several words, links."""
    table: dict[_Tokens, str] = {}
    for word, others in OTHER_WORDS.items():
        for other in others:
            table[tuple(other.split())] = _RELATION_TOKEN.get(word, word)
            if word in SHAPES:
                table[tuple(plural(other).split())] = plural(word)
    for relation, phrasings in RELATION_WORDS.items():
        for phrasing in phrasings:
            table[tuple(phrasing.split())] = _RELATION_TOKEN[relation]
    for link in LINKS:
        table[tuple(link.split())] = _LINK
    return table


_SUBSTITUTES = _substitutes()
_LONGEST = max(map(len, (*_SUBSTITUTES, *_OPENINGS)))


@dataclass(frozen=True)
class _Word:
    """A token of the grammar, and the words of the caption that it stands for."""

    token: str
    text: str


def _replaced(tokens: _Tokens) -> list[_Word]:
    """Return the tokens with the longest known sequences replaced, from left to right."""
    found: list[_Word] = []
    at = 0
    while at < len(tokens):
        length = next((n for n in range(_LONGEST, 0, -1) if tokens[at : at + n] in _SUBSTITUTES), 0)
        said = tokens[at : at + (length or 1)]
        found.append(_Word(_SUBSTITUTES.get(said, said[0]), " ".join(said)))
        at += len(said)
    return found


def _split(words: Sequence[_Word]) -> list[list[_Word]]:
    pieces: list[list[_Word]] = [[]]
    for word in words:
        if word.token == _LINK:
            pieces.append([])
        else:
            pieces[-1].append(word)
    return [piece for piece in pieces if piece]


def _clause(words: list[_Word]) -> Clause:
    text, tokens = " ".join(word.text for word in words), [word.token for word in words]
    opening = next((n for n in range(_LONGEST, 0, -1) if tuple(tokens[:n]) in _OPENINGS), 0)
    phrase, rest = _phrase(tokens[opening:])
    if phrase is None:
        return Clause(text, ())
    if not rest:
        return Clause(text, (phrase,))
    if rest[0] == "is":
        rest = rest[1:]
    if not rest or rest[0] not in _RELATIONS:
        return Clause(text, ())
    other, left_over = _phrase(rest[1:])
    if other is None or left_over or isinstance(phrase.quantifier, int) or isinstance(other.quantifier, int):
        return Clause(text, ())
    return Clause(text, (phrase, other), _RELATIONS[rest[0]])


def _phrase(tokens: list[str]) -> tuple[Phrase | None, list[str]]:
    """Return the phrase that the tokens begin with, and what follows it."""
    quantifier, at = _quantifier(tokens)
    attributes: dict[str, str] = {}
    for at in range(at, len(tokens)):  # noqa: B020 - goes on where the quantifier ended
        word = tokens[at]
        if word in _ONE or (word in _MANY and isinstance(quantifier, int)):
            noun = _MANY.get(word, word)
            said = (*attributes.items(), *([("shape", noun)] if noun != "shape" else []))
            return Phrase(quantifier, said), tokens[at + 1 :]
        name = _ADJECTIVES.get(word)
        if name is None or name in attributes:
            break
        attributes[name] = word
    return None, tokens


def _quantifier(tokens: list[str]) -> tuple[str | int, int]:
    first = tokens[0] if tokens else ""
    if first in ("a", "an", "another"):
        return "a", 1
    if first == "the":
        return "the", 1
    if first in _NUMBER:
        return _NUMBER[first], 1
    if first.isascii() and first.isdecimal() and len(first) <= 2:
        return int(first), 1
    return "a", 0
