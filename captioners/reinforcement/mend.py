"""Make a sample fit the contract where that changes nothing that anybody trains on; the bytes of pictures stay."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from captioners.core.errors import UserError
from captioners.reinforcement.contract_texts import read_object
from captioners.reinforcement.members import (
    AUG,
    AUG_KEY,
    IMAGE,
    META,
    META_KEY,
    OTHER_IMAGES,
    SYN,
    ending_of,
    is_syn_key,
    reserved,
    split_member,
)

MENDABLE = frozenset(
    (
        *("leading_dot", "dotted_name", "upper_case", "image_name", "not_contiguous", "duplicate_member"),
        *("duplicate_key", "overrides", "caption_key", "reserved_key", "emb_key", "syn_key", "not_an_object"),
        *("unstripped", "not_a_list", "paug", "paug_key"),
    )
)  # fmt: skip
"""Traps that a shard written anew may not have any more."""

_MOVED, _SOURCE_KEY = "moved", "source_key"


@dataclass
class Mended:
    """A sample as the contract wants it, as far as that is safe."""

    key: str
    members: dict[str, bytes]
    done: list[str] = field(default_factory=list)
    """What was changed, a few words each."""


def plain_name(name: str) -> tuple[str, str]:
    """Return key and extension of a member whose name has dots, capitals or a ./ where readers want none.

    A known extension is told by the end of the name, and what stands before it is the key.

    >>> plain_name("./v1.0/a.b.syn.JSON"), plain_name("0001.cls")
    (('v1_0/a_b', 'syn.json'), ('0001', 'cls'))

    Readers take such a name by itself for a key and an extension:

    >>> plain_name("syn.json")
    ('syn', 'json')
    """
    name = name.removeprefix("./")
    ending = ending_of(name)
    if not ending or ending == name.lower():
        key, extension = split_member(name)
        return key, extension.lower()
    return name[: -len(ending) - 1].replace(".", "_"), ending


def mended(key: str, members: Mapping[str, bytes], source_key: str | None = None) -> Mended:
    """Return a sample with its pictures named jpg, captions stripped and keys that mislead moved below `cap_meta`.

    Args:
        source_key: what its key was in a shard that had to be mended; it stays in `cap_meta`.

    Raises UserError where something would have to move into a `json` that cannot be read.
    """
    found = Mended(key, dict(members))
    _name_image(found)
    others = {name: rest for name, take in ((AUG, _mend_augmentations), (SYN, _mend_captions)) if (rest := take(found))}
    if META in members or source_key is not None or others:
        _mend_meta(found, source_key, others)
    found.members = {name: found.members[name] for name in sorted(found.members)}
    return found


def safe_meta(value: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object for `KEY.json`: keys that would mislead the reader moved below `cap_meta`, `ours` merged there.

    Raises UserError where `cap_meta` has something else of such a name already.

    >>> safe_meta({"uid": "1", "caption": "a cat"}, {})
    {'uid': '1', 'cap_meta': {'moved': {'caption': 'a cat'}}}
    """
    moved = {name: one for name, one in value.items() if reserved(name) is not None}
    return _below({name: one for name, one in value.items() if name not in moved}, moved, ours)


