"""Where in a caption of the drawn world each clause stands, with its verdict, and what is true of a scene, in words."""

import re

from captioners.data.drawn_check import Verdict, check
from captioners.data.drawn_scene import Scene
from captioners.data.drawn_words import a, words_for

_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


def clause_spans(caption: str, scene: Scene) -> list[tuple[int, int, Verdict]]:
    """Return (start, stop, verdict) of each clause, in order; they do not overlap, and links stand between them.

    Offsets are into the caption as it is given, in code points.
    """
    # Lower case may be longer ("İ"): no word of the grammar has such a letter, so another unread one may stand for it.
    lowered = "".join(low if len(low := letter.lower()) == 1 else "_" for letter in caption)
    spans, at = [], 0
    for clause in check(lowered, scene).clauses:
        # A clause's words are the caption's own, in order, but for the spaces between them.
        found = re.compile(r"\s+".join(map(re.escape, clause.text.split()))).search(lowered, at)
        if found is not None and found.end() > found.start():
            spans.append((found.start(), found.end(), clause.verdict))
            at = found.end()
    return spans


def things_in_words(scene: Scene) -> list[str]:
    """Return one phrase a thing, with where it is: 'a large striped red circle, top left'."""
    said = []
    for thing in scene.things:
        row, column = _ROWS[thing.cell // 3], _COLUMNS[thing.cell % 3]
        where = "centre" if (row, column) == ("middle", "centre") else f"{row} {column}"
        said.append(f"{a(words_for(thing, ('size', 'texture', 'colour')))}, {where}")
    return said
