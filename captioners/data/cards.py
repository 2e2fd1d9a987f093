"""Data cards: what a dataset is, whose it is and how it is got; the front matter of `data_cards/<name>.md`, as data."""

from functools import cache
from typing import Literal

from pydantic import Field, ValidationError

from captioners.core.errors import NotFoundError, UserError, near
from captioners.core.options import Options
from captioners.core.package_data import data_card_names, data_cards_dir
from captioners.core.yaml_lines import read_yaml

Use = Literal["yes", "no", "unknown"]


class DataCard(Options):
    """The front matter of a data card."""

    name: str = Field(min_length=1)
    """As the file is called, without `.md`."""
    about: str = Field(min_length=1)
    """One line, for lists."""
    paper: str = Field(min_length=1)
    """Title and arXiv number of the paper that the set comes from, or none."""
    images_licence: str = Field(min_length=1)
    """What the pictures are under."""
    captions_licence: str = Field(min_length=1)
    """What the captions are under."""
    commercial_use: Use
    """no: a licence of the pictures or captions forbids it; training on it then asks for allow_noncommercial."""
    personal_data: Use
    """Whether persons can be recognised in it."""
    source: str = Field(min_length=1)
    """The kind of source that reads it, `captioners list sources`."""
    obtain: str = Field(min_length=1)
    """Where it is got, and what is to be done to it."""
    languages: list[str] = Field(min_length=1)
    """Of the captions, as ISO 639-1."""
    splits: dict[str, int | str] = Field(min_length=1)
    """Split -> number of images, or words where there is no number."""
    captions: str = Field(min_length=1)
    """How many there are of an image, and how long they are."""
    fields: dict[str, str] = Field(min_length=1)
    """What a record holds."""
    pitfalls: list[str] = Field(min_length=1)
    """What has gone wrong for others, or will."""
    unverified: list[str] = Field([])
    """What this card or a recipe assumes, and nobody could confirm."""
    image_px: list[int] | None = None
    """Width and height, where all pictures have the same."""
    world: int | None = None
    """Of the drawn world: its version."""
    voices: list[str] | None = None
    """Of the drawn world: who says the captions."""


@cache
def read_card(name: str) -> DataCard:
    """Return the card of that name.

    Raises:
        NotFoundError: no such card. UserError: a card whose front matter is wrong, with every mistake.
    """
    names = data_card_names()
    if name not in names:
        raise NotFoundError(f"no data card is named {name!r}.{near(name, names)} Known: {', '.join(names)}")
    text = (data_cards_dir() / f"{name}.md").read_text(encoding="utf-8")
    opening, front, _ = [*text.split("---\n", 2), "", ""][:3]
    parsed = read_yaml(front)
    mistakes = [f"line {line}: {said}" for _, line, said in parsed.mistakes]
    if opening or not front:
        mistakes.append("it does not begin with front matter between two lines of ---")
    if not mistakes:
        try:
            card = DataCard.model_validate(parsed.value)
        except ValidationError as error:
            mistakes = [f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()]
        else:
            if card.name == name:
                return card
            mistakes = [f"name: {card.name}, in a file that is called {name}.md"]
    raise UserError(f"data card {name}: {'; '.join(mistakes)}")
