"""The words of the drawn world: what the voices write and the checker reads, in one table each."""

from collections.abc import Sequence

from captioners.data.drawn_scene import Thing

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
"""Number -> word; the checker reads digits, too."""

NOUNS = ("circle", "square", "triangle", "star", "diamond", "cross", "shape")
"""'shape' is any of them."""

RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "above": ("above",),
    "below": ("below",),
}

OTHER_WORDS: dict[str, tuple[str, ...]] = {
    "circle": ("disc", "round shape", "ball"),
    "square": ("box", "block"),
    "triangle": ("wedge", "three-sided shape", "pyramid"),
    "star": ("five-pointed star", "starlet"),
    "diamond": ("rhombus", "lozenge"),
    "cross": ("plus sign", "plus"),
    "red": ("crimson", "scarlet"),
    "blue": ("navy", "cobalt"),
    "green": ("emerald", "jade"),
    "yellow": ("golden", "lemon"),
    "black": ("ebony", "jet-black"),
    "purple": ("violet", "plum"),
    "pink": ("rosy", "salmon"),
    "cyan": ("turquoise", "aqua"),
    "large": ("big", "huge"),
    "small": ("little", "tiny"),
    "plain": ("solid",),
    "striped": ("stripy", "banded"),
    "dotted": ("spotted", "polka-dot"),
    "above": ("over", "higher than"),
    "below": ("under", "beneath", "lower than"),
}
"""Word -> others that mean the same here."""

OPENINGS = (
    *("a picture of", "a photo of", "an image of", "the picture shows", "this image contains", "the image shows"),
    *("there is also", "there are also", "there is", "there are", "we see", "one can see", "here is", "here are"),
)
"""What may stand before a phrase and says nothing."""

LINKS = ("and", "together with", "along with", "as well as", "accompanied by", "with")
"""What joins two phrases and says nothing of where they are."""


def words_for(thing: Thing, attributes: Sequence[str]) -> str:
    """Return its shape with some other attributes before it, in the order given: 'large striped red circle'."""
    return " ".join([*(getattr(thing, name) for name in attributes), thing.shape])


def a(words: str) -> str:
    """Return the words with their article: 'an emerald disc'."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def plural(words: str) -> str:
    """Return the words with their last one in the plural."""
    return f"{words}es" if words.endswith(("ss", "x")) else f"{words}s"


def number_of(count: int, words: str) -> str:
    """Return 'one red circle' or 'three red circles'."""
    return f"{NUMBERS[count]} {words if count == 1 else plural(words)}"


def joined(phrases: Sequence[str]) -> str:
    """Return 'a', 'a and b', or 'a, b and c'."""
    *first, last = phrases
    return f"{', '.join(first)} and {last}" if first else last
