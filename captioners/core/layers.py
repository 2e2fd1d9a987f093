"""What a layer is (member x data), and the refusal to mix two under one name.

A layer's fingerprint hashes everything that changes a caption and nothing else; its `layer.json` also keeps what was
hashed, so that a mismatch can say what differs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from captioners.core.errors import UserError
from captioners.core.ledger import slug
from captioners.core.storage import Place

Meaning = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """All captions of one member over a dataset."""

    name: str
    """The member's name."""
    draws: int
    meaning: Meaning
    """What changes a caption, JSON-able: weights digest, tokenizer, preprocessing, decoding, prompt, rules, seed ..."""
    facts: Mapping[str, Any]
    """What is good to know and changes nothing: captioner name, licences, package version."""

    @property
    def fingerprint(self) -> str:
        """Sha256 (hexadecimal) of the meaning."""
        return sha256(json.dumps(self.meaning, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def claim(place: Place, layer: Layer, what: str = "", ways: str = "") -> None:
    """Enter the layer into the run, or find it there already.

    Args:
        what, ways: how a refusal calls what is there, and the ways out; default: for a member's captions.

    Raises:
        UserError: another layer has this name; says what differs, and the ways out.
    """
    known = {"name": layer.name, "draws": layer.draws, "fingerprint": layer.fingerprint}
    data = json.dumps({**known, "meaning": layer.meaning, "facts": layer.facts}, indent=1, sort_keys=True)
    if place.create(_name(layer.name), (data + "\n").encode()):
        return
    found = read_layer(place, layer.name)
    if found.fingerprint == layer.fingerprint:
        return
    said = "; ".join(_differences(found.meaning, layer.meaning)[:4]) or "its fingerprint"
    what = what or f"member '{layer.name}' has captions in {place.url} that were"
    ways = ways or (
        "Give the changed member a name of its own to keep both, set these captions aside with "
        f"--replace {layer.name}, or write to another output="
    )
    raise UserError(f"{what} made otherwise ({said}). {ways}")


def give_up(place: Place, layer: Layer) -> None:
    """Free the layer's name in the run, after its units and files are gone from it."""
    place.remove(_name(layer.name))


def read_layer(place: Place, name: str) -> Layer:
    """Return a layer of the run by its member's name; raise UserError if its file is damaged."""
    return _read(place, _name(name))


def read_layers(place: Place) -> list[Layer]:
    """Return the run's layers, sorted by name."""
    return [_read(place, name) for name in place.names("layers") if name.endswith("/layer.json")]


def _read(place: Place, name: str) -> Layer:
    try:
        found = json.loads(place.read(name))
        return Layer(name=found["name"], draws=found["draws"], meaning=found["meaning"], facts=found["facts"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{place.at(name)}: damaged, so the run cannot be continued or read; restore it") from None


def _name(layer: str) -> str:
    return f"layers/{slug(layer)}/layer.json"


def _differences(old: Meaning, new: Meaning, path: str = "") -> list[str]:
    """Return lines like "decoding.top_p: 0.9 there, 0.8 here"."""
    lines = []
    for key in sorted({*old, *new}):
        where, before, after = f"{path}{key}", old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += _differences(before, after, f"{where}.")
        elif before != after:
            lines.append(f"{where}: {_short(before)} there, {_short(after)} here")
    return lines


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return f"{text[:12]}…" if len(text) == 64 else text[:60]
