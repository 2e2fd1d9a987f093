"""Under which keys captions stand in whole samples, which of them, and how one sample is put together.

syn.json   {"syn_text_TAG": [exactly n captions]}, a key for each captioner (or `syn_text`, where there is one)
json       what it was, and cap_meta: {"syn_text_TAG": {"members": [...], "draws": [...]}, "captioners": {...}}
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from captioners.core.errors import UserError, near
from captioners.core.layers import Layer
from captioners.data.selection import Select
from captioners.jobs.export.originals import Original
from captioners.jobs.recipes.export import ExportRecipe
from captioners.reinforcement.contract import (
    EXTENSIONS,
    IMAGE,
    META,
    META_KEY,
    SYN,
    SYN_KEY,
    Problem,
    is_syn_key,
    problems,
)
from captioners.reinforcement.contract_texts import problems_of_captions, read_object
from captioners.reinforcement.members import problem_of_key, reserved
from captioners.reinforcement.mend import safe_meta, to_json, with_meta

_UNFIT = re.compile(r"\W+")
_NOTED: Mapping[str, str] = {
    "too_long": "captions have more than 77 CLIP tokens, which training cuts",
    "image_name": "pictures are not named .jpg, where MobileCLIP's reader gives up the shard; image_names=jpg does it",
    "no_text": "samples have no caption of their own, so training leaves them out",
    "extension": "members are none of those that MobileCLIP's reader knows",
    "emb_missing": "samples have embeddings, but none of these captions: captioners reinforce adds them, or train with "
    "--dataset-reinforcement-syn-text-key-regex '^({before})$'",
    "legacy_keys": "samples have embeddings in the legacy layout, which holds those of one captioner alone: captioners "
    "reinforce adds the others', or train with --dataset-reinforcement-syn-text-key-regex '^({before})$'",
}
"""Trap -> how it is told, of those that do not keep a sample out of an export: they were there before, or are a cut."""


class UnfitError(Exception):
    """A sample that cannot be written; `reason` is a short word."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


def keys_of(tags: Mapping[str, str | None], layers: Sequence[Layer]) -> dict[str, list[str]]:
    """Return key of `syn.json` -> the members whose captions stand there, in their order.

    Raises:
        UserError: a tag of no member, or one that readers would take for something else.
    """
    names = [layer.name for layer in layers]
    for name in tags:
        if name not in names:
            raise UserError(f"tags: the run has no member '{name}'.{near(name, names)} It has: {', '.join(names)}")
    keys: dict[str, list[str]] = {}
    for name in (name for name in names if tags.get(name, "") is not None):
        plain = "" if len(names) == 1 else _UNFIT.sub("_", name).strip("_")
        tag = tags.get(name, plain)
        key = f"{SYN_KEY}_{tag}" if tag else SYN_KEY
        wrong = problem_of_key(key) or ("has other signs than letters, digits and '_'" if _UNFIT.search(key) else "")
        if wrong:
            raise UserError(f"tags: '{name}' would have the key {key}, which {wrong}; say tags={{{name}: another}}")
        if key in keys and name not in tags:
            raise UserError(f"tags: {keys[key][0]} and {name} would share the key {key}; say a tag of each")
        keys.setdefault(key, []).append(name)
    if not keys:
        raise UserError("tags: every member is left out (null); keep one")
    return keys


def lists_of(
    keys: Mapping[str, Sequence[str]], select: Select, layers: Sequence[Layer]
) -> list[tuple[Sequence[str], int]]:
    """Return the members of each key, and how many captions it holds: `select.n`, or as many as they drew.

    Raises UserError where they drew fewer.
    """
    draws = {layer.name: layer.draws for layer in layers}
    lists: list[tuple[Sequence[str], int]] = []
    for key, members in keys.items():
        most = sum(draws[name] for name in members)
        if select.n is not None and select.n > most:
            raise UserError(f"select.n: {key} is to hold {select.n} captions, and {', '.join(members)} drew {most}")
        lists.append((members, select.n or most))
    return lists


@dataclass(frozen=True)
class Whole:
    """A sample with its captions."""

    key: str
    members: dict[str, bytes]
    notes: Counter[str] = field(default_factory=Counter)


