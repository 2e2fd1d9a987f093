"""Weight files: read without unpickling, digest by content, and say what does not fit.

Reads safetensors and plain tensor checkpoints (`torch.load(weights_only=True)`); any other pickle is refused.
"""

import hashlib
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from captioners.core.errors import NotFoundError, UserError

State = dict[str, Tensor]
_NUM_SHOWN = 3


def read_weights(path: str | Path) -> State:
    """Return the tensors of a `.safetensors`, `.pt`, `.pth` or `.bin` file, on the CPU, mapped where the format allows.

    A training checkpoint (`{"state_dict": ...}`) and the `module.` prefix of DDP are unwrapped.

    Raises:
        NotFoundError: no such file.
        UserError: the file is not plain tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"weights {path}: no such file; give a .safetensors, .pt, .pth or .bin file")
    if path.suffix == ".safetensors":
        try:
            state: object = load_file(path)
        except SafetensorError as error:
            raise UserError(
                f"weights {path}: not a readable safetensors file ({error}); copy or download it again"
            ) from None
    else:
        state = _load_pickle_safely(path)
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(
            f"weights {path}: holds no table of tensors; expected a state dict or a checkpoint with 'state_dict'"
        )
    return {str(name).removeprefix("module."): tensor for name, tensor in state.items()}


def _load_pickle_safely(path: Path) -> object:
    zipped = zipfile.is_zipfile(path)
    with path.open("rb") as file:
        pickled = file.read(1) == b"\x80"  # how every pickle of protocol 2 and up begins
    if not zipped and not pickled:  # torch would call a web page unsafe, and a cut file an invalid argument
        raise UserError(f"weights {path}: cut short, or no weights file at all; copy or download it again")
    try:
        # torch warns of an unusual pickle; it is then refused, or read like any other.
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError:
        raise UserError(
            f"weights {path}: holds Python objects, not plain tensors, and loading those could run any code; "
            "refused. Save the state dict alone, or as safetensors"
        ) from None
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"weights {path}: not a readable weights file ({reason}); copy or download it again") from None


def fit(model: nn.Module, state: State, source: str) -> None:
    """Put `state` into `model`, taking the tensors as they are (mapped files stay mapped).

    Raises:
        UserError: a tensor is missing, unknown or of another shape; names the first few of each.
    """
    own = model.state_dict()
    problems = [
        f"{n} is {_shape(state[n])}, the architecture wants {_shape(own[n])}"
        for n in own
        if n in state and state[n].shape != own[n].shape
    ]
    problems += [f"{name} is missing" for name in own if name not in state]
    problems += [f"{name} has no place" for name in state if name not in own]
    if problems:
        more = f" (and {len(problems) - _NUM_SHOWN} more)" if len(problems) > _NUM_SHOWN else ""
        raise UserError(
            f"weights {source} don't fit the architecture: {'; '.join(problems[:_NUM_SHOWN])}{more}. "
            "Name the architecture they were trained with"
        )
    model.load_state_dict({name: tensor.to(own[name].dtype) for name, tensor in state.items()}, assign=True)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def weights_digest(state: Mapping[str, Tensor], prefix: str = "") -> str:
    """Return the sha256 (hexadecimal) over the tensors whose names start with `prefix`.

    Hashed are name, dtype, shape and bytes, sorted by name: `.pt` and safetensors of the same tensors agree.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.startswith(prefix):
            tensor = state[name].detach().to("cpu").contiguous()
            digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def cached_digest(path: Path | Sequence[Path], state: Mapping[str, Tensor], prefix: str = "") -> str:
    """Return `weights_digest`, remembered for its files by (path, size, mtime); 2.5 GB take seconds to hash."""
    stats = [(file, file.stat()) for file in ([path] if isinstance(path, Path) else path)]
    key = ";".join(f"{file.resolve()}:{stat.st_size}:{stat.st_mtime_ns}" for file, stat in stats) + f":{prefix}"
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "captioners" / "digests.json"
    try:
        known = json.loads(cache.read_text())
    except (OSError, ValueError):
        known = {}
    if isinstance(known, dict) and isinstance(known.get(key), str):
        return str(known[key])
    digest = weights_digest(state, prefix)
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        part = cache.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps({**(known if isinstance(known, dict) else {}), key: digest}))
        part.replace(cache)
    except OSError:
        pass  # a cache that cannot be written only costs the hashing again
    return digest
