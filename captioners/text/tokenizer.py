"""Between text and token ids: what every tokenizer does, CLIP's byte-pair encoding, and which one a captioner has.

Ids here are content ids unless said otherwise: start and end are added by `batch` and by the decoding engine. Pad is
id 0 for every tokenizer, because CoCa's masks and loss say so.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from captioners.core.errors import NotFoundError, UserError

if TYPE_CHECKING:
    from torch import Tensor

PAD = 0


class Tokenizer(Protocol):
    """One way to write text as ids; every implementation gives open_clip's own tensors."""

    @property
    def name(self) -> str:
        """Which kind: `clip`, `sentencepiece` or `fast`."""

    @property
    def digest(self) -> str:
        """sha256 over all that decides its ids, hexadecimal."""

    @property
    def vocab_size(self) -> int:
        """Ids are in 0..vocab_size - 1."""

    @property
    def start_id(self) -> int:
        """The id before every caption."""

    @property
    def end_id(self) -> int:
        """The id after every caption."""

    @property
    def pad_id(self) -> int:
        """Always 0; never generated, never shown."""

    @property
    def keeps_spaces(self) -> bool:
        """Whether `decode(encode(text))` keeps the spaces of the text; if not, `rules.RULES` re-join what was split."""

    def encode(self, text: str) -> list[int]:
        """Return the content ids of a text, cleaned as the tokenizer's trainer cleans; not truncated."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the raw text of content ids; start, end and pad are left out wherever they stand."""

    def batch(self, texts: Sequence[str], context_length: int) -> "Tensor":
        """Return int64 [B, context_length]: start, content cut to fit, end, then 0; as open_clip's tokenizer does."""


def batch_of(tokenizer: Tokenizer, texts: Sequence[str], context_length: int) -> "Tensor":
    """Return `tokenizer.batch(texts, context_length)` by way of `encode`; truncation keeps the end token."""
    import torch

    if context_length < 2:
        raise UserError(f"context length {context_length} has no room for start and end; give 2 or more")
    rows = torch.zeros(len(texts), context_length, dtype=torch.long)
    for row, text in zip(rows, texts, strict=True):
        ids = [tokenizer.start_id, *tokenizer.encode(text)[: context_length - 2], tokenizer.end_id]
        row[: len(ids)] = torch.tensor(ids)
    return rows


class ClipTokenizer:
    """CLIP's lower-casing byte-pair encoding (49,408 ids), as bundled with open_clip; needs no network.

    Id 0 is both pad and a bare "!" inside a run of punctuation ("wow!;"); like CoCa's loss, `decode` takes it for pad.
    `clean` is open_clip's cleaning: `lower` (every released model), `whitespace` or `canonicalize`.
    """

    name = "clip"
    pad_id = PAD
    keeps_spaces = False

    def __init__(self, clean: str = "lower") -> None:
        from open_clip.tokenizer import SimpleTokenizer

        if clean not in ("lower", "whitespace", "canonicalize"):
            raise UserError(f"no cleaning is named {clean!r}: it is one of lower, whitespace, canonicalize")
        self._bpe = SimpleTokenizer(clean=clean)
        self.vocab_size: int = self._bpe.vocab_size
        self.start_id: int = self._bpe.sot_token_id
        self.end_id: int = self._bpe.eot_token_id
        # The vocabulary lists its merges in order, so it decides all ids.
        self.digest: str = sha256("\n".join((clean, *self._bpe.encoder)).encode()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return the content ids of a text; not truncated."""
        ids: list[int] = self._bpe.encode(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the raw text, lower-cased, words and punctuation apart; broken UTF-8 shows as U+FFFD."""
        text: str = self._bpe.decode([i for i in ids if i not in (PAD, self.start_id, self.end_id)])
        return text.strip()

    def batch(self, texts: Sequence[str], context_length: int) -> "Tensor":
        """Return int64 [B, context_length], as open_clip's tokenizer does."""
        return batch_of(self, texts, context_length)


def load_tokenizer(model_cfg: Mapping[str, Any], directory: str | Path | None = None) -> Tokenizer:
    """Return a captioner's tokenizer, as open_clip's `get_tokenizer` would choose it from the model configuration.

    Without `hf_tokenizer_name` in `text_cfg` it is CLIP's. With one, its files lie in `directory`:
    `sentencepiece.model`, or else `tokenizer.json` with `tokenizer_config.json`. Raises NotFoundError when they do not,
    UserError when they do not fit the model.
    """
    text_cfg = model_cfg.get("text_cfg", {})
    options = dict(text_cfg.get("tokenizer_kwargs") or {})
    cleaning = options.pop("clean", None)
    if options or text_cfg.get("tokenizer_mode"):
        unknown = ", ".join(options) or f"tokenizer_mode {text_cfg['tokenizer_mode']!r}"
        raise UserError(f"text_cfg: {unknown} is a way of tokenizing that captioners does not know; only 'clean' is")
    if not text_cfg.get("hf_tokenizer_name"):
        tokenizer: Tokenizer = ClipTokenizer(cleaning or "lower")
    else:
        tokenizer = _from_files(text_cfg["hf_tokenizer_name"], directory, cleaning or "whitespace")
    wanted = text_cfg.get("vocab_size", 49408)
    if tokenizer.vocab_size != wanted:
        found = f"the tokenizer has {tokenizer.vocab_size:,} ids and the model {wanted:,}"
        raise UserError(f"text_cfg: {found}; they were not made for each other")
    return tokenizer


def _from_files(name: str, directory: str | Path | None, cleaning: str) -> Tokenizer:
    from captioners.text.fast import FastTokenizer
    from captioners.text.pieces import SentencePieceTokenizer

    # An exported directory holds both; the SentencePiece model is what the other was made from.
    if directory is not None and (model := Path(directory) / "sentencepiece.model").is_file():
        return SentencePieceTokenizer(model, cleaning)
    if directory is not None and (Path(directory) / "tokenizer.json").is_file():
        return FastTokenizer(directory, cleaning)
    where = f"in {directory}" if directory else "without a directory"
    found = f"neither sentencepiece.model nor tokenizer.json {where}"
    raise NotFoundError(f"tokenizer {name!r}: {found}; put the tokenizer's files beside the model's")
