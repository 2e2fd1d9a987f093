"""What exists, by name: kinds, captioners, sources, decodings, metrics, recipes, data cards. Imports no torch.

Kinds may need torch, so what they say of themselves is read from their files: a first docstring sentence, and only
their options are imported.
"""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import captioners
from captioners.core.errors import NotFoundError, near
from captioners.core.package_data import data_card_names, data_cards_dir, recipe_names
from captioners.core.recipe import find_recipe
from captioners.core.yaml_lines import write_yaml
from captioners.data.source import sources
from captioners.decoding.values import Beam, Sample, decoding_names, expand
from captioners.kinds.catalogue import Origin, find, known_captioners
from captioners.kinds.kind import kinds
from captioners.metrics.caption_score import caption_scores
from captioners.metrics.metric import Metric
from captioners.metrics.registry import REGISTRY

_PACKAGE = Path(captioners.__file__).parent
_KINDS = ("coca",)
"""Kinds without options: their captioners have names."""
_EXAMPLES: dict[str, Any] = {"top_p": 0.9, "top_k": 50, "min_p": 0.05}

Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Listing:
    """The things of one sort, and what to do with them."""

    what: str
    rows: Rows
    note: str


@dataclass(frozen=True)
class _Sort:
    all: Callable[[], Listing]
    one: Callable[[str], str]


def listing(what: str) -> Listing:
    """Return all things of one sort; raise `NotFoundError` for an unknown sort."""
    return _sort(what).all()


def details(what: str, name: str) -> str:
    """Return everything there is to say of one thing: a recipe's commented file, a decoding's fields, a card."""
    return _sort(what).one(name)


def sorts() -> list[str]:
    """Return what can be listed."""
    return list(_SORTS)


def describe_fields(model: type[BaseModel]) -> list[str]:
    """Return one entry per field of an option model: its key, type, default and docstring."""
    return [_describe(name, field) for name, field in model.model_fields.items()]


def _sort(what: str) -> _Sort:
    try:
        return _SORTS[what]
    except KeyError:
        known = ", ".join(_SORTS)
        raise NotFoundError(f"nothing is listed as '{what}'.{near(what, _SORTS)} Known: {known}") from None


def _known(what: str, name: str, things: dict[str, Any]) -> Any:
    if name not in things:
        known = ", ".join(things)
        raise NotFoundError(f"no {what.removesuffix('s')} is named '{name}'.{near(name, things)} Known: {known}")
    return things[name]


def _kinds() -> dict[str, Path]:
    return {name: _PACKAGE / "kinds" / f"{name}.py" for name in (*_KINDS, *kinds.names())}


def _all_kinds() -> Listing:
    rows = [(name, _first(_docstring(path))) for name, path in _kinds().items()]
    return Listing("kinds", rows, "more: captioners list kinds NAME")


def _one_kind(name: str) -> str:
    said = _docstring(_known("kinds", name, _kinds()))
    options = [] if name in _KINDS else ["\n".join(describe_fields(kinds.get(name)))]
    return "\n\n".join([said, *options])


def _all_sources() -> Listing:
    rows = [(name, _first(sources.get(name).__doc__)) for name in sources.names()]
    return Listing("sources", rows, "what a recipe may say of one: captioners list sources NAME")


def _one_source(name: str) -> str:
    model = sources.get(name)
    return "\n\n".join([f"{name}: {_first(model.__doc__)}", "\n".join(describe_fields(model))])


def _all_scores() -> Listing:
    rows = [(name, _first(caption_scores.get(name).__doc__)) for name in caption_scores.names()]
    return Listing("scores", rows, "of single captions: captioners measure RUN --per-caption NAME")


def _one_score(name: str) -> str:
    model = caption_scores.get(name)
    told = _told(name, model.metric)
    return "\n\n".join([f"{told}\n{_first(model.__doc__)}", "\n".join(describe_fields(model))])


def _all_metrics() -> Listing:
    rows = [(f"{name}{' *' * one.bundle}", f"{one.metric.unit}; {one.metric.source}") for name, one in REGISTRY.items()]
    return Listing("metrics", rows, "*: the default bundle, all with --all; more: captioners list metrics NAME")


def _one_metric(name: str) -> str:
    one = _known("metrics", name, dict(REGISTRY))
    return f"{_told(name, one.metric)}\nneeds: {one.needs}\nby default: {'yes' if one.bundle else 'with --all'}"


def _told(name: str, metric: Metric) -> str:
    better = {"higher": "higher is better", "lower": "lower is better", "neither": "says nothing by itself"}
    span = f"{metric.low:g} and more" if metric.high == inf else f"{metric.low:g} to {metric.high:g}"
    return f"{name}: {metric.unit}, {span}; {better[metric.better]}\nsource: {metric.source}\nversion: {metric.version}"


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _all_captioners() -> Listing:
    rows = [(known.name, f"{known.about}{f' ({known.size})' if known.size else ''}") for known in known_captioners()]
    return Listing(
        "captioners", rows, "or a captioner's directory, an open_clip MODEL/TAG, hf-hub:ORG/REPO, MODEL@FILE"
    )


