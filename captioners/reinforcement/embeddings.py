"""Teachers' embeddings of one sample as the bytes of a shard's member, and back: `.npz` and bfloat16 `.pth.gz`.

Equal arrays give equal bytes: no time and no name is in them. No code in a file can run: `.npz` is read without
objects, `.pth.gz` with `weights_only`. What is read is float32, whatever was written.

Two layouts hold the synthetic captions' rows. *split*: `text_emb` [G, D] and `<syn key>_emb` [S, D], of G ground-truth
and S synthetic captions. *legacy* (DataCompDR): `text_emb` [G + S, D], the ground truth first.
"""

import gzip
import io
import zipfile
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import UserError
from captioners.reinforcement.members import SYN_KEY

Rows = NDArray[np.float32]
"""[rows, D]: D is the sum of the teachers' widths, each teacher's part of length 1."""

IMAGE, TEXT, SUFFIX = "image_emb", "text_emb", "_emb"

LARGEST = 1 << 28
"""Bytes of a sample's arrays when unpacked; more is a bomb."""


def split(image_emb: Rows, text_emb: Rows, syn: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return the arrays of the split layout; `syn` maps each syn key (`syn_text_coco`) to its captions' rows."""
    return {IMAGE: image_emb, TEXT: text_emb, **{key + SUFFIX: rows for key, rows in syn.items()}}


def legacy(image_emb: Rows, text_emb: Rows, syn: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return the arrays of the legacy layout.

    Raises UserError as `refuse_legacy`.
    """
    refuse_legacy(syn)
    return {IMAGE: image_emb, TEXT: np.concatenate([text_emb, *syn.values()])}


def refuse_legacy(keys: Collection[str]) -> None:
    """Raise UserError unless `syn_text` is the one syn key: which key a row is of does not stand in the layout."""
    if list(keys) != [SYN_KEY]:
        raise UserError(
            f"layout legacy holds the captions of the key {SYN_KEY} alone, here are {', '.join(keys) or 'none'}; "
            "export one captioner with tags={MEMBER: ''}, or say layout=split"
        )


def text_rows(arrays: Mapping[str, Rows], ground_truth: int, key: str | None, synthetic: int) -> tuple[Rows, Rows]:
    """Return the rows of the `ground_truth` captions and those of `key`'s `synthetic` ones, of either layout.

    As MobileCLIP2's trainer, which takes it for legacy where `text_emb` has more rows than ground-truth captions.
    Without a key there are no rows of the second kind. Raises UserError where rows and captions do not match, so that
    no caption meets another's embedding.
    """
    text = arrays.get(TEXT)
    if text is None:
        raise UserError(f"embeddings: {TEXT} is missing; embed the sample anew")
    old = len(text) > ground_truth
    name = f"{TEXT} after the ground truth" if old else f"{key}{SUFFIX}"
    rows = text[:0] if key is None else text[ground_truth:] if old else arrays.get(name)
    if rows is None:
        raise UserError(f"embeddings: {name} is missing; leave {key} out by its name, or embed the sample anew")
    for what, there, wanted in ((TEXT, len(text[:ground_truth]), ground_truth), (name, len(rows), synthetic)):
        if there != wanted:
            raise UserError(f"embeddings: {what} has {there} rows for {wanted} captions; embed the sample anew")
    return text[:ground_truth], rows


def to_npz(arrays: Mapping[str, Rows]) -> bytes:
    """Return a compressed `.npz` of float32 arrays."""
    file = io.BytesIO()
    # numpy's zip entries carry no time (1980); tests hold it to that.
    np.savez_compressed(file, **{name: np.asarray(rows, np.float32) for name, rows in arrays.items()})  # type: ignore[arg-type]
    return file.getvalue()


def to_pth_gz(arrays: Mapping[str, Rows]) -> bytes:
    """Return a gzipped `torch.save` of bfloat16 tensors."""
    import torch

    # `to` copies: a view would bring the whole storage that it is a part of.
    tensors = {name: torch.tensor(rows).to(torch.bfloat16) for name, rows in arrays.items()}
    file = io.BytesIO()
    torch.save(tensors, file)
    return gzip.compress(file.getvalue(), compresslevel=6, mtime=0)  # level 9 takes longer and saves nothing


def read(name: str, data: bytes) -> dict[str, Rows]:
    """Return the float32 arrays [rows, D] of a member, by its extension: `npz` or `pth.gz`.

    Raises UserError, with the member's name, for anything else that the bytes may be.
    """
    found = unpacked(name, data)
    for key, rows in found.items():
        if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
            wrong = "numbers that are not finite" if rows.ndim == 2 and rows.size else f"the shape {rows.shape}"
            raise UserError(f"{name}: {key} has {wrong}; it is [rows, D], finite: embed the sample anew")
    return found


def unpacked(name: str, data: bytes) -> dict[str, Rows]:
    """Return the float32 arrays of a member, whatever their shapes and values. Raises as `read` does for bad bytes."""
    if not name.endswith(("npz", "pth.gz")):
        raise UserError(f"{name}: embeddings are .npz or .pth.gz files; rename it, or leave it out")
    try:
        return _read_npz(data) if name.endswith("npz") else _read_pth_gz(data)
    except Exception as error:  # foreign bytes make zip, gzip, numpy and torch raise nearly anything, MemoryError too
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{name}: not readable as embeddings ({said}); embed the sample anew") from error


def _read_npz(data: bytes) -> dict[str, Rows]:
    _bound_zip(data)
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    _bounded(4 * sum(array.size for array in arrays.values()))  # as float32, whatever they are
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def _read_pth_gz(data: bytes) -> dict[str, Rows]:
    import torch

    with gzip.open(io.BytesIO(data)) as file:
        unpacked = file.read(LARGEST + 1)
    _bounded(len(unpacked))
    _bound_zip(unpacked)
    found: dict[str, torch.Tensor] = torch.load(io.BytesIO(unpacked), map_location="cpu", weights_only=True)
    if any(tensor.layout != torch.strided for tensor in found.values()):
        raise ValueError("a sparse tensor, not a table")
    _bounded(4 * sum(tensor.numel() for tensor in found.values()))  # one number may stand for many: a stride of 0
    return {str(name): tensor.to(torch.float32).numpy() for name, tensor in found.items()}


def _bound_zip(data: bytes) -> None:
    """Raise ValueError for what comes to too much, zipfile.BadZipFile for what is no zip."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        _bounded(sum(entry.file_size for entry in archive.infolist()))


def _bounded(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes when unpacked")
