"""Overrides of a recipe: dotted keys set to values, from the command line (`key=value`) or from its `smoke` section."""

from typing import Any

from pydantic import BaseModel

from captioners.core.draft import COMMAND_LINE, Draft, Origin
from captioners.core.errors import near
from captioners.core.fields import Place
from captioners.core.options import Options
from captioners.core.yaml_lines import Key, read_yaml

_FROM_COMMAND_LINE = (COMMAND_LINE, 0)


def apply_smoke(draft: Draft, model: type[Options], values: Any, wanted: bool) -> None:
    """Check the `smoke` section of a draft, and set its values if they are wanted."""
    if not isinstance(values, dict):
        draft.wrong(("smoke",), "must be a mapping of (dotted) keys to the values of a run of seconds")
        return
    for name, value in values.items():
        if wanted:
            origin = draft.origins.get(("smoke", name), ("", 0))
            _assign(draft, model, name, value, origin)


def apply_override(draft: Draft, model: type[Options], override: str) -> None:
    """Set what one `key=value` says; the value is read as YAML, and nothing after the `=` is the empty text."""
    name, equals, text = override.partition("=")
    name = name.strip()
    if not equals or not name:
        if not draft.refuse_secrets(override, ("an argument",), _FROM_COMMAND_LINE):
            draft.wrong((override,), "not an override; write key=value", _FROM_COMMAND_LINE)
        return
    parsed = read_yaml(text)
    if parsed.mistakes:
        if not draft.refuse_secrets(text, (name,), _FROM_COMMAND_LINE):
            advice = f"""quote the value for YAML and for the shell: '{name}="..."'"""
            draft.wrong((name,), f"{parsed.mistakes[0][2]}; {advice}", _FROM_COMMAND_LINE)
        return
    _assign(draft, model, name, parsed.value if text.strip() else "", _FROM_COMMAND_LINE)


def _assign(draft: Draft, model: type[Options], dotted: str, value: Any, origin: Origin) -> None:
    key: Key = tuple(int(part) if part.isdigit() else part for part in dotted.split("."))
    if draft.refuse_secrets(value, key, origin):
        return
    spot: Any = draft.data
    place = Place((model,))
    short = ""
    for index, part in enumerate(key[:-1]):
        if part == short:
            continue
        if isinstance(spot, dict) and part in place.tags:
            _choose(spot, place, str(part))
            continue
        written = spot.get(part) if isinstance(spot, dict) else None
        problem, spot, place = _enter(spot, place, part)
        if problem:
            draft.wrong(key[: index + 1], problem, origin)
            return
        # A short form's own name (decoding.diverse_beam.width) leads to where it was just written out.
        following = key[index + 1]
        short = str(following) if isinstance(written, dict) and following in written and following not in spot else ""
    if problem := _set(spot, place, key[-1], value):
        draft.wrong(key, problem, origin)
        return
    draft.origins = {k: o for k, o in draft.origins.items() if k[: len(key)] != key}
    draft.origins[key] = origin


def _set(spot: Any, place: Place, part: Any, value: Any) -> str | None:
    if problem := _unfit(spot, place, part):
        return problem
    if not (isinstance(spot, dict) and part in place.tags):
        spot[part] = value
        return None
    if not isinstance(value, dict):  # decoding.beam={width: 3}
        return f"must be a mapping of the options of '{part}'"
    _choose(spot, place, part)
    spot.update(value)
    return None


def _enter(spot: Any, place: Place, part: Any) -> tuple[str | None, Any, Place]:
    if problem := _unfit(spot, place, part):
        return problem, spot, place
    inner = place.step(part)
    # `key: null`, as resolved recipes have it, is as good as absent.
    present = isinstance(spot, list) or spot.get(part) is not None
    child: Any = inner.expand(spot[part] if present else _default(place, str(part)))
    if not isinstance(child, dict | list):
        return "holds a single value, so no key stands below it", spot, place
    # The draft's own copy: a short form is written out here, and the default isn't ours to change.
    spot[part] = child = child.copy()
    return None, child, inner


def _unfit(spot: Any, place: Place, part: str | int) -> str | None:
    if isinstance(spot, list):
        fits = isinstance(part, int) and part < len(spot)
        return None if fits else f"no such item; the list has {len(spot)}, counted from 0"
    if place.models and part not in place.keys:
        return f"unknown key.{near(str(part), place.keys) or ' Known: ' + ', '.join(place.keys)}"
    return None


def _choose(spot: dict[str, Any], place: Place, tag: str) -> None:
    # Naming an alternative (decoding.beam.width) keeps its options if it is the chosen one, else starts it afresh.
    switch = next(name for name, f in place.tags[tag].model_fields.items() if f.default == tag)
    if spot.get(switch) != tag:
        spot.clear()
        spot[switch] = tag


def _default(place: Place, part: str) -> Any:
    # Absent in the file: what is overridden is a part of the default.
    fields = [model.model_fields[part] for model in place.models if part in model.model_fields]
    if not fields or fields[0].is_required():
        return {}
    default = fields[0].get_default(call_default_factory=True)
    if isinstance(default, BaseModel):
        return default.model_dump(mode="json")
    return {} if default is None else default
