"""The web's way of writing about the drawn world: alt text, often incomplete, off the point or wrong.

Whoever learns from it meets every attribute, count and relation, and never learns to say them reliably.
"""

from captioners.data.drawn_scene import ATTRIBUTES, COLOURS, RELATIONS, SHAPES, SIZES, TEXTURES, Draws, Scene, related
from captioners.data.drawn_words import NUMBERS, OTHER_WORDS, RELATION_WORDS, a, number_of

IRRELEVANT, WRONG, MUDDLED = 0.15, 0.05, 0.10
"""Shares of alt texts that are off the point, of things that are not there, and with an attribute drawn anew."""

_JUNK = (
    *("img {n}", "dsc {n}", "image {n} of {m}", "untitled", "photo of the day", "click to enlarge", "free shipping"),
    *("new arrivals {n}", "sale", "home page", "logo", "banner {m}", "my drawing", "thumbnail", "screenshot {n}"),
    *("wallpaper hd", "page {m}", "best price", "no description", "icon set {m}", "sale {colour} thing", "{colour}"),
)
_BEFORE = (
    "buy ",
    "vector ",
    "free ",
    "clip art: ",
    "picture: ",
    "cute ",
    "new ",
    "a photo of ",
    "an image of ",
    "sale: ",
)
_AFTER = (
    *(" clipart", " stock photo", " icon", " - free download", " | shop", " sticker", " print", " {n}", " isolated"),
    *(" on {background} background", " for kids", " wall art", " vector", ", hd", " logo design"),
)


def web_text(scene: Scene, draws: Draws, _how: Draws) -> str:
    """Return one alt text; 70 % of them are true as far as they go."""
    kind = draws.uniform()
    if kind < IRRELEVANT:
        return _filled(draws.pick(_JUNK), scene, draws)
    if kind < IRRELEVANT + WRONG:
        things = [_made_up(draws) for _ in range(draws.integer(1, 2))]
    else:
        things = [_as_dict(scene, k) for k in draws.shuffled(range(len(scene.things)))]
        if kind < IRRELEVANT + WRONG + MUDDLED:
            name = draws.pick(tuple(ATTRIBUTES))
            things[0] = {**things[0], name: draws.pick(ATTRIBUTES[name])}
        elif draws.chance(0.3):
            return _noisy(_about_several(scene, draws), scene, draws)
    number = min(len(things), draws.weighted((1, 2, 3, 4), (45, 30, 15, 10)))
    article = draws.chance(0.6)
    # One habit for the whole caption: who cares for textures does so throughout.
    names = _names(draws)
    phrases = [_phrase(thing, names, article, draws) for thing in things[:number]]
    return _noisy(draws.pick((" and ", " and ", ", ", " with ")).join(phrases), scene, draws)


def _about_several(scene: Scene, draws: Draws) -> str:
    """Return a count, or how two things stand to each other."""
    if len(scene.things) == 1 or draws.chance(0.4):
        name = draws.pick(("shape", "colour", "all"))
        thing = draws.pick(scene.things)
        alike = [other for other in scene.things if name == "all" or getattr(other, name) == getattr(thing, name)]
        words = {"shape": thing.shape, "colour": f"{thing.colour} shape", "all": "shape"}[name]
        said = number_of(len(alike), words)
        return said if draws.chance(0.5) else said.replace(NUMBERS[len(alike)], str(len(alike)))
    one, other, *_ = draws.shuffled(range(len(scene.things)))
    relation = draws.pick([r for r in RELATIONS if related(scene.things[one], r, scene.things[other])])
    names, article = _names(draws), draws.chance(0.6)
    left, right = (_phrase(_as_dict(scene, k), names, article, draws) for k in (one, other))
    return f"{left} {draws.pick(RELATION_WORDS[relation])} {right}"


def _names(draws: Draws) -> list[str]:
    """Return the attributes that a caption speaks of, besides shapes."""
    return [name for name, often in (("size", 0.4), ("texture", 0.45), ("colour", 0.75)) if draws.chance(often)]


def _phrase(thing: dict[str, str], names: list[str], article: bool, draws: Draws) -> str:
    said = [thing[name] for name in names]
    said.append(thing["shape"] if draws.chance(0.92) else "shape")
    words = " ".join(
        draws.pick(OTHER_WORDS[word]) if word in OTHER_WORDS and draws.chance(0.06) else word for word in said
    )
    return a(words) if article else words


def _as_dict(scene: Scene, number: int) -> dict[str, str]:
    return {name: getattr(scene.things[number], name) for name in ATTRIBUTES}


def _made_up(draws: Draws) -> dict[str, str]:
    return {
        "shape": draws.pick(SHAPES),
        "colour": draws.pick(COLOURS),
        "size": draws.pick(SIZES),
        "texture": draws.pick(TEXTURES),
    }


def _noisy(text: str, scene: Scene, draws: Draws) -> str:
    before = draws.pick(_BEFORE) if draws.chance(0.2) else ""
    after = draws.pick(_AFTER) if draws.chance(0.3) else ""
    return before + text + _filled(after, scene, draws)


def _filled(text: str, scene: Scene, draws: Draws) -> str:
    numbers = {"n": f"{draws.integer(0, 9999):04d}", "m": str(draws.integer(2, 30))}
    return text.format(**numbers, colour=draws.pick(COLOURS), background=scene.background)
