"""A reinforced set held ready for many short trainings: every stored augmentation decoded once, as files of arrays.

    DIR/pixels.npy        uint8 [N, A, 3, H, W]: sample n in its augmentation a, at a student's size, not yet normalised
    DIR/image_emb.npy     float32 [N, A, D]
    DIR/text_emb.npy      float32 [N, D], of the captions that came with the pictures
    DIR/caption_emb.npy   float32 [M, D], of all synthetic captions
    DIR/set.json          names, texts, which caption belongs to whom, what was left out; written last

Processes map the arrays and share their pages. A sample gives the same numbers as `ReinforcedDataset` gives.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from captioners.core.errors import ImageError, NotFoundError, UserError
from captioners.data.inputs import find_inputs, input_root, state
from captioners.data.texts import BadSampleError
from captioners.images.decode import read_image
from captioners.images.preprocess import chw
from captioners.reinforcement.augmentation import Augmentation, Interpolation, Size, replay
from captioners.reinforcement.embeddings import Rows, text_rows
from captioners.reinforcement.index import ShardIndex
from captioners.reinforcement.members import IMAGE_EMB, META
from captioners.reinforcement.sample import Sample, Stored, parse, parse_stored
from captioners.reinforcement.sampling import Sampling

VERSION = 1
"""Raised when the same shards are held otherwise."""
_SET = "set.json"
_REPORTED = 20
"""Samples left out that are named."""


@dataclass(frozen=True, kw_only=True)
class Held:
    """A set that is held; N samples, A augmentations each, M synthetic captions, D the sum of the teachers' widths."""

    names: list[tuple[str, str]]
    """Shard and key."""
    texts: list[str]
    """What came with the pictures."""
    captions: list[dict[str, list[int]]]
    """Of each sample: key -> its captions' numbers in `caption_texts`, in order; equal texts have one number, and so
    one embedding: the same text never meets two roundings of it."""
    caption_texts: list[str]
    meta: list[dict[str, Any]]
    """What each sample's `json` says."""
    pixels: NDArray[np.uint8]
    image_emb: Rows
    text_emb: Rows
    caption_emb: Rows
    left_out: list[str]
    """The first samples that are not held, each with its reason."""
    num_left_out: int

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.names)

    @property
    def keys(self) -> list[str]:
        """All keys of captions, in the order in which they are met."""
        return list(dict.fromkeys(key for one in self.captions for key in one))


def hold(
    inputs: Sequence[str],
    folder: Path,
    size: Size,
    interpolation: Interpolation,
    *,
    most_bytes: int,
    say: Callable[[str], None] = lambda _: None,
) -> Held:
    """Return a set held in `folder`; it is decoded unless it is there already, of the same shards at the same size.

    Raises:
        UserError: nothing is reinforced here, or its pixels would take more than `most_bytes`.
    """
    from captioners.reinforcement.dataset import stored_augmentation

    files = find_inputs(inputs, (".tar",), "shards")
    augmentation = stored_augmentation(inputs)
    about = [VERSION, size, interpolation, asdict(augmentation), [[name, *state(files[name])] for name in files]]
    digest = sha256(json.dumps(about).encode()).hexdigest()
    if (found := _opened(folder, digest)) is not None:
        return found
    index = ShardIndex(files)
    say(f"decoding {len(index):,} samples of {len(files):,} shards")
    rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    draft = _Draft(index, folder, augmentation, (size, size) if isinstance(size, int) else size, interpolation)
    draft.write(most_bytes)
    if not draft.names:
        some = "; ".join(draft.left_out[:3]) or "no sample is in them"
        raise UserError(
            f"{', '.join(inputs)}: nothing can be trained on ({some}); captioners reinforce makes such shards"
        )
    (folder / _SET).write_text(json.dumps({"digest": digest, **draft.said()}), encoding="utf-8")
    held = _opened(folder, digest)
    assert held is not None
    return held


def teachers_of(inputs: Sequence[str]) -> list[tuple[int, float]]:
    """Return width and logit scale of each teacher, as the set's `config.json` has them. Raises UserError without."""
    path = input_root(inputs) / "config.json"
    try:
        said = json.loads(path.read_bytes())["teachers"]
        return [(int(one["dim"]), float(one["logit_scale"])) for one in said]
    except (FileNotFoundError, NotFoundError):
        raise UserError(f"{path}: not found; captioners reinforce writes it beside its shards") from None
    except (ValueError, KeyError, TypeError) as error:
        wanted = '"teachers": [{"dim": ..., "logit_scale": ...}, ...]'
        raise UserError(f"{path}: lacks {wanted} ({type(error).__name__}); add it, in the blocks' order") from None