class Composer:
    """Puts captions into samples, and lets none pass that the contract refuses."""

    def __init__(self, recipe: ExportRecipe, layers: Sequence[Layer]) -> None:
        """Take the members of the run."""
        self._recipe = recipe
        self._keys = keys_of(recipe.tags, layers)
        self._captioners = {layer.name: _about(layer) for layer in layers}

    def captions(self, original: Original, rows: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return key -> captions of one sample's rows, and those that it had before; raises UnfitError."""
        check_picture(original, rows[0])
        before: dict[str, Any] = {}
        if SYN in original.members:
            before = _object(f"{original.key}.{SYN}", original.members[SYN])
        found = {
            key: [row["text"].strip() for row in rows if row["member"] in members]
            for key, members in self._keys.items()
        }
        if taken := [key for key in found if key in before]:
            raise UnfitError("key_taken", f"{original.key}: has {taken[0]} already; give yours another tag (tags=...)")
        return found, before

    def beside(self, original: Original, rows: Sequence[Mapping[str, Any]]) -> Whole:
        """Return a sample's captions alone, under its own key; raises UnfitError."""
        found, _ = self.captions(original, rows)
        whole = Whole(original.key, {SYN: to_json(found)})
        self._judge(whole, problems_of_captions(f"{whole.key}.{SYN}", found))
        return whole

    def whole(self, original: Original, rows: Sequence[Mapping[str, Any]]) -> Whole:
        """Return a sample with everything that it had, and its captions; raises UnfitError."""
        found, before = self.captions(original, rows)
        notes: Counter[str] = Counter()
        members = self._kept(original, notes)
        members[SYN] = to_json({**before, **found})
        members[META] = self._meta(original, rows, notes)
        if original.image != IMAGE and self._recipe.image_names == IMAGE and IMAGE not in members:
            members[IMAGE] = members.pop(original.image)
        key = original.key.replace(".", "_")
        if key != original.key:
            notes["samples have dots in their keys, which became '_'"] += 1
        whole = Whole(key, {name: members[name] for name in sorted(members)}, notes)
        self._judge(whole, problems(key, whole.members), [name for name in before if is_syn_key(name)])
        return whole

    def _kept(self, original: Original, notes: Counter[str]) -> dict[str, bytes]:
        if self._recipe.members == "all":
            return dict(original.members)
        known = {*EXTENSIONS, original.image}
        for name in original.members:
            if name not in known:
                notes[
                    f"members .{name} were left out, which MobileCLIP's reader does not know; members=all keeps them"
                ] += 1
        return {name: data for name, data in original.members.items() if name in known}

    def _meta(self, original: Original, rows: Sequence[Mapping[str, Any]], notes: Counter[str]) -> bytes:
        value: dict[str, Any] = {}
        if META in original.members:
            value = _object(f"{original.key}.{META}", original.members[META])
        moved = sum(reserved(name) is not None for name in value)
        notes["fields of json would mislead MobileCLIP's reader (caption, *emb*, ...) and moved to cap_meta"] += moved
        ours: dict[str, Any] = {
            key: {name: [row[of] for row in rows if row["member"] in members] for name, of in _PROVENANCE}
            for key, members in self._keys.items()
        }
        before = value.get(META_KEY)
        others = before.get("captioners") if isinstance(before, dict) else None
        ours["captioners"] = {**(others if isinstance(others, dict) else {}), **self._captioners}
        if "." in original.key:
            ours["source_key"] = original.key
        return with_meta(original.members.get(META), value, safe_meta(value, ours))

    @staticmethod
    def _judge(whole: Whole, found: Sequence[Problem], before: Sequence[str] = ()) -> None:
        for one in found:
            if one.trap not in _NOTED:
                raise UnfitError(one.trap, str(one))
        noted = Counter(one.trap for one in found)
        # A sample counts once, captions and members one by one.
        for trap, count in noted.items():
            told = _NOTED[trap].replace("{before}", "|".join(before))
            whole.notes[told] += 1 if told.startswith("samples") else count


_PROVENANCE = (("members", "member"), ("draws", "draw"))


def check_picture(original: Original, row: Mapping[str, Any]) -> None:
    """Raise UnfitError unless a sample's picture is the one that was captioned."""
    if sha256(original.members[original.image]).hexdigest() != row["image_sha256"]:
        raise UnfitError("picture_gone", f"{row['shard']}: {row['key']} is another picture now than was captioned")


def _object(name: str, data: bytes) -> dict[str, Any]:
    value, problem = read_object(name, data)
    if problem is not None:
        raise UnfitError(problem.trap, str(problem))
    return value


def _about(layer: Layer) -> dict[str, Any]:
    name = layer.facts.get("captioner_name") or layer.facts.get("captioner")
    return {"captioner": name, "weights": layer.meaning.get("weights"), "fingerprint": layer.fingerprint[:16]}
