"""The names of the contract: members of a sample, keys within them, and what is wrong with any other name."""

import re
from dataclasses import dataclass

IMAGE, TEXT, URL, META = "jpg", "txt", "url.txt", "json"
SYN, AUG, NPZ, PTH = "syn.json", "paug.json", "npz", "pth.gz"
EXTENSIONS = (IMAGE, META, NPZ, AUG, PTH, SYN, TEXT, URL)
"""All that a sample may have, in the order in which its members are written."""

SYN_KEY = "syn_text"
"""The key of captions in `syn.json`; with a tag behind it, `syn_text_TAG`, where several captioners wrote."""
META_KEY = "cap_meta"
"""The one key of ours in `json`: who wrote the captions, and what had to move out of the reader's way."""
AUG_KEY, IMAGE_EMB, TEXT_EMB, EMB = "param_aug", "image_emb", "text_emb", "_emb"
CONTEXT = 77
"""Tokens that CLIP reads of a text, with start and end; the trainer cuts what is longer without a word."""
OPERATIONS = 14
"""Operations of RandAugment, by number in `param_aug`."""

OTHER_IMAGES = ("jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "heic", "avif")
"""Extensions of pictures that the trainer or others read, and the reader does not."""

_BY_LENGTH = sorted((*EXTENSIONS, *OTHER_IMAGES), key=len, reverse=True)
_KEY = re.compile(r"syn_text.*", re.DOTALL)


@dataclass(frozen=True)
class Problem:
    """A trap that a shard holds."""

    trap: str
    """Its name, a word."""
    member: str
    """The file in the shard, or the shard's own file beside it."""
    what: str
    """What is wrong, and what comes of it."""
    remedy: str

    def __str__(self) -> str:
        return f"{self.member}: {self.what}; {self.remedy}"


def is_syn_key(key: str) -> bool:
    """Whether the trainer takes a key of `syn.json` for captions.

    >>> is_syn_key("syn_text"), is_syn_key("syn_text_dfn"), is_syn_key("my_syn_text")
    (True, True, False)
    """
    return _KEY.match(key) is not None


def problem_of_key(key: str) -> str:
    """Return why a key of `syn.json` cannot hold captions, or nothing.

    >>> problem_of_key("syn_text_december")
    "has 'emb' in it, by which the reference tells embeddings"
    """
    if not is_syn_key(key):
        return f"does not begin with {SYN_KEY}, so the trainer never chooses it"
    if "emb" in key:
        return "has 'emb' in it, by which the reference tells embeddings"
    return "" if key.isprintable() and "." not in key else "has characters that no name of an array has"


def reserved(key: str) -> tuple[str, str] | None:
    """Return the trap and what comes of it if `KEY.json` has this key at its top; None for a harmless one.

    >>> reserved("member"), reserved("width")
    (('emb_key', "has 'emb' in it: the reference takes it for an embedding and fails"), None)
    """
    if key == "caption":
        return "caption_key", "stands beside the txt: the reference's embedding stage drops every such sample"
    if key in ("text", "texts", "image", AUG_KEY):
        return "reserved_key", f"takes the place of the sample's own {key}"
    if "emb" in key:
        return "emb_key", "has 'emb' in it: the reference takes it for an embedding and fails"
    if "_captions" in key or is_syn_key(key):
        return "reserved_key", "is taken for captions and moved to syn.json"
    return None


def split_member(name: str) -> tuple[str, str]:
    """Return key and extension as the reader has them: before and after the first dot, wherever it stands.

    >>> split_member("0001.syn.json"), split_member("./0001.jpg"), split_member("README")
    (('0001', 'syn.json'), ('', '/0001.jpg'), ('README', ''))
    """
    key, _, extension = name.partition(".")
    return key, extension


def problem_of_name(name: str) -> Problem | None:
    """Return what is wrong with a member's name as it stands in the tar, or None."""
    key, extension = split_member(name)
    if extension in EXTENSIONS and key and not name.startswith("./"):
        return None
    trap, what, remedy = _wrong_name(name, key, extension)
    return Problem(trap, name, f"{what}: the reader gives up the whole shard", remedy)


def _wrong_name(name: str, key: str, extension: str) -> tuple[str, str, str]:
    ending = ending_of(extension)
    if name.startswith("./"):
        found = "leading_dot", "begins with ./", "rename it without"
    elif not extension:
        found = "no_extension", "has no extension", "take it out of the shard"
    elif not key or "/" in extension or (ending and ending != extension.lower()):
        found = "dotted_name", f"has a dot in its key, which ends it at {key!r}", "rename the sample without dots"
    elif ending in EXTENSIONS:
        found = "upper_case", "has an extension in capitals", "rename it in small letters"
    elif ending in OTHER_IMAGES:
        found = "image_name", f"is a picture named .{extension}", "rename it to .jpg: the bytes tell its format"
    else:
        found = "extension", f"has an extension that is none of {', '.join(EXTENSIONS)}", "take it out of the shard"
    return found


def ending_of(name: str) -> str:
    """Return the longest known extension that a name ends with, in small letters, or nothing.

    >>> ending_of("v1.0/a.b.SYN.json"), ending_of("jpeg"), ending_of("cls")
    ('syn.json', 'jpeg', '')
    """
    lower = name.lower()
    return next((one for one in _BY_LENGTH if lower == one or lower.endswith(f".{one}")), "")
