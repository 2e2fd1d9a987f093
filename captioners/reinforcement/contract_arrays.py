"""The rules of the contract for augmentations and embeddings: what is there, and that all lengths agree."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from captioners.core.errors import UserError
from captioners.reinforcement.contract_texts import read_object
from captioners.reinforcement.embeddings import unpacked
from captioners.reinforcement.members import (
    AUG,
    AUG_KEY,
    EMB,
    IMAGE_EMB,
    NPZ,
    OPERATIONS,
    PTH,
    SYN_KEY,
    TEXT_EMB,
    Problem,
)

_PICKLED = ("allow_pickle", "weights only", "weights_only")
_REGEX = "--dataset-reinforcement-syn-text-key-regex"
_AGAIN = "make the embeddings again (captioners reinforce)"


def problems_of_arrays(key: str, members: Mapping[str, bytes], captions: Mapping[str, int]) -> list[Problem]:
    """Return the traps of augmentations and embeddings; `captions`: key of captions -> how many."""
    found: list[Problem] = []
    augmentations = None
    if AUG in members:
        augmentations, found = _augmentations(f"{key}.{AUG}", members[AUG])
    files = [extension for extension in (NPZ, PTH) if extension in members]
    if AUG in members and not files:
        what = "augmentations without embeddings: training with them stops with a KeyError"
        found.append(Problem("no_emb", f"{key}.{AUG}", what, _AGAIN))
    if files and AUG not in members:
        what = "embeddings without the augmentations that they are of: nothing can replay them"
        found.append(Problem("no_paug", f"{key}.{files[0]}", what, _AGAIN))
    for extension in files:
        name = f"{key}.{extension}"
        try:
            arrays = unpacked(name, members[extension])
        except UserError as error:
            found.append(_unreadable(name, str(error)))
        else:
            found += _lengths(name, arrays, augmentations, captions)
    return found


def _unreadable(name: str, said: str) -> Problem:
    what = said.removeprefix(f"{name}: ").partition(";")[0]
    if any(word in said.lower() for word in _PICKLED):
        return Problem("pickled", name, "holds pickled objects, which run code when read: not read", _AGAIN)
    return Problem("unreadable_emb", name, what, _AGAIN)


def _augmentations(name: str, data: bytes) -> tuple[int | None, list[Problem]]:
    """Return how many augmentations there are, None if that cannot be told, and what is wrong with them."""
    value, problem = read_object(name, data)
    if problem is not None:
        return None, [problem]
    count, found = _listed(name, value.get(AUG_KEY))
    if others := [key for key in value if key != AUG_KEY]:
        what = f"its {', '.join(map(repr, others))} would take the place of what the sample has of that name"
        found.append(Problem("paug_key", name, what, f"keep {AUG_KEY} alone (--fix moves the rest to cap_meta)"))
    return count, found


def _listed(name: str, listed: Any) -> tuple[int | None, list[Problem]]:
    if isinstance(listed, str):
        what = f"its {AUG_KEY} is a text, as the Hub's viewer shows it: training takes its characters for augmentations"
        return None, [Problem("paug", name, what, "write it as a nested list")]
    if not isinstance(listed, list) or not listed:
        what = f"its {AUG_KEY} is no list of augmentations"
        return None, [Problem("paug", name, what, _AGAIN)]
    wrong = next((number for number, one in enumerate(listed) if not _is_augmentation(one)), None)
    if wrong is None:
        return len(listed), []
    what = f"augmentation {wrong} is not [[top, left, height, width], [[operation, magnitude], ...] or null]"
    return len(listed), [Problem("paug", name, what, _AGAIN)]


def _is_augmentation(value: Any) -> bool:
    """Whether a value is a crop, and behind it at most what RandAugment did."""
    if not isinstance(value, list) or not 1 <= len(value) <= 2 or not _is_box(value[0]):
        return False
    return all(one is None or (isinstance(one, list) and _are_operations(one)) for one in value[1:])


def _is_box(value: Any) -> bool:
    whole = isinstance(value, list) and len(value) == 4 and all(type(side) is int and side >= 0 for side in value)
    return whole and value[2] > 0 and value[3] > 0


def _are_operations(value: list[Any]) -> bool:
    return all(
        isinstance(one, list)
        and len(one) == 2
        and type(one[0]) is int
        and 0 <= one[0] < OPERATIONS
        and type(one[1]) in (int, float)
        and math.isfinite(one[1])
        for one in value
    )


def _lengths(
    name: str, arrays: Mapping[str, Any], augmentations: int | None, captions: Mapping[str, int]
) -> list[Problem]:
    def problem(trap: str, what: str, remedy: str = _AGAIN) -> Problem:
        return Problem(trap, name, what, remedy)

    absent = [one for one in (IMAGE_EMB, TEXT_EMB) if one not in arrays]
    if absent:
        what = f"has no {' and no '.join(absent)}, only {', '.join(arrays) or 'nothing'}: training stops there"
        return [problem("no_emb", what)]
    found = []
    if strange := [one for one in arrays if not one.endswith(EMB)]:
        what = f"its {', '.join(strange)} would take the place of what the sample has of that name"
        found.append(problem("array_name", what, f"keep arrays named *{EMB} alone"))
    flat = [f"{one} {list(array.shape)}" for one, array in arrays.items() if array.ndim != 2 or not array.shape[0]]
    if flat:
        return [*found, problem("emb_shape", f"{', '.join(flat)} is no table of embeddings, a row each")]
    if len(widths := {array.shape[1] for array in arrays.values()}) > 1:
        found.append(problem("emb_shape", f"its embeddings differ in width: {sorted(widths)}"))
    if any(not _finite(array) for array in arrays.values()):
        found.append(problem("not_finite", "has embeddings that are no numbers (NaN or infinite)"))
    rows = {one: len(array) for one, array in arrays.items()}
    if augmentations is not None and rows[IMAGE_EMB] != augmentations:
        what = f"{rows[IMAGE_EMB]} rows of {IMAGE_EMB} for {augmentations} augmentations"
        found.append(problem("emb_rows", what))
    legacy = rows[TEXT_EMB] > 1
    if legacy and len(captions) > 1:
        what = (
            f"the legacy layout ({rows[TEXT_EMB]} rows of {TEXT_EMB}) with {len(captions)} keys of captions: its rows"
        )
        own = legacy_key(captions, rows[TEXT_EMB])
        remedy = f"{_AGAIN}, or train with {_REGEX} '^({own})$'" if own else _AGAIN
        found.append(problem("legacy_keys", f"{what} are taken for those of any key", remedy))
    for key, count in captions.items():
        for trap, what in _of_captions(key, count, rows, legacy):
            remedy = f"{_AGAIN}, or train with {_REGEX} '{regex_of(captions, rows)}'"
            found.append(Problem(trap, name, what, remedy if trap == "emb_missing" else _AGAIN))
    return found


def regex_of(captions: Iterable[str], arrays: Iterable[str]) -> str:
    """Return the regular expression of the keys of captions that have embeddings, for the trainer to keep to.

    >>> regex_of(["syn_text", "syn_text_b"], ["image_emb", "syn_text_emb"])
    '^(syn_text)$'
    """
    there = set(arrays)
    return f"^({'|'.join(key for key in captions if f'{key}{EMB}' in there)})$"


def legacy_key(captions: Mapping[str, int], rows: int) -> str:
    """Return the key that `rows` of a legacy `text_emb` are of, as its captions' number tells; nothing if it does not.

    >>> legacy_key({"syn_text_a": 5, "syn_text": 5}, 6), legacy_key({"syn_text_a": 2, "syn_text_b": 2}, 3)
    ('syn_text', '')
    """
    fitting = [key for key, count in captions.items() if 1 + count == rows]
    return SYN_KEY if SYN_KEY in fitting else fitting[0] if len(fitting) == 1 else ""


def _of_captions(key: str, count: int, rows: Mapping[str, int], legacy: bool) -> list[tuple[str, str]]:
    if legacy:
        if key != SYN_KEY:
            return [
                ("legacy_keys", f"the legacy layout with the key {key}, where its first readers know {SYN_KEY} alone")
            ]
        if rows[TEXT_EMB] != 1 + count:
            return [("emb_rows", f"{rows[TEXT_EMB]} rows of {TEXT_EMB} for 1 caption and the {count} of {key}")]
        return []
    if f"{key}{EMB}" not in rows:
        return [("emb_missing", f"{key} has captions and no {key}{EMB}: training stops there now and then")]
    if rows[f"{key}{EMB}"] != count:
        return [("emb_rows", f"{rows[f'{key}{EMB}']} rows of {key}{EMB} for the {count} captions of {key}")]
    return []


def _finite(array: Any) -> bool:
    import numpy as np

    return bool(np.isfinite(array).all())
