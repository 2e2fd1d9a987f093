"""Write a captioner as a directory that plain open_clip opens, bit for bit the same, with its card.

    open_clip_model.safetensors   the weights, as they are (or as fp16, which loading turns back into fp32)
    open_clip_config.json         architecture, final context length in both towers, preprocessing
    tokenizer.json, tokenizer_config.json, sentencepiece.model    unless it is CLIP's, which open_clip bundles
    captioner.json                the card: name, digests, licences, limits, recommended decoding
    README.md                     the card for people, and how to open the directory
    .gitattributes                only for the Hugging Face Hub

The directory appears whole or not at all: it is written beside its place, read back, and renamed.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from captioners.core.errors import UserError
from captioners.images.preprocess import Preprocess
from captioners.kinds.catalogue import KnownCaptioner
from captioners.kinds.loading import Loaded, fetch
from captioners.kinds.model_card import model_card
from captioners.models.coca import POSITIONS, LoadedCoCa, with_context
from captioners.models.weights import State, read_weights, weights_digest
from captioners.text.fast import FastTokenizer
from captioners.text.pieces import SentencePieceTokenizer
from captioners.text.tokenizer import Tokenizer, load_tokenizer

SaveDtype = Literal["fp32", "fp16"]
WEIGHTS = "open_clip_model.safetensors"
_SPARE_BYTES = 16 << 20  # what the small files and the file system's own books may need besides the weights


def write_captioner(known: KnownCaptioner, loaded: Loaded, out: str | Path, *, repository: str | None = None) -> Path:
    """Write a loaded captioner's directory, its own card carried on, and return its path; see `write_open_clip`."""
    card = {
        "name": known.name,
        "licences": loaded.licences,
        **({"commercial_use": "no"} if known.noncommercial else {}),
        # Defaults written out: they may change, what this captioner recommends may not.
        "recommended_decoding": loaded.recommended.model_dump(mode="json", exclude_none=True),
    }
    return write_open_clip(loaded.coca, loaded.tokenizer, card | _own_card(known), out, repository=repository)


def _own_card(known: KnownCaptioner) -> dict[str, Any]:
    """Return the card lying beside the weights, as it is; {} where there is none."""
    folder = fetch(known)
    file = folder / "captioner.json" if folder is not None and folder.is_dir() else None
    card = json.loads(file.read_text(encoding="utf-8")) if file is not None and file.is_file() else {}
    return dict(card)


def write_open_clip(
    loaded: LoadedCoCa,
    tokenizer: Tokenizer,
    card: Mapping[str, Any],
    out: str | Path,
    *,
    save_dtype: SaveDtype = "fp32",
    repository: str | None = None,
) -> Path:
    """Write a captioner's directory and return its path.

    `card` may say `name`, `licences`, `recommended_decoding` and more; what can be computed is. With `fp16` the weights
    are rounded; digest and card are those of the rounded captioner, in fp32, as every loader makes it again.
    `repository`: ORG/NAME on the Hugging Face Hub where it will be, "" if that is not known yet; None: nowhere. Raises
    UserError when `out` is not free, when the tokenizer and the model don't fit each other, or when the disk is full.
    """
    target = Path(out).expanduser().absolute()
    refuse_unless_free(target)
    # Tensors may be views into a mapped file, or share memory; the file holds each by itself.
    state = {name: tensor.detach().to("cpu").contiguous() for name, tensor in loaded.model.state_dict().items()}
    stored = _as(state, torch.float16) if save_dtype == "fp16" else state
    if save_dtype == "fp16":
        state = _as(stored, torch.float32)
    config = _config(loaded, tokenizer, state, repository)
    full_card = _card(loaded, tokenizer, card, config, state)
    target.parent.mkdir(parents=True, exist_ok=True)
    _refuse_unless_room(stored, target)
    draft = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        draft.mkdir()
        _write_json(config, draft / "open_clip_config.json")
        _write_weights(stored, draft / WEIGHTS)
        # safetensors writes for the owner alone; others may read the weights where they may read the rest.
        (draft / WEIGHTS).chmod((draft / "open_clip_config.json").stat().st_mode)
        _write_tokenizer(tokenizer, draft)
        _write_json(full_card, draft / "captioner.json")
        _write_readme(full_card, config, draft, repository)
        _read_back(draft, full_card, config, state)
        if target.exists():
            target.rmdir()  # empty, as was made sure of; not every system renames onto it
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _as(state: State, dtype: torch.dtype) -> State:
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def refuse_unless_free(target: Path) -> None:
    """Raise UserError unless nothing, or an empty folder, is there."""
    if target.is_dir():
        if any(target.iterdir()):
            raise UserError(f"{target}: the folder is not empty; name a new one, or empty it first")
    elif target.exists():
        raise UserError(f"{target}: a file of that name exists; name a new folder")


