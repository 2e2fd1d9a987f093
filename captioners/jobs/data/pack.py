"""Pack any source into webdataset shards: the images' bytes untouched, captions and meta beside them.

    OUT/00000.tar          KEY.jpg (or what the bytes are), KEY.txt the first caption, KEY.json meta and all captions;
                           lines of MobileCLIP's generator come back as KEY.syn.json, KEY.paug.json and KEY.npz
    OUT/sizes.json         {"00000.tar": samples, ...}
    OUT/quarantine.jsonl   what could not be packed, a line each, with its reason; only if there is any

The folder appears whole or not at all, and the same input gives the same bytes.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

from pydantic import ValidationError

from captioners.core.errors import NotFoundError, UserError, near
from captioners.data.inputs import local_root
from captioners.data.recognise import recognise
from captioners.data.source import Sample, SourceOptions, Unreadable
from captioners.data.tar import TarWriter
from captioners.data.texts import BadSampleError
from captioners.images.formats import extension_of
from captioners.reinforcement.lines import members_of

_UNFIT = re.compile(r"[./\\\s]")


@dataclass
class Packed:
    """What was packed: `read` = samples in `sizes` + those in `reasons`."""

    recognised: str
    """One sentence of what the input was taken for."""
    read: int = 0
    sizes: dict[str, int] = field(default_factory=dict)
    """Shard -> samples."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Why samples were quarantined -> how many."""
    captioned: int = 0
    """Samples with a caption."""
    renamed: int = 0
    """Samples whose key had to change; their meta say what it was."""


def data_pack(
    inputs: str,
    out: Path,
    per_shard: int = 1000,
    changes: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Packed:
    """Write the samples of `inputs` to shards of `per_shard` in the folder `out`; `say` hears of every shard.

    `changes` are `key=value` for the source's own options, as in `caption_column=text`.

    Raises:
        NotFoundError: nothing is at `inputs`.
        UserError: `out` is not free or lies inside the input, or not one sample could be packed.
    """
    options, sentence = recognise([inputs])
    options = _changed(options, changes)
    out = out.expanduser()
    _check_free(out, inputs)
    packed = Packed(sentence)
    part = out.with_name(f".{out.name}.{uuid4().hex[:8]}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir()
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        first_error = _write(_rows(options), part, per_shard, packed, say)
        if not packed.sizes:
            raise UserError(f"none of {packed.read:,} samples could be packed; the first: {first_error}")
        (part / "sizes.json").write_text(json.dumps(packed.sizes, indent=2) + "\n", encoding="utf-8")
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return packed


def _rows(options: SourceOptions) -> Iterator[Sample | Unreadable]:
    source = options.open()
    for shard in source.shards():
        yield from source.samples(shard)


def _write(
    rows: Iterator[Sample | Unreadable], part: Path, per_shard: int, packed: Packed, say: Callable[[str], None]
) -> str:
    """Write shards and the quarantine, count in `packed`, and return the first error, if there was one."""
    taken: set[str] = set()
    bad: TextIO | None = None
    first_error = ""
    with ExitStack() as stack:
        tar: TarWriter | None = None
        shard_ends = stack.enter_context(ExitStack())
        for found in rows:
            packed.read += 1
            row, extension, members = _fit(found)
            if not isinstance(row, Sample):
                bad = bad or stack.enter_context((part / "quarantine.jsonl").open("w", encoding="utf-8"))
                record = _record(row)
                packed.reasons[record["reason"]] += 1
                first_error = first_error or record["error"]
                bad.write(json.dumps(record) + "\n")
                continue
            if tar is None or packed.sizes[tar.path.name] == per_shard:
                shard_ends.close()
                if tar is not None:
                    say(f"{tar.path.name}: {per_shard:,} samples")
                tar = shard_ends.enter_context(TarWriter(part / f"{len(packed.sizes):05d}.tar"))
                packed.sizes[tar.path.name] = 0
            key = _free_key(row.key, taken)
            packed.renamed += key != row.key
            packed.captioned += bool(row.captions)
            tar.add(key, {extension: row.image} | _texts(row, key) | members)
            packed.sizes[tar.path.name] += 1
        shard_ends.close()
        if tar is not None:
            say(f"{tar.path.name}: {packed.sizes[tar.path.name]:,} samples")
    return first_error


def _fit(row: Sample | Unreadable) -> tuple[Sample | Unreadable, str, dict[str, bytes]]:
    """Return a sample with its picture's extension and the members that its meta makes, or why there is none."""
    if isinstance(row, Unreadable):
        return row, "", {}
    reason, said = "not_an_image", f"not a picture of a known format (it starts with {row.image[:8]!r})"
    extension = extension_of(row.image)
    if extension is not None:
        try:
            members, meta = members_of(row.meta)
            return replace(row, meta=meta), extension, members
        except BadSampleError as error:
            reason, said = error.reason, str(error)
    said = f"{row.name}: {said}"
    return Unreadable(shard=row.shard, key=row.key, index=row.index, reason=reason, error=said), "", {}


def _texts(sample: Sample, key: str) -> dict[str, bytes]:
    """Return the members beside the image: `txt` if there is a caption, `json` if there is more to say."""
    meta = dict(sample.meta)
    if len(sample.captions) > 1:
        meta.setdefault("captions", list(sample.captions))
    if key != sample.key:
        meta.setdefault("source_key", sample.key)
    members = {"txt": sample.captions[0].encode()} if sample.captions else {}
    if meta:
        members["json"] = json.dumps(meta, ensure_ascii=True, separators=(",", ":")).encode()
    return members


def _record(row: Unreadable) -> dict[str, Any]:
    offset = {"offset": row.offset} if row.offset is not None else {}
    return {"shard": row.shard, "key": row.key, "reason": row.reason, "error": row.error} | offset


def _free_key(key: str, taken: set[str]) -> str:
    """Return a key that no reader splits and no sample before has: '/', dots and blanks become '_'.

    >>> taken: set[str] = set()
    >>> [_free_key(key, taken) for key in ("a/1.b", "a/1_b", "a_1_b")]
    ['a_1_b', 'a_1_b-2', 'a_1_b-3']
    """
    plain = _UNFIT.sub("_", key)
    plain = "".join(letter if letter.isprintable() else "_" for letter in plain) or "_"
    free, number = plain, 2
    while free in taken:
        free, number = f"{plain}-{number}", number + 1
    taken.add(free)
    return free


def _changed(options: SourceOptions, changes: Sequence[str]) -> SourceOptions:
    fields = options.model_dump()
    for change in changes:
        name, equals, value = change.partition("=")
        known = [known for known in fields if known not in ("kind", "inputs")]
        if not equals or name not in known:
            hint = near(name, known) or f" It has: {', '.join(known)}"
            raise NotFoundError(f"{change}: the source {fields['kind']} has no such option.{hint}")
        fields[name] = value
    try:
        return type(options).model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _check_free(out: Path, inputs: str) -> None:
    root = local_root([inputs])
    # Links are followed: the question is where the bytes would lie. A file that is named holds nothing but itself.
    if not Path(inputs).expanduser().is_file() and out.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"{out}: lies inside the input {root}, which would then hold its own copy; choose another folder"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: something is there already; name a new folder")
