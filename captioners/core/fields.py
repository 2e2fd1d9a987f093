"""Walking option models by recipe keys: what a place takes, which choices it offers, and mistakes in plain words."""

import re
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic.fields import FieldInfo

from captioners.core.errors import near
from captioners.core.yaml_lines import Key

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list ([a, b] or one '- item' a line)",
    "tuple_type": "a list ([a, b] or one '- item' a line)",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "none_required": "nothing (null)",
}


@dataclass(frozen=True)
class Place:
    """One spot of a recipe: the types it takes, and what turns a short form into them."""

    types: tuple[Any, ...]
    expanders: tuple[Any, ...] = ()

    @property
    def models(self) -> tuple[type[BaseModel], ...]:
        """The option models it takes; more than one is a choice."""
        return tuple(t for t in self.types if isinstance(t, type) and issubclass(t, BaseModel))

    @property
    def tags(self) -> dict[str, type[BaseModel]]:
        """What the alternatives are called, by the constant that tells them apart; empty where there is no choice."""
        return {tag: model for model in self.models for tag in _constants(model)} if len(self.models) > 1 else {}

    @property
    def keys(self) -> list[str]:
        """Every key that may stand here."""
        return [*dict.fromkeys(name for model in self.models for name in model.model_fields), *self.tags]

    def step(self, part: str | int) -> "Place":
        """Return the place one key, list position or alternative further down; an empty one if there is none."""
        found = [
            Place.of(m.model_fields[part]) for m in self.models if isinstance(part, str) and part in m.model_fields
        ]
        if not found and part in self.tags:
            return Place((self.tags[str(part)],))
        if not found and isinstance(part, int):
            found = [Place.of(get_args(t)[0]) for t in self.types if get_origin(t) in (list, tuple)]
        if not found and isinstance(part, str):
            found = [Place.of(get_args(t)[1]) for t in self.types if get_origin(t) is dict]
        types = tuple(dict.fromkeys(t for place in found for t in place.types))
        return Place(types, tuple(e for place in found for e in place.expanders))

    def expand(self, value: Any) -> Any:
        """Return `value` with its short form written out, or as it is if that fails: validation says why."""
        for expander in self.expanders:
            try:
                value = expander(value)
            except ValueError:
                return value
        return value

    @staticmethod
    def of(annotation: Any) -> "Place":
        """Return the place that a field or a type annotation describes."""
        if isinstance(annotation, FieldInfo):
            place = Place.of(annotation.annotation)
            return Place(place.types, _expanders(annotation.metadata) + place.expanders)
        if get_origin(annotation) is Annotated:
            inner, *metadata = get_args(annotation)
            place = Place.of(inner)
            return Place(place.types, _expanders(metadata) + place.expanders)
        if get_origin(annotation) in (Union, UnionType):
            places = [Place.of(argument) for argument in get_args(annotation)]
            return Place(
                tuple(t for place in places for t in place.types), tuple(e for place in places for e in place.expanders)
            )
        return Place((annotation,))


def _expanders(metadata: Any) -> tuple[Any, ...]:
    return tuple(item.func for item in metadata if isinstance(item, BeforeValidator))


def _constants(model: type[BaseModel]) -> list[str]:
    return [
        f.default
        for f in model.model_fields.values()
        if get_origin(f.annotation) is Literal and f.default in get_args(f.annotation)
    ]


def mistakes_of(error: ValidationError, model: type[BaseModel], data: Any) -> list[tuple[Key, str]]:
    """Return (where in the recipe, what is wrong) for every mistake that pydantic found in `data`."""
    found = []
    for detail in error.errors(include_url=False):
        loc: Key = tuple(detail["loc"])
        above = place = Place((model,))
        for part in loc[:-1]:
            above, place = place, place.step(part)
        found.append((_key_as_written(loc, data, detail["type"]), _in_words(detail, place, above)))
    return found


def _key_as_written(loc: Key, data: Any, kind: str) -> Key:
    # pydantic names the chosen alternative in its locations ('sample'), the recipe usually doesn't; and a short form
    # holds keys one level deeper than the alternative that they end in.
    key: list[str | int] = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if _has(data, part):
            key.append(part)
            data = data[part]
        elif last and kind == "missing":
            key.append(part)
        elif last and isinstance(data, dict):
            inside = [name for name, child in data.items() if isinstance(child, dict) and part in child]
            key.extend([inside[0], part] if inside else [])
    return tuple(key)


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _in_words(detail: Any, place: Place, above: Place) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx") or {}
    if kind == "extra_forbidden":
        return _unknown_key([str(part) for part in detail["loc"]], place, above)
    if kind == "missing":
        return "missing; this key is needed"
    if kind == "value_error":
        return str(detail["msg"]).removeprefix("Value error, ")
    if kind == "literal_error":
        wanted = str(context["expected"])
        known = re.findall(r"'([^']+)'", wanted)
        return f"must be {wanted}, found {_shown(given)}.{near(str(given), known)}"
    if kind.startswith("union_tag"):
        return f"'{context.get('tag', '')}' is none of {context.get('expected_tags', 'the known alternatives')}"
    wanted = _WANTED.get(kind) or str(detail["msg"]).removeprefix("Input should be ")
    return f"must be {wanted}, found {_shown(given)}"


def _unknown_key(loc: list[str], place: Place, above: Place) -> str:
    others = [tag for tag, other in above.tags.items() if loc[-1] in other.model_fields]
    if others:
        return f"not an option of '{loc[-2]}'; '{others[0]}' has it"
    return f"unknown key.{near(loc[-1], place.keys) or ' Known: ' + ', '.join(place.keys)}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"the text {value[:60]!r}" if isinstance(value, str) else repr(value)
