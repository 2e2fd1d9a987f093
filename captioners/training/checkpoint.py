"""Checkpoints: weights, optimizer state and position, each written whole or not at all, the last few kept.

checkpoints/step-00000100/
    model.safetensors        every tensor of the model
    optimizer.safetensors    AdamW's state of each trained parameter: NAME/exp_avg, NAME/exp_avg_sq, NAME/step
    state.json               the step, and what else the run wants to know again
    evaluated.json           only there when the evaluation of this step is done: what it said
checkpoints/best-00000100/   the best by the evaluation's score: weights and state

No generator's state is kept, because none is used: the position says what comes next. Nothing is pickled.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from captioners.core.errors import UserError

_WEIGHTS, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_EVALUATED = "evaluated.json"
_NAME = re.compile(r"step-(\d{8})")
_BEST = re.compile(r"best-(\d{8})")


@dataclass(frozen=True)
class Found:
    """A checkpoint on disk."""

    path: Path
    step: int
    """Steps done: the next one is step number `step`, from 0."""
    state: dict[str, Any]
    """What `save` was given."""


class Checkpoints:
    """The checkpoints of one run, in a folder of their own; at most `keep` stay."""

    def __init__(self, folder: str | Path, keep: int = 2) -> None:
        self.folder, self.keep = Path(folder), keep

    def save(
        self,
        step: int,
        model: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        state: Mapping[str, Any],
    ) -> Path:
        """Write a checkpoint after `step` steps and return where it lies; older ones beyond `keep` go.

        `parameters` are those the optimizer trains, by name. Raises UserError when the disk is full; the checkpoints
        that were there before stay.
        """
        target = self.folder / f"step-{step:08d}"
        if target.exists():  # stopped again before the first step since: it says the same
            return target
        draft = self.folder / f".step-{step:08d}.{os.getpid()}.partial"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        draft.mkdir()
        try:
            _save(_plain(model.state_dict()), draft / _WEIGHTS)
            _save(_plain(_state_of(parameters, optimizer)), draft / _OPTIMIZER)
            (draft / _STATE).write_text(json.dumps({**state, "step": step}, indent=1) + "\n", encoding="utf-8")
            for file in draft.iterdir():
                _sync(file)
            _sync(draft)
            draft.rename(target)
            _sync(self.folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        for old in self._all()[: -self.keep]:
            shutil.rmtree(old)
        return target

    def latest(self) -> Found | None:
        """Return the last checkpoint, or None; raise UserError if its own account of itself is damaged."""
        found = self._all()
        return _found(found[-1]) if found else None

    def mark_evaluated(self, step: int, said: str | None) -> None:
        """Note that the checkpoint of a step was evaluated, and what was said of it (a reason to stop, or None)."""
        folder = self.folder / f"step-{step:08d}"
        draft = folder / f".{_EVALUATED}.{os.getpid()}"
        draft.write_text(json.dumps({"said": said}), encoding="utf-8")
        draft.replace(folder / _EVALUATED)

    def evaluation(self, step: int) -> tuple[bool, str | None]:
        """Return whether the checkpoint of a step was evaluated, and what was said."""
        try:
            said = json.loads((self.folder / f"step-{step:08d}" / _EVALUATED).read_text(encoding="utf-8"))["said"]
        except (OSError, ValueError, KeyError, TypeError):
            return False, None
        return True, said

    def keep_best(self, step: int, score: float) -> bool:
        """Keep the weights of a step's checkpoint as the best if its score is above that of the best so far.

        The old best goes once the new one is there.
        """
        best = self.best()
        if best is not None and best.state["score"] >= score:
            return False
        source = self.folder / f"step-{step:08d}"
        draft = self.folder / f".best-{step:08d}.{os.getpid()}.partial"
        self._sweep()
        draft.mkdir()
        state = json.loads((source / _STATE).read_text(encoding="utf-8"))
        (draft / _STATE).write_text(json.dumps({**state, "score": score}, indent=1) + "\n", encoding="utf-8")
        try:
            os.link(source / _WEIGHTS, draft / _WEIGHTS)  # files are written once, so both may share the bytes
        except OSError:  # a file system without links
            shutil.copyfile(source / _WEIGHTS, draft / _WEIGHTS)
        for file in (*draft.iterdir(), draft):
            _sync(file)
        target = self.folder / f"best-{step:08d}"
        shutil.rmtree(target, ignore_errors=True)
        draft.rename(target)
        _sync(self.folder)
        for old in self._bests():
            if old != target:
                shutil.rmtree(old)
        return True

    def best(self) -> Found | None:
        """Return the best checkpoint, its score in `state`; None when nothing was scored yet."""
        found = [_found(path) for path in self._bests()]
        return max(found, key=lambda one: float(one.state["score"]), default=None)

    def load_weights(self, found: Found, model: nn.Module) -> None:
        """Put a checkpoint's weights in place; raise UserError if they do not fit."""
        _put(_load(found.path / _WEIGHTS), model, found.path)

    def restore(
        self,
        found: Found,
        model: nn.Module,
        parameters: Mapping[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
    ) -> None:
        """Put a checkpoint's weights and optimizer state in place, bit for bit; raise UserError if they do not fit."""
        weights, moments = _load(found.path / _WEIGHTS), _load(found.path / _OPTIMIZER)
        wanted = {f"{name}/{part}" for name in parameters for part in ("exp_avg", "exp_avg_sq", "step")}
        if not moments.keys() <= wanted:
            raise _another(found.path)
        _put(weights, model, found.path)
        for name, parameter in parameters.items():
            parts = {part: moments.get(f"{name}/{part}") for part in ("exp_avg", "exp_avg_sq", "step")}
            if parts["step"] is not None:
                on = {key: tensor.to(parameter.device) for key, tensor in parts.items() if tensor is not None}
                optimizer.state[parameter] = on

    def _all(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir())

    def _sweep(self) -> None:
        """Remove what a killed process left half written."""
        for draft in self.folder.glob(".*.partial"):
            shutil.rmtree(draft, ignore_errors=True)

    def _bests(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("best-*") if _BEST.fullmatch(path.name) and path.is_dir())


def _found(path: Path) -> Found:
    try:
        state = dict(json.loads((path / _STATE).read_text(encoding="utf-8")))
        return Found(path, int(state["step"]), state)
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{path / _STATE}: damaged; remove {path} to go on from the checkpoint before it") from None


def _put(weights: Mapping[str, Tensor], model: nn.Module, path: Path) -> None:
    if weights.keys() != model.state_dict().keys():
        raise _another(path)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            tensor.copy_(weights[name])


def _another(path: Path) -> UserError:
    return UserError(f"{path}: made for another model or other trained parameters; name another output, or remove it")


def _state_of(parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}/{part}": tensor
        for name, parameter in parameters.items()
        for part, tensor in optimizer.state.get(parameter, {}).items()
    }


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu").contiguous() for name, tensor in state.items()}


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    try:
        save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as error:
        if "os error 28" not in str(error):  # ENOSPC, the one thing a user can mend
            raise
        raise UserError(
            f"{path.parent.parent}: out of disk; the last checkpoint is kept: free some space, then run the same "
            "command again"
        ) from None


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not readable ({error}); remove {path.parent} to go on from the one before") from None


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
