"""Fetch and load what a catalogue entry names: weights, configuration, tokenizer, card."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from captioners.core.errors import CaptionersError, NotFoundError, UserError, near
from captioners.decoding.values import Beam, Sample, parse_decoding
from captioners.kinds.catalogue import CONFIG, TINY, KnownCaptioner
from captioners.models import coca
from captioners.text.tokenizer import Tokenizer, load_tokenizer

T = TypeVar("T")

_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
_HUB_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "sentencepiece.model", "captioner.json")


@dataclass(frozen=True)
class Loaded:
    """A captioner's parts in memory."""

    coca: coca.LoadedCoCa
    tokenizer: Tokenizer
    licences: dict[str, str]
    recommended: Sample | Beam
    knows_only: str = ""
    """What the card says of the only pictures that it learned to caption."""


def fetch(known: KnownCaptioner) -> Path | None:
    """Bring a captioner's files here and return the weights file or directory; None if there is nothing to bring.

    Raises:
        NotFoundError: the tag or repository does not exist. UserError: the hub cannot be reached and nothing is cached.
    """
    origin = known.origin
    if origin.kind == "tag":
        repo = _repository_of_tag(origin.model, origin.tag)
        return _first_file(known, repo, _HUB_FILES)
    if origin.kind == "hub":
        folder = _download(known, origin.where, CONFIG).parent
        for name in _HUB_TOKENIZER:
            _optional(known, origin.where, name)
        if not any((folder / name).exists() for name in coca.WEIGHT_FILES):
            _first_file(known, origin.where, coca.WEIGHT_FILES)
        return folder
    if origin.kind == "random":
        return None
    path = Path(origin.where).expanduser()
    if not path.exists():
        raise NotFoundError(f"captioner {known.name}: {path} does not exist")
    return path


def load(known: KnownCaptioner) -> Loaded:
    """Load a captioner's weights, tokenizer and card, fetching first what is not here."""
    origin, where = known.origin, fetch(known)
    if origin.kind == "random":
        config = dict(TINY) if origin.model == "tiny" else coca.architecture(origin.model)
        loaded = coca.LoadedCoCa(coca.build(config), config)
    elif origin.kind in ("directory", "hub"):
        assert where is not None
        loaded = coca.load_directory(where)
    else:
        assert where is not None
        loaded = coca.load_file(coca.architecture(origin.model), where)
    folder = where if where is not None and where.is_dir() else None
    card = _card(folder)
    recommended = parse_decoding(card.get("recommended_decoding") or Beam())
    licences = {str(k): str(v) for k, v in (card.get("licences") or known.licences).items()}
    knows_only = str(card.get("knows_only") or "")
    return Loaded(loaded, load_tokenizer(loaded.model_cfg, folder), licences, recommended, knows_only)


def tokenizer_of(known: KnownCaptioner) -> tuple[Tokenizer, int]:
    """Return a captioner's tokenizer and context length without its weights, as far as they are elsewhere."""
    origin = known.origin
    if origin.kind in ("directory", "hub"):
        where = Path(origin.where).expanduser()
        file = where / CONFIG if origin.kind == "directory" else _download(known, origin.where, CONFIG)
        if origin.kind == "hub":
            for name in _HUB_TOKENIZER:
                _optional(known, origin.where, name)
        if not file.is_file():
            raise NotFoundError(f"captioner {known.name}: {file} does not exist")
        config, folder = json.loads(file.read_text(encoding="utf-8"))["model_cfg"], file.parent
    else:
        config, folder = dict(TINY) if origin.model == "tiny" else coca.architecture(origin.model), None
    return load_tokenizer(config, folder), int(config["text_cfg"]["context_length"])


def is_cached(known: KnownCaptioner) -> bool:
    """Whether a captioner of the hub can be loaded without fetching its weights; True for those that need no hub."""
    from huggingface_hub import try_to_load_from_cache

    origin = known.origin
    if origin.kind not in ("hub", "tag"):
        return True
    repo = origin.where if origin.kind == "hub" else _repository_of_tag(origin.model, origin.tag)
    names = {*_HUB_FILES, *coca.WEIGHT_FILES}
    return any(isinstance(try_to_load_from_cache(repo, name), str) for name in names)


def _card(folder: Path | None) -> dict[str, Any]:
    file = folder / "captioner.json" if folder else None
    if file is None or not file.is_file():
        return {}
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{file}: not readable JSON; export the captioner again, or remove the card") from None
    return card if isinstance(card, dict) else {}


def _repository_of_tag(model: str, tag: str) -> str:
    import open_clip

    coca.architecture(model)  # says near names if there is no such architecture
    found = open_clip.get_pretrained_cfg(model, tag)
    if not found or not found.get("hf_hub"):
        tags = open_clip.list_pretrained_tags_by_model(model)
        raise NotFoundError(
            f"no weights are tagged '{tag}' for {model}.{near(tag, tags)} Known: {', '.join(tags) or 'none'}"
        )
    return str(found["hf_hub"]).rstrip("/")


def _first_file(known: KnownCaptioner, repo: str, names: tuple[str, ...]) -> Path:
    for name in names:
        file = _optional(known, repo, name)
        if file is not None:
            return file
    raise NotFoundError(f"captioner {known.name}: the repository {repo} holds no weights ({', '.join(names)})")


def _optional(known: KnownCaptioner, repo: str, name: str) -> Path | None:
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    def ask() -> Path | None:
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(repo, name))
        except LocalEntryNotFoundError:
            if _offline_knows(repo):
                return None  # offline, and what was fetched of this repository did not include this file
            raise
        except EntryNotFoundError:
            return None

    return _reach(known, repo, ask)


def _download(known: KnownCaptioner, repo: str, name: str) -> Path:
    from huggingface_hub import hf_hub_download

    return _reach(known, repo, lambda: Path(hf_hub_download(repo, name)))


def _offline_knows(repo: str) -> bool:
    """Whether weights of this repository are in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(repo, name), str) for name in coca.WEIGHT_FILES)


def _reach(known: KnownCaptioner, repo: str, ask: Callable[[], T]) -> T:
    """Call the hub; turn each way it can fail into one line that says what to do."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    size = f" ({known.size})" if known.size else ""
    try:
        with _quiet("huggingface_hub"):
            return ask()
    except GatedRepoError:
        raise UserError(
            f"captioner {known.name}: {repo} asks you to accept its terms; do so on its page, then log in to the hub"
        ) from None
    except RepositoryNotFoundError:
        raise NotFoundError(f"captioner {known.name}: the hub has no repository {repo}, or it is private") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno == 28:  # no space left: its own message, elsewhere
            raise
        raise UserError(
            f"captioner {known.name}: its weights{size} are not on this machine and the hub cannot be reached. "
            f"Where there is a network, run `captioners fetch {known.name}` (HF_HOME says where the files go; "
            "HF_HUB_OFFLINE=1 keeps to them)"
        ) from None
    except ValueError as error:
        raise CaptionersError(f"captioner {known.name}: {error}") from None


@contextmanager
def _quiet(library: str) -> Iterator[None]:
    """Keep a library's warnings of each failed try to itself: what comes of them is one line of ours."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