def _one_captioner(name: str) -> str:
    known = find(name)
    rows = [
        ("name", known.name),
        ("about", known.about),
        ("comes from", _origin(known.origin)),
        ("download", known.size or ("none" if known.origin.kind in ("random", "directory", "file") else "unknown")),
        *((f"licence of the {part}", licence) for part, licence in known.licences.items()),
        ("commercial use", "no; needs allow_noncommercial: true" if known.noncommercial else "not forbidden here"),
    ]
    width = max(len(row[0]) for row in rows) + 3
    return "\n".join(f"{key:<{width}}{value}" for key, value in rows)


def _origin(origin: Origin) -> str:
    return {
        "tag": f"open_clip {origin.model}/{origin.tag}",
        "hub": f"hf-hub:{origin.where}",
        "random": f"nowhere: random weights of {origin.model}",
        "file": f"{origin.where}, of the architecture {origin.model}",
        "directory": origin.where,
    }[origin.kind]


def _all_recipes() -> Listing:
    rows = []
    for name in recipe_names():
        first = _first(_one_recipe(name))
        rows.append((name, first.removeprefix("#").strip()))
    return Listing("recipes", rows, "start your own: captioners list recipes NAME > mine.yaml")


def _one_recipe(name: str) -> str:
    return find_recipe(name).read_text(encoding="utf-8").rstrip()


def _all_data_cards() -> Listing:
    rows = [(name, _about(data_cards_dir() / f"{name}.md")) for name in data_card_names()]
    return Listing("data-cards", rows, "more: captioners list data-cards NAME")


def _about(card: Path) -> str:
    """Return the `about:` of a card's front matter."""
    lines = card.read_text(encoding="utf-8").splitlines()
    return next((line.removeprefix("about:").strip() for line in lines if line.startswith("about:")), "")


def _one_data_card(name: str) -> str:
    path: Path = _known("data-cards", name, {card: data_cards_dir() / f"{card}.md" for card in data_card_names()})
    return path.read_text(encoding="utf-8").rstrip()


def _all_decodings() -> Listing:
    rows = []
    for name in decoding_names():
        model = {"sample": Sample, "beam": Beam}.get(name)
        rows.append((name, _first(model.__doc__) if model else f"short for {_flow(_expanded(name))}"))
    return Listing("decodings", rows, "fields and defaults: captioners list decodings NAME")


def _one_decoding(name: str) -> str:
    _known("decodings", name, dict.fromkeys(decoding_names()))
    values = _expanded(name)
    model = Beam if values["strategy"] == "beam" else Sample
    parts = [f"{name}: {_first(model.__doc__)}"]
    if name != values["strategy"]:
        short = f"{{{name}: {_EXAMPLES[name]}}}" if name in _EXAMPLES else name
        parts.append(f"decoding: {short}\n  is short for\ndecoding: {_flow(values)}")
    return "\n\n".join([*parts, "\n".join(describe_fields(model))])


def _expanded(name: str) -> dict[str, Any]:
    values = dict(expand({name: _EXAMPLES[name]} if name in _EXAMPLES else name))
    return {"strategy": values.pop("strategy"), **values}


def _describe(name: str, field: FieldInfo) -> str:
    default = "needed" if field.is_required() else f"default {_scalar(field.get_default(call_default_factory=True))}"
    bounds = [_bound(item) for item in field.metadata]
    head = f"{name}  ({', '.join(part for part in (_kind(field.annotation), *bounds, default) if part)})"
    return f"{head}\n    {field.description}" if field.description else head


def _kind(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(map(_kind, get_args(annotation)))
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) is list:
        return f"list of {_kind(get_args(annotation)[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"{{{', '.join(annotation.model_fields)}}}"
    words = {str: "text", int: "int", float: "float", bool: "true | false", NoneType: "null"}
    return words.get(annotation, str(annotation))


def _bound(item: Any) -> str:
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return next((f"{sign} {getattr(item, name)}" for name, sign in signs.items() if hasattr(item, name)), "")


def _scalar(value: Any) -> str:
    return write_yaml({"x": value})[3:].rstrip()


def _flow(values: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in values.items()) + "}"


def _first(text: str | None) -> str:
    return (text or "").partition("\n")[0]


_SORTS = {
    "kinds": _Sort(_all_kinds, _one_kind),
    "captioners": _Sort(_all_captioners, _one_captioner),
    "sources": _Sort(_all_sources, _one_source),
    "decodings": _Sort(_all_decodings, _one_decoding),
    "metrics": _Sort(_all_metrics, _one_metric),
    "scores": _Sort(_all_scores, _one_score),
    "recipes": _Sort(_all_recipes, _one_recipe),
    "data-cards": _Sort(_all_data_cards, _one_data_card),
}
