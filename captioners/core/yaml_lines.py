"""YAML 1.2 as plain data with the line of every key, and back: no tags, no anchors, no objects, no surprises.

Built on ruamel.yaml's event parser, with the core schema of YAML 1.2 (section 10.3.2) applied here: `1e-5` is a number;
`no`, `on`, `12:30:00` and `2026-01-01` are strings; keys are always strings. A file that ends early, repeats a key or
uses a tag is a mistake with a line, never a guess.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

Key = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top."""

_PLAIN: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"~|null|Null|NULL|"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]{1,40}"), int),
    (re.compile(r"0o[0-7]{1,40}"), lambda text: int(text, 8)),
    (re.compile(r"0x[0-9a-fA-F]{1,40}"), lambda text: int(text, 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: float(text.replace(".", ""))),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _: float("nan")),
)
"""What an unquoted word means; whatever matches none of these is text."""
_PLAIN_TEXT = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
# Strings here, but truth values or null for a YAML 1.1 reader: quoted, so that every reader agrees.
_OLD_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])
_DEEPEST = 24


@dataclass
class Parsed:
    """What a YAML text says, and what is wrong with it."""

    value: Any = None
    lines: dict[Key, int] = field(default_factory=dict)
    """Line (from 1) of every key and list item."""
    mistakes: list[tuple[Key, int, str]] = field(default_factory=list)
    """(where, line, what is wrong); when there are any, `value` is only good for finding more of them."""
    broken: bool = False
    """The text stopped being YAML somewhere, so `value` is a part of what was meant."""


class _TooDeepError(Exception):
    pass


def read_yaml(text: str) -> Parsed:
    """Parse one YAML document; mistakes are returned, not raised, so that a reader can report all of them at once."""
    parsed = Parsed()
    events = _events(text, parsed)
    documents = 0
    try:
        for event in events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents == 2:
                    parsed.mistakes.append(((), _line(event), "a second document starts; one file is one recipe"))
                    break
            elif isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent | AliasEvent):
                parsed.value = _build(event, events, (), parsed)
    except _TooDeepError as error:
        parsed.broken = True
        parsed.mistakes.append(((), int(str(error)), f"nested deeper than {_DEEPEST} levels"))
    return parsed


def _events(text: str, parsed: Parsed) -> Iterator[Event]:
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        # Only the parser's words are repeated, never the text around the mistake: that might be a secret.
        problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable")
        line = mark.line + 1 if mark is not None else 1 + text[: getattr(error, "position", 0)].count("\n")
        hint = "; put quotes around a value that holds ': '" if "mapping values" in problem else ""
        problem = re.sub(r"[(]?'?<([a-z ]+)>'?,?[)]?", r"\1", problem)  # ('<stream end>',) -> stream end
        parsed.broken = True
        parsed.mistakes.append(((), line, f"not YAML: {problem}{hint}"))


def _build(event: Event, events: Iterator[Event], at: Key, parsed: Parsed) -> Any:
    line = _line(event)
    if len(at) > _DEEPEST:
        raise _TooDeepError(line)
    if isinstance(event, AliasEvent) or getattr(event, "anchor", None):
        parsed.mistakes.append((at, line, "anchors (&) and aliases (*) are not read; write the value out, or quote it"))
    if getattr(event, "tag", None):
        parsed.mistakes.append((at, line, "tags (!) are not read; put quotes around a value that begins with '!'"))
    if isinstance(event, MappingStartEvent):
        return _mapping(events, at, parsed)
    if isinstance(event, SequenceStartEvent):
        items: list[Any] = []
        for item in events:
            if isinstance(item, SequenceEndEvent):
                break
            here = (*at, len(items))
            parsed.lines[here] = _line(item)
            items.append(_build(item, events, here, parsed))
        return items
    if isinstance(event, ScalarEvent):
        return event.value if event.style else _scalar(event.value)
    return None


def _mapping(events: Iterator[Event], at: Key, parsed: Parsed) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for event in events:
        if isinstance(event, MappingEndEvent):
            break
        line = _line(event)
        if not isinstance(event, ScalarEvent):
            parsed.mistakes.append((at, line, "a key must be a word, not a list or a mapping"))
            _build(event, events, at, Parsed())
        name = event.value if isinstance(event, ScalarEvent) else ""
        here = (*at, name)
        value_event = next(events, None)
        if value_event is None:  # the text ended early; the parser has said where
            break
        value = _build(value_event, events, here, parsed)
        if name == "<<":
            parsed.mistakes.append((here, line, "merge keys are not read; use 'extends' or write the values out"))
        elif name in found:
            parsed.mistakes.append((here, line, f"the key is repeated; it first stands in line {parsed.lines[here]}"))
        elif isinstance(event, ScalarEvent):
            found[name] = value
            parsed.lines[here] = line
    return found


def _line(event: Event) -> int:
    return int(event.start_mark.line) + 1


def _scalar(text: str) -> Any:
    for pattern, meaning in _PLAIN:
        if pattern.fullmatch(text):
            return meaning(text)
    return text


def write_yaml(value: dict[str, Any]) -> str:
    """Return YAML text that `read_yaml` reads back to an equal value, and YAML 1.1 readers too; keys keep their order.

    >>> print(write_yaml({"lr": 1e-05, "answer": "no", "inputs": ["a b.jpg"], "decoding": {"width": 5}}), end="")
    lr: 1.0e-05
    answer: "no"
    inputs:
      - a b.jpg
    decoding:
      width: 5
    """
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: dict[str, Any]) -> Iterator[str]:
    for key, item in value.items():
        name = _word(key)
        if isinstance(item, dict) and item:
            yield f"{name}:"
            yield from (f"  {line}" for line in _lines(item))
        elif isinstance(item, list) and item:
            yield f"{name}:"
            yield from (f"  {line}" for line in _items(item))
        else:
            yield f"{name}: {_word(item)}"


def _items(values: list[Any]) -> Iterator[str]:
    for value in values:
        nested = _lines(value) if isinstance(value, dict) else _items(value) if isinstance(value, list) else iter(())
        first = next(nested, None)
        if first is None:
            yield f"- {_word(value)}"
            continue
        yield f"- {first}"
        yield from (f"  {line}" for line in nested)


def _word(value: Any) -> str:
    if isinstance(value, float):
        text = repr(value)
        if "e" in text and "." not in text:  # 1e-05 is text to a YAML 1.1 reader, 1.0e-05 is not
            text = text.replace("e", ".0e")
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(text, text)
    if isinstance(value, str):
        if all(_PLAIN_TEXT.fullmatch(word) for word in value.split(" ")) and value.lower() not in _OLD_WORDS:
            return value
        # JSON strings are YAML strings, once what YAML cannot hold raw is escaped too.
        escaped = json.dumps(value, ensure_ascii=False)
        return re.sub(
            r"[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]", lambda m: f"\\u{ord(m[0]):04x}", escaped
        )
    return json.dumps(value)
