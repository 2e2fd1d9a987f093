"""The rules of the contract for what is text: captions, the object of anything else, and how they shade each other."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from captioners.reinforcement.members import (
    CONTEXT,
    IMAGE,
    META,
    OTHER_IMAGES,
    SYN,
    TEXT,
    URL,
    Problem,
    is_syn_key,
    problem_of_key,
    reserved,
)

_SHOWN = 40


def problems_of_texts(key: str, members: Mapping[str, bytes]) -> tuple[list[Problem], dict[str, int]]:
    """Return the traps of picture and texts, and key of captions -> how many of them, as far as they can be read."""
    found = _missing(key, members)
    for extension in (TEXT, URL):
        if extension in members and (broken := _not_utf8(members[extension])):
            remedy = "convert it to UTF-8, or take the sample out"
            what = f"is not UTF-8 ({broken}): the reader gives up the whole shard"
            found.append(Problem("not_utf8", f"{key}.{extension}", what, remedy))
    if META in members:
        found += _meta(key, members)
    captions: dict[str, int] = {}
    if SYN in members:
        value, problem = read_object(f"{key}.{SYN}", members[SYN])
        if problem is not None:
            return [*found, problem], captions
        found += problems_of_captions(f"{key}.{SYN}", value)
        captions = {
            name: len(texts) for name, texts in value.items() if is_syn_key(name) and isinstance(texts, list) and texts
        }
    return found, captions


def read_object(name: str, data: bytes) -> tuple[dict[str, Any], Problem | None]:
    """Return the object of a member, or an empty one and what is wrong."""
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {error.start}): the reader gives up the whole shard"
        return {}, Problem("not_utf8", name, what, "write it again")
    except (ValueError, RecursionError) as error:
        what = f"is not JSON ({error}): the reader gives up the whole shard"
        return {}, Problem("not_json", name, what, "write it again")
    if not isinstance(value, dict):
        what = f"holds a {type(value).__name__} and no object: the reader gives up the whole shard"
        return {}, Problem("not_an_object", name, what, "write it as an object")
    return value, None


def _missing(key: str, members: Mapping[str, bytes]) -> list[Problem]:
    image = next((name for name in (IMAGE, *OTHER_IMAGES) if name in {one.lower() for one in members}), None)
    if image is None:
        what = "the sample has no picture, and training leaves it out without a word"
        return [Problem("no_image", f"{key}.{IMAGE}", what, "join the set that has it (captioners data join)")]
    found = []
    if not members.get(image, b"x"):
        what = "the picture is empty: the reference fails on the whole shard"
        found.append(Problem("empty_image", f"{key}.{image}", what, "take the sample out"))
    if TEXT not in members:
        what = "the sample has no caption of its own, and training leaves it out without a word"
        found.append(Problem("no_text", f"{key}.{TEXT}", what, "join the set that has it (captioners data join)"))
    if SYN not in members:
        what = "the sample has no synthetic captions: training stops there with a KeyError"
        found.append(Problem("no_syn", f"{key}.{SYN}", what, "export it again, or take the sample out"))
    return found


def _meta(key: str, members: Mapping[str, bytes]) -> list[Problem]:
    name = f"{key}.{META}"
    value, problem = read_object(name, members[META])
    if problem is not None:
        return [problem]
    found = []
    for field in value:
        if trap := reserved(field):
            found.append(Problem(trap[0], name, f"its {field!r} {trap[1]}", "move it below the key cap_meta"))
    order = list(members)
    # What the reader meets later wins: the object's own uid and url, where it comes after all that say otherwise.
    if order[-1] == META and "uid" in value and str(value["uid"]) != key:
        what = f"its uid {value['uid']!r:.{_SHOWN}} takes the place of the key, as it is the sample's last member"
        found.append(Problem("overrides", name, what, "write the members in sorted order"))
    behind = URL in members and order.index(URL) < order.index(META)
    if behind and "url" in value and str(value["url"]).encode("utf-8", "replace") != members[URL]:
        what = "its url takes the place of what url.txt says, as it comes behind it"
        found.append(Problem("overrides", name, what, "write the members in sorted order"))
    return found


def problems_of_captions(name: str, value: Mapping[str, Any]) -> list[Problem]:
    """Return the traps of what `syn.json` holds."""
    found = []
    keys = [key for key in value if is_syn_key(key)]
    if not keys:
        what = "has no key that begins with syn_text: training stops there with a ValueError"
        found.append(Problem("no_syn", name, what, "export it again, or take the sample out"))
    for key in value:
        if key in keys:
            found += _captions(name, key, value[key])
        if (key in keys and problem_of_key(key)) or (key not in keys and "_captions" not in key):
            what = f"its key {key!r} {problem_of_key(key)}"
            found.append(Problem("syn_key", name, what, "name it syn_text_TAG, or move it to cap_meta in the json"))
    return found


def _captions(name: str, key: str, texts: Any) -> list[Problem]:
    """Return what is wrong with one list of captions."""

    def problem(trap: str, what: str, remedy: str = "export it again, or take the sample out") -> list[Problem]:
        return [Problem(trap, name, f"{key}: {what}", remedy)]

    if isinstance(texts, str):
        return problem("not_a_list", "is a text and no list: training picks single characters of it", "make it a list")
    if not isinstance(texts, list):
        return problem("not_a_list", f"is a {type(texts).__name__} and no list: training stops there now and then")
    if not texts:
        return problem("empty_list", "has no captions: training stops there with a ValueError")
    found: list[Problem] = []
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            found += problem("not_text", f"caption {number} is a {type(text).__name__} and no text")
        elif not text.strip():
            found += problem("empty_caption", f"caption {number} is empty, and is trained on without a word")
        elif text != text.strip():
            found += problem("unstripped", f"caption {number} has blanks around it", "strip it")
        elif _broken(text):
            found += problem("not_utf8", f"caption {number} has half of a character, which is no UTF-8")
        elif (tokens := clip_tokens(text)) > CONTEXT:
            what = f"caption {number} has {tokens} CLIP tokens; training cuts it after {CONTEXT}"
            found += problem("too_long", what, "choose shorter ones (select.where), or accept the cut")
    return found


def clip_tokens(text: str) -> int:
    """Return how many tokens CLIP makes of a text, start and end with them; at most that where they surely fit."""
    # A token stands for at least a byte, and in plain ASCII cleaning adds none.
    if text.isascii() and "&" not in text and len(text) + 2 <= CONTEXT:
        return len(text) + 2
    return len(_tokenizer().encode(text)) + 2


@cache
def _tokenizer() -> Any:
    from captioners.text.tokenizer import ClipTokenizer

    return ClipTokenizer()


def _not_utf8(data: bytes) -> str:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"byte {error.start}"
    return ""


def _broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
