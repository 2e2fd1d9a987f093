"""A model's folder, given as a directory or a name on the hub: its files brought here, and digests of them."""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from captioners.core.errors import NotFoundError, UserError
from captioners.kinds.kind import ModelOptions

_WEIGHTS = "*.safetensors"
_SMALL = ("*.json", "*.txt", "*.model", "*.jinja")
"""Configuration, tokenizer and templates: what a caption depends on besides the weights."""


def folder_of(options: ModelOptions) -> Path:
    """Return the folder of a model, fetching first what is not here.

    Raises:
        NotFoundError: no such directory or repository. UserError: the hub cannot be reached, or no safetensors.
    """
    given = Path(options.model).expanduser()
    folder = given if given.is_dir() else _fetched(options)
    if not any(folder.glob(_WEIGHTS)):
        there = sorted(path.name for path in folder.glob("*.bin")) or sorted(path.name for path in folder.iterdir())
        raise UserError(
            f"model {options.model}: holds no safetensors ({', '.join(there[:3]) or 'nothing'}); others may hold any "
            "code and are not read. Save it with save_pretrained, or name a revision that has them"
        )
    return folder


def _fetched(options: ModelOptions) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    if problem := options.missing():
        raise NotFoundError(problem)
    name = options.model + (f" at {options.revision}" if options.revision else "")
    try:
        found = snapshot_download(options.model, revision=options.revision, allow_patterns=[_WEIGHTS, *_SMALL])
    except GatedRepoError:
        raise UserError(
            f"model {name}: asks you to accept its terms; do so on its page, then log in to the hub"
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise NotFoundError(f"model {name}: the hub has no such repository or revision, or it is private") from None
    except (HfHubHTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno == 28:  # no space left: its own message, elsewhere
            raise
        raise UserError(
            f"model {name}: is not on this machine and the hub cannot be reached. Fetch it where there is a network "
            f"(`hf download {options.model}`; HF_HOME says where the files go), or give a directory"
        ) from None
    return Path(found)


def weights_of(folder: Path) -> str:
    """Return the digest of a folder's weights: sha256 over its tensors, whatever files they are split into."""
    from captioners.models.weights import cached_digest

    files = sorted(folder.glob(_WEIGHTS))
    return cached_digest(files, _Tensors(files))


def files_digest(folder: Path) -> str:
    """Return the sha256 over a folder's configuration, tokenizer and templates, by name and content."""
    digest = sha256()
    for path in sorted(path for pattern in _SMALL for path in folder.glob(pattern)):
        if path.name.endswith(".index.json"):  # which tensor is in which file says nothing of the model
            continue
        digest.update(f"{path.name}\0{sha256(path.read_bytes()).hexdigest()}\0".encode())
    return digest.hexdigest()


def num_parameters(folder: Path) -> int:
    """Return how many numbers a folder's weights hold, by the headers of its files."""
    return sum(_Tensors(sorted(folder.glob(_WEIGHTS))).sizes())


def context_of(folder: Path) -> int:
    """Return the positions that a model's text part has, by its configuration; 0 where that is not said."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"model {folder}: has no readable config.json; it is no model of transformers") from None
    text = config.get("text_config") or config.get("decoder") or config
    return int(text.get("max_position_embeddings") or 0)


class _Tensors(Mapping[str, Any]):
    """The tensors of safetensors files, read one at a time."""

    def __init__(self, files: list[Path]) -> None:
        from safetensors import SafetensorError, safe_open

        self._where: dict[str, Any] = {}
        for path in files:
            try:
                file: Any = safe_open(path, "pt")
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path}: not a readable safetensors file ({error}); download it again") from None
            self._where.update(dict.fromkeys(file.keys(), file))

    def __getitem__(self, name: str) -> Any:
        return self._where[name].get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)

    def sizes(self) -> Iterator[int]:
        """Yield how many numbers each tensor holds."""
        from math import prod

        return (prod(file.get_slice(name).get_shape()) for name, file in self._where.items())