def _below(value: Mapping[str, Any], moved: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    before = value.get(META_KEY)
    if not isinstance(before, dict):
        moved = {**moved, **({META_KEY: before} if before is not None else {})}
        before = {}
    others = before.get(_MOVED, {})
    if moved and not isinstance(others, dict):
        raise UserError(f"{META_KEY} has a {_MOVED!r} that is no object, and {', '.join(moved)} would take its place")
    if taken := [name for name, one in moved.items() if others.get(name, one) != one]:
        raise UserError(f"{META_KEY} has another {taken[0]!r} below {_MOVED!r} already, which would be lost")
    meta = {**before, **({_MOVED: {**others, **moved}} if moved else {}), **ours}
    return {**{name: one for name, one in value.items() if name != META_KEY}, **({META_KEY: meta} if meta else {})}


def with_meta(data: bytes | None, value: Mapping[str, Any], better: Mapping[str, Any]) -> bytes:
    """Return the object `better` as JSON, given `value`, which stood in `data`.

    Where `cap_meta` is all that it has more, it goes behind the bytes as they were: no number is written otherwise.

    >>> with_meta(b'{"p": 0.50}', {"p": 0.5}, {"p": 0.5, "cap_meta": {"source_key": "a.b"}})
    b'{"p": 0.50,"cap_meta":{"source_key":"a.b"}}'
    """
    if data is None or [*value, META_KEY] != [*better]:
        return to_json(better)
    start = data.strip()[:-1].rstrip() + (b"," if value else b"")
    return start + f'"{META_KEY}":'.encode() + to_json(better[META_KEY]) + b"}"


def to_json(value: Any) -> bytes:
    """Return JSON as it stands in our shards: one line, ASCII."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def _name_image(found: Mended) -> None:
    """Give the picture its name, where it has no rival for it."""
    others = [name for name in found.members if name in OTHER_IMAGES]
    if IMAGE not in found.members and len(others) == 1:
        found.members[IMAGE] = found.members.pop(others[0])
        found.done.append(f".{others[0]} named .{IMAGE}")


def _mend_augmentations(found: Mended) -> dict[str, Any]:
    """Take a list of augmentations that stands as a text, as the Hub shows it, for the list that it is.

    Return what else stood in `paug.json`.
    """
    value, _ = read_object("", found.members.get(AUG, b"{}"))
    listed = value.get(AUG_KEY)
    if isinstance(listed, str):
        with suppress(ValueError, RecursionError):
            listed = json.loads(listed.replace("None", "null"))
        if isinstance(listed, list):
            found.done.append(f"{AUG_KEY} made a list")
    moved = {name: one for name, one in value.items() if name != AUG_KEY} if AUG_KEY in value else {}
    if moved or listed != value.get(AUG_KEY):
        found.members[AUG] = to_json({AUG_KEY: listed})
    return moved


def _mend_captions(found: Mended) -> dict[str, Any]:
    """Strip captions, and return what else stood in `syn.json`, where only captions belong."""
    value, problem = read_object("", found.members.get(SYN, b"{}"))
    if problem is not None or SYN not in found.members:
        return {}
    moved = {name: one for name, one in value.items() if not is_syn_key(name) and "_captions" not in name}
    better = {name: _stripped(one) if is_syn_key(name) else one for name, one in value.items() if name not in moved}
    if better != value:
        found.members[SYN] = to_json(better)
    if any(better[name] != value[name] for name in better):
        found.done.append("captions stripped")
    return moved


def _stripped(texts: Any) -> Any:
    """Return captions without blanks around them, a single text as a list of one; what is empty stays to be told."""
    if isinstance(texts, str):
        return [texts.strip()]
    if not isinstance(texts, list):
        return texts
    return [text.strip() if isinstance(text, str) else text for text in texts]


def _mend_meta(found: Mended, source_key: str | None, others: Mapping[str, dict[str, Any]]) -> None:
    """Move what misleads below `cap_meta`: the object's own fields, and `others`, by the member that they stood in."""
    value: dict[str, Any] = {}
    moved: dict[str, Any] = dict(others)
    if META in found.members:
        value, problem = read_object("", found.members[META])
        if problem is not None and problem.trap != "not_an_object":
            if others or source_key is not None:
                raise UserError(f"{found.key}.{META}: {problem.what}, and has to take what moves from elsewhere")
            return
        if problem is not None:
            moved[META] = json.loads(found.members.pop(META))
    own = {name: one for name, one in value.items() if reserved(name) is not None}
    moved |= own
    if not moved and source_key is None:
        return
    kept = {name: one for name, one in value.items() if name not in own}
    try:
        better = _below(kept, moved, {} if source_key is None else {_SOURCE_KEY: source_key})
    except UserError as error:
        raise UserError(f"{found.key}.{META}: {error}") from None
    found.members[META] = with_meta(found.members.get(META), value, better)
    if moved:
        names = [*(name for fields in others.values() for name in fields), *(set(moved) - set(others))]
        found.done.append(f"{', '.join(sorted(names))} moved below {META_KEY}")
    if source_key is not None:
        found.done.append("key renamed")