def _opened(folder: Path, digest: str) -> Held | None:
    try:
        said = json.loads((folder / _SET).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if said.pop("digest", None) != digest:
        return None
    return _mapped(folder, said)


def open_held(folder: Path) -> Held:
    """Return what `hold` wrote, in another process."""
    said = json.loads((folder / _SET).read_text(encoding="utf-8"))
    said.pop("digest")
    return _mapped(folder, said)


def _mapped(folder: Path, said: dict[str, Any]) -> Held:
    count = len(said["names"])
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("pixels", "image_emb", "text_emb")}
    mapped = bool(said["caption_texts"])  # an empty file cannot be mapped
    captions = np.load(folder / "caption_emb.npy", mmap_mode="r" if mapped else None)
    said["names"] = [tuple(name) for name in said["names"]]
    return Held(**said, **{name: rows[:count] for name, rows in arrays.items()}, caption_emb=captions)


class _Draft:
    """A set while it is decoded."""

    def __init__(
        self,
        index: ShardIndex,
        folder: Path,
        augmentation: Augmentation,
        size: tuple[int, int],
        interpolation: Interpolation,
    ) -> None:
        self._index, self._folder, self._augmentation = index, folder, augmentation
        self._size, self._interpolation = size, interpolation
        self.names: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.captions: list[dict[str, list[int]]] = []
        self.caption_texts: list[str] = []
        self.meta: list[dict[str, Any]] = []
        self.left_out = [skipped.error for skipped in index.skipped]
        self._caption_emb: list[Rows] = []
        self._arrays: dict[str, NDArray[Any]] = {}

    def said(self) -> dict[str, Any]:
        """Return what is not an array."""
        names = ("names", "texts", "captions", "caption_texts", "meta")
        left_out = {"left_out": self.left_out[:_REPORTED], "num_left_out": len(self.left_out)}
        return {**{name: getattr(self, name) for name in names}, **left_out}

    def write(self, most_bytes: int) -> None:
        """Decode all samples, and write the arrays."""
        rule = Sampling(syn_keys=r"^syn_text.*$")
        for number in range(len(self._index)):
            key = ""
            try:
                key, members = self._index.read(number)
                sample, stored = parse(key, members, rule), parse_stored(key, members)
                if not self._arrays:
                    self._make(stored, most_bytes)
                self._add(self._index.shard_of(number), key, sample, stored)
            except (BadSampleError, ImageError) as error:
                self.left_out.append(f"{self._index.shard_of(number)}: {error}")
                continue
            self.meta.append(_object(members.get(META, b"{}")))
        width = self._arrays["text_emb"].shape[1] if self._arrays else 0
        rows = np.concatenate(self._caption_emb) if self._caption_emb else np.empty((0, width), np.float32)
        np.save(self._folder / "caption_emb.npy", rows)
        for array in self._arrays.values():
            array.flush()  # type: ignore[attr-defined]

    def _make(self, stored: Stored, most_bytes: int) -> None:
        """Make the arrays, of the first sample's shapes."""
        count, (augmentations, width) = len(self._index), stored.arrays[IMAGE_EMB].shape
        shape = (count, augmentations, 3, *self._size)
        if (needed := int(np.prod(shape))) > most_bytes:
            raise UserError(
                f"the decoded set takes {needed / 1e9:.1f} GB ({count:,} samples x {augmentations} augmentations at "
                f"{self._size[1]} x {self._size[0]}), more than {most_bytes / 1e9:.1f}: raise cache_gb, reinforce "
                "fewer samples or with a smaller n_aug, or train elsewhere (kind: external)"
            )
        for name, of, kind in (
            ("pixels", shape, np.uint8),
            ("image_emb", (count, augmentations, width), np.float32),
            ("text_emb", (count, width), np.float32),
        ):
            self._arrays[name] = open_memmap(self._folder / f"{name}.npy", mode="w+", dtype=kind, shape=of)

    def _add(self, shard: str, key: str, sample: Sample, stored: Stored) -> None:
        place, wanted = len(self.names), self._arrays["image_emb"].shape[1:]
        found = stored.arrays[IMAGE_EMB]
        if found.shape != wanted:
            shapes = f"{found.shape[0]} x {found.shape[1]} where the first sample has {wanted[0]} x {wanted[1]}"
            raise BadSampleError("n_aug", f"{key}: augmentations x width are {shapes}; reinforce it with the others")
        try:
            truth, rows = text_rows(stored.arrays, 1, None, 0)[0], {}
            for syn, texts in sample.syn.items():
                rows[syn] = text_rows(stored.arrays, 1, syn, len(texts))[1]
            picture = read_image(sample.image, "as_trained", name=f"{shard}: {key}")
            views = [
                chw(replay(picture.image, params, self._augmentation, self._size, self._interpolation))
                for params in stored.augmentations
            ]
        except ImageError:
            raise
        except UserError as error:
            raise BadSampleError("unfit", f"{key}: {error}") from None
        self._arrays["pixels"][place], self._arrays["image_emb"][place] = views, found
        self._arrays["text_emb"][place] = truth[0]
        numbers: dict[str, int] = {}
        captions = {}
        for syn, texts in sample.syn.items():
            for at, text in enumerate(texts):
                if text not in numbers:
                    numbers[text] = len(self.caption_texts)
                    self.caption_texts.append(text)
                    self._caption_emb.append(rows[syn][at : at + 1])
            captions[syn] = [numbers[text] for text in texts]
        self.names.append((shard, key))
        self.texts.append(sample.text)
        self.captions.append(captions)


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