def _refuse_unless_room(state: State, target: Path) -> None:
    needed = sum(tensor.numel() * tensor.element_size() for tensor in state.values()) + _SPARE_BYTES
    free = shutil.disk_usage(target.parent).free
    if free < needed:
        found = f"{needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free"
        raise UserError(f"{target}: out of disk: {found}; free some space or name another place")


def _config(loaded: LoadedCoCa, tokenizer: Tokenizer, state: State, repository: str | None) -> dict[str, Any]:
    length = state[POSITIONS].shape[0] - 1  # without CLS; the table, not the configuration, is what the model has
    model_cfg = with_context(loaded.model_cfg, length)
    text_cfg = model_cfg["text_cfg"]
    if tokenizer.name == "clip":
        text_cfg.pop("hf_tokenizer_name", None)
    else:
        # Of a local directory open_clip only asks whether there is a name, and then reads the tokenizer beside it.
        text_cfg["hf_tokenizer_name"] = repository or text_cfg.get("hf_tokenizer_name") or "this-directory"
    if text_cfg.get("vocab_size", 49408) != tokenizer.vocab_size:
        found = f"the tokenizer has {tokenizer.vocab_size:,} ids and the model {text_cfg.get('vocab_size', 49408):,}"
        raise UserError(f"{found}; they were not made for each other: export the captioner with its own tokenizer")
    return {"model_cfg": model_cfg | {"custom_text": True}, "preprocess_cfg": dict(loaded.preprocess_cfg)}


def _card(
    loaded: LoadedCoCa, tokenizer: Tokenizer, card: Mapping[str, Any], config: dict[str, Any], state: State
) -> dict[str, Any]:
    length = config["model_cfg"]["text_cfg"]["context_length"]
    image_size = config["model_cfg"]["vision_cfg"].get("image_size", 224)
    return {
        "name": "captioner",
        "licences": {"weights": "unknown"},
        "recommended_decoding": None,
        **card,
        "kind": "coca",
        "context_length": length,
        "max_tokens": length - 2,
        "num_parameters": sum(parameter.numel() for parameter in loaded.model.parameters()),
        "weights_digest": weights_digest(state),
        "tokenizer": tokenizer.name,
        "tokenizer_digest": tokenizer.digest,
        "preprocess_digest": Preprocess({"size": image_size, **config["preprocess_cfg"]}).digest,
    }


def _write_weights(state: State, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(state, path, metadata={"format": "pt"})
    except SafetensorError as error:
        if "os error 28" not in str(error):  # ENOSPC, the one thing a user can mend
            raise
        raise UserError(f"{path.parent.parent}: out of disk; free some space or name another place") from None


def _write_json(value: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_readme(card: Mapping[str, Any], config: Mapping[str, Any], folder: Path, repository: str | None) -> None:
    own_tokenizer = "hf_tokenizer_name" in config["model_cfg"]["text_cfg"]
    text = model_card(card, repository=repository, own_tokenizer=own_tokenizer)
    (folder / "README.md").write_text(text, encoding="utf-8")
    if repository is not None:  # the Hub takes large files by way of git's large file storage
        (folder / ".gitattributes").write_text("*.safetensors filter=lfs diff=lfs merge=lfs -text\n", encoding="utf-8")


def _write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    if isinstance(tokenizer, SentencePieceTokenizer | FastTokenizer):
        tokenizer.save(folder)


def _read_back(folder: Path, card: Mapping[str, Any], config: Mapping[str, Any], state: State) -> None:
    """Refuse to hand out a directory that does not hold what it should."""
    read = {name: tensor.to(state[name].dtype) for name, tensor in read_weights(folder / WEIGHTS).items()}
    if weights_digest(read) != card["weights_digest"]:
        raise UserError(f"{folder.parent}: the weights came back from the disk changed; check the disk, then try again")
    if load_tokenizer(config["model_cfg"], folder).digest != card["tokenizer_digest"]:
        raise UserError("the tokenizer cleans text in a way that its configuration does not say; set tokenizer_kwargs")
