"""Samples as JSON lines and back, in the generator's words: uid, url, text, image (base64), syn_text*, param_aug, ...

That generator packs embeddings as pickles, which run code when read. So none are written here, and none are read.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from captioners.data.texts import BadSampleError
from captioners.reinforcement.contract_texts import read_object
from captioners.reinforcement.embeddings import to_npz
from captioners.reinforcement.members import (
    AUG,
    AUG_KEY,
    IMAGE,
    META,
    META_KEY,
    NPZ,
    OTHER_IMAGES,
    SYN,
    TEXT,
    URL,
    is_syn_key,
)
from captioners.reinforcement.mend import to_json

_TWICE = {"uid", "url"}
"""What a sample says in its json as well as by its key and its url.txt."""
_GZIP = "H4sI"
"""How base64 of a gzip begins."""


def to_line(key: str, members: Mapping[str, bytes]) -> bytes:
    """Return a sample as one line; its embeddings stay behind, and its picture is told by its bytes alone.

    Raises BadSampleError for members that are no JSON or no UTF-8.
    """
    fields: dict[str, Any] = {"uid": key}
    for name, extension in (("url", URL), ("text", TEXT)):
        if extension in members:
            fields[name] = _text(f"{key}.{extension}", members[extension])
    for extension in (META, SYN, AUG):
        value = _object(f"{key}.{extension}", members[extension]) if extension in members else {}
        # The line's uid is the sample's key, its url that of url.txt; what json says otherwise comes back from here.
        other = {name: value[name] for name in _TWICE if name in value and fields.get(name, value[name]) != value[name]}
        if other:
            value[META_KEY] = {**(value.get(META_KEY) or {}), **other}
        fields |= {name: one for name, one in value.items() if name not in ("text", "image", *(_TWICE & fields.keys()))}
    image = next((name for name in (IMAGE, *OTHER_IMAGES) if name in members), None)
    if image is not None:
        fields["image"] = b64encode(members[image]).decode()
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def members_of(fields: Mapping[str, Any]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the members that a line's captions, augmentations and embeddings make, and the fields that are left.

    Raises BadSampleError (pickled, bad_line) for embeddings that are no tables of numbers.

    >>> members_of({"syn_text": ["a cat"], "width": 3})
    ({'syn.json': b'{"syn_text":["a cat"]}'}, {'width': 3})
    """
    captions: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    left: dict[str, Any] = {}
    members: dict[str, bytes] = {}
    for name, value in fields.items():
        if _are_embeddings(name, value):
            arrays[name.replace("embedding", "emb")] = _array(name, value)
        elif is_syn_key(name):
            captions[name] = value
        elif name == AUG_KEY:
            members[AUG] = to_json({AUG_KEY: value})
        else:
            left[name] = value
    if arrays:
        members[NPZ] = to_npz(arrays)
    if not captions:
        return members, left
    members[SYN] = to_json(captions)
    if isinstance(left.get("url"), str):
        members[URL] = left.pop("url").encode("utf-8", "replace")
    meta = left.get(META_KEY)
    if isinstance(meta, dict) and _TWICE & meta.keys():
        rest = {name: one for name, one in meta.items() if name not in _TWICE}
        own = {name: one for name, one in meta.items() if name in _TWICE}
        left = {**own, **{name: one for name, one in left.items() if name != META_KEY}}
        left |= {META_KEY: rest} if rest else {}
    return members, left


def _are_embeddings(name: str, value: Any) -> bool:
    """Whether a field holds embeddings: lists of numbers, or what their generator packs them into."""
    if not name.endswith(("emb", "embedding")):
        return False
    return isinstance(value, list) or (isinstance(value, str) and value.startswith(_GZIP))


def _array(name: str, value: Any) -> Any:
    import numpy as np

    if isinstance(value, str):
        said = f"{name} is a pickle in base64, which runs code when it is read; take it out, or write it as lists"
        raise BadSampleError("pickled", said)
    try:
        return np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        raise BadSampleError("bad_line", f"{name} is no table of numbers, and its name says embeddings") from None


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadSampleError("not_utf8", f"{name}: not UTF-8 (byte {error.start}); convert it to UTF-8") from None


def _object(name: str, data: bytes) -> dict[str, Any]:
    value, problem = read_object(name, data)
    if problem is not None:
        raise BadSampleError(problem.trap, str(problem))
    return value
