"""What a training run begins with: a captioner that is there, or random weights and a tokenizer made for the data."""

import os
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from captioners.core.errors import UserError
from captioners.data.licences import licences_of
from captioners.data.source import Source
from captioners.data.training_set import captions_of
from captioners.decoding.values import Beam, Sample
from captioners.images.preprocess import Preprocess
from captioners.jobs.recipes.finetune import FinetuneRecipe
from captioners.jobs.recipes.pretrain import Pieces, PretrainRecipe
from captioners.kinds import loading
from captioners.kinds.catalogue import find
from captioners.models import coca
from captioners.models.weights import weights_digest
from captioners.text.pieces import SentencePieceTokenizer, train_sentencepiece
from captioners.text.tokenizer import ClipTokenizer, Tokenizer

Recipe = PretrainRecipe | FinetuneRecipe


@dataclass(frozen=True)
class Start:
    """What training begins with."""

    loaded: coca.LoadedCoCa
    tokenizer: Tokenizer
    licences: dict[str, str]
    recommended: Sample | Beam
    came_from: dict[str, str] = field(default_factory=dict)
    """Name and digest of the captioner it was; empty for random weights."""
    knows_only: str = ""
    """What its card says of the only pictures that it knows."""
    noncommercial: bool = False
    """Whether the weights that it begins with may not be used commercially; what becomes of them may not, either."""


def start_of(recipe: Recipe, source: Source, directory: Path) -> Start:
    """Return what the recipe's run begins with; a tokenizer made for the data is kept in `directory`.

    Raises:
        UserError, NotFoundError: no such captioner or architecture, or one that may not or cannot be trained.
    """
    start = _finetuned(recipe) if isinstance(recipe, FinetuneRecipe) else _pretrained(recipe, source, directory)
    if recipe.context_length is None:
        return start
    return replace(start, loaded=coca.resize_context(start.loaded, recipe.context_length))


def check_licence(recipe: Recipe) -> None:
    """Raise UserError if data or captioner to start from forbid commercial use, and the recipe does not allow it."""
    if refusal := licences_of(recipe.source).refusal(recipe.allow_noncommercial):
        raise UserError(f"source: {refusal}")
    known = find(recipe.init) if isinstance(recipe, FinetuneRecipe) else None
    if known is not None and known.noncommercial and not recipe.allow_noncommercial:
        raise UserError(
            f"captioner {known.name} has a non-commercial licence ({known.licences.get('weights', 'see its card')}); "
            "say `allow_noncommercial=true` if your use allows that"
        )


def _finetuned(recipe: FinetuneRecipe) -> Start:
    known = find(recipe.init)
    loaded = loading.load(known)
    for tensor in (*loaded.coca.model.parameters(), *loaded.coca.model.buffers()):
        tensor.data = tensor.data.clone()  # it may be a view into a mapped file, which training must not write to
    digest = weights_digest(loaded.coca.model.state_dict())
    came_from = {"name": known.name, "digest": digest}
    return Start(loaded.coca, loaded.tokenizer, loaded.licences, loaded.recommended, came_from, loaded.knows_only,
                 known.noncommercial)  # fmt: skip


def _pretrained(recipe: PretrainRecipe, source: Source, directory: Path) -> Start:
    config = deepcopy(recipe.model) if isinstance(recipe.model, dict) else coca.architecture(recipe.model)
    if not all(isinstance(config.get(part), dict) for part in ("vision_cfg", "text_cfg", "multimodal_cfg")):
        raise UserError(
            "model: this is no CoCa configuration; it needs vision_cfg, text_cfg and multimodal_cfg, as open_clip's "
            "coca_*.json have them"
        )
    text_cfg = config["text_cfg"]
    tokenizer: Tokenizer
    if recipe.tokenizer == "clip":
        tokenizer = ClipTokenizer()
        text_cfg.pop("hf_tokenizer_name", None)
    else:
        tokenizer = _pieces(recipe.tokenizer.sentencepiece, source, directory / "tokenizer")
        text_cfg["hf_tokenizer_name"] = "this-directory"  # open_clip reads the tokenizer's files beside the model
    text_cfg["vocab_size"] = tokenizer.vocab_size
    shown = recipe.normalisation.model_dump(mode="json") if recipe.normalisation else {}
    loaded = coca.LoadedCoCa(coca.build(config, recipe.seed), config, {**coca.PREPROCESS, **shown})
    return Start(loaded, tokenizer, {"weights": recipe.weights_licence}, Beam())


def _pieces(pieces: Pieces, source: Source, folder: Path) -> SentencePieceTokenizer:
    """Return the run's tokenizer: made at its first start, read again at later ones."""
    file = folder / "sentencepiece.model"
    if not file.is_file():
        folder.mkdir(exist_ok=True)
        draft = folder / f".{os.getpid()}.model"
        train_sentencepiece(islice(captions_of(source), pieces.captions), pieces.vocab_size, draft)
        draft.replace(file)
    return SentencePieceTokenizer(file)


def preprocess_of(loaded: coca.LoadedCoCa) -> Preprocess:
    """Return what this model is to be shown pictures through."""
    return Preprocess({"size": loaded.model_cfg["vision_cfg"].get("image_size", 224), **loaded.preprocess_cfg})
