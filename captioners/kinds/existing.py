"""The kind `existing`: captions that are there already, in a field of the source or in a Parquet file, as a member.

Grade: exact; nothing is decoded. Draw k is the k-th caption; of a sample that has fewer, the missing ones are empty
texts, which the rules then refuse, and of one that has more, the first count. The picture is never looked at.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

from captioners.core.errors import CaptionersError, UserError, near
from captioners.decoding.values import Beam, Sample
from captioners.images.fit import Fit
from captioners.kinds.captioner import CaptionerInfo, Request, Result
from captioners.kinds.existing_options import ExistingOptions


class ExistingCaptioner:
    """Reads captions; see `captioners.kinds.captioner.Captioner`."""

    fit: Fit | None = None
    device_type = "elsewhere"
    encode_seconds = 0.0

    def __init__(self, options: ExistingOptions) -> None:
        self._options = options
        self._table = _Table(options) if options.file is not None else None
        self._open = False

    @property
    def info(self) -> CaptionerInfo:
        """What the captions are; their digest where they are a file's, and none where they come with the samples."""
        options = self._options
        digest = self._table.digest if self._table else ""
        meaning: dict[str, Any] = {"kind": "existing", "field": options.field, "decoding": None, "weights": digest}
        if options.file is not None:
            meaning["key"] = options.key
        return CaptionerInfo(
            name=options.called,
            kind="existing",
            weights_digest=digest,
            tower_digest=None,
            licences={"captions": options.licence},
            context_length=0,
            max_tokens=0,
            num_parameters=0,
            grade="exact",
            recommended_decoding=Sample(),
            meaning=meaning,
        )

    @property
    def environment(self) -> dict[str, str]:
        """Nothing that a caption could depend on."""
        return {"device": "none", "dtype": ""}

    def accepts(self, decoding: Sample | Beam, draws: int = 1, prompt: str = "") -> str | None:
        """Refuse whatever would ask for other captions than are there."""
        return self._options.accepts(decoding, draws, prompt)

    def open(self, budget: int | None = None) -> None:  # noqa: ARG002  # the file was read to be digested
        """Be ready."""
        self._open = True

    def caption(self, requests: Iterable[Request]) -> Iterator[Result]:
        """Yield what is there, in order."""
        if not self._open:
            raise CaptionersError("the captioner is not open; call open() first")
        for request in requests:
            try:
                found, problem = self._captions(request.fields), None
            except UserError as error:
                found, problem = (), str(error)
            for draw in range(request.first_draw, request.first_draw + request.draws):
                text = " ".join(found[draw].split()) if draw < len(found) else ""
                yield Result(
                    index=request.index,
                    draw=draw,
                    text=text,
                    raw_text=problem if problem else found[draw] if draw < len(found) and found[draw] != text else None,
                    num_tokens=len(text.split()),
                    logprob=None,
                    finish="error" if problem else "eos",
                )

    def _captions(self, fields: Mapping[str, Any]) -> tuple[str, ...]:
        if self._table is None:
            field = self._options.field
            found = value_of(fields, field)
            if found is None and field not in fields and re.split("[:.]", field)[0] not in fields:
                raise UserError(f"the sample has no field {field!r}; it has: {', '.join(sorted(fields))}")
            return _texts(found, field)
        key = fields.get(self._options.key)
        if key is None:
            raise UserError(f"the sample has no field {self._options.key!r} to look its captions up by")
        return self._table.of(str(key))

    def close(self) -> None:
        """Be ready no more."""
        self._open = False


def value_of(fields: Mapping[str, Any], name: str) -> Any:
    """Return a field by its name; `a.b` is `b` inside `a`, and `syn.json:a` is `a` inside `syn.json`.

    >>> value_of({"syn.json": {"syn_text": ["a cat"]}, "long": {"en": "x"}}, "syn.json:syn_text")
    ['a cat']
    """
    if name in fields:
        return fields[name]
    for mark in (":", "."):
        first, found, rest = name.partition(mark)
        inside = fields.get(first)
        if found and isinstance(inside, Mapping):
            return value_of(inside, rest)
    return None


def _texts(value: Any, where: str) -> tuple[str, ...]:
    listed = [] if value is None else value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(text, str) for text in listed):
        raise UserError(f"{where!r} holds neither a text nor a list of texts")
    return tuple(listed)


class _Table:
    """The captions of a Parquet file (or of a folder of them) by key, in the file's order."""

    def __init__(self, options: ExistingOptions) -> None:
        import pyarrow as pa

        self._field = options.field
        try:
            table = _read(str(options.file), options)
        except (pa.ArrowException, OSError) as error:
            said = " ".join(str(error).split())[:160]
            raise UserError(f"file: {options.file} cannot be read as Parquet ({said})") from None
        self._texts = table.column(options.field)
        self._rows: dict[str, int | list[int]] = {}
        for row, key in enumerate(map(str, table.column(options.key).to_pylist())):
            before = self._rows.setdefault(key, row)
            if before != row:
                self._rows[key] = [*before, row] if isinstance(before, list) else [before, row]
        digest = sha256()
        for batch in table.select([options.key, options.field]).to_batches(max_chunksize=1 << 16):
            for pair in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                digest.update(repr(pair).encode())
        self.digest = digest.hexdigest()
        """sha256 over all pairs of key and captions, in their order."""

    def of(self, key: str) -> tuple[str, ...]:
        """Return a key's captions; none where it is not there."""
        rows = self._rows.get(key, [])
        found = [self._texts[row].as_py() for row in ([rows] if isinstance(rows, int) else rows)]
        return tuple(text for value in found for text in _texts(value, self._field))


def _read(file: str, options: ExistingOptions) -> Any:
    import fsspec
    import pyarrow.dataset as ds

    system, path = fsspec.core.url_to_fs(file, use_listings_cache=False)
    found = ds.dataset(path, filesystem=system, format="parquet")
    for option, column in (("field", options.field), ("key", options.key)):
        if column not in found.schema.names:
            known = f" It has: {', '.join(found.schema.names)}"
            raise UserError(f"{option}: {file} has no column {column!r}.{near(column, found.schema.names)}{known}")
    return found.to_table(columns=[options.key, options.field])
