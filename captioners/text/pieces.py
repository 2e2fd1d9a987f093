"""SentencePiece tokenizers (Kudo and Richardson 2018, arXiv 1808.06226): read a `.model` file, or train one.

A model must be a unigram model with its pad at id 0 (CoCa's masks and loss say 0), a start and an end. Text is cleaned
first as open_clip cleans it for such tokenizers (mended encoding, HTML entities, single spaces). Ids come from the form
that `save` writes, so what open_clip reads there gives the same ids by construction.
"""

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from captioners.core.errors import NotFoundError, UserError
from captioners.text.tokenizer import PAD, batch_of
from captioners.text.unigram import build, parse

if TYPE_CHECKING:
    from torch import Tensor

# The letters of "<pad>", "<s>", "</s>", "<unk>" and "<0x0A>" .. "<0xFF>". With a piece for each of them, a caption that
# holds such a name as text is spelled letter by letter, by SentencePiece and in its exported form alike.
_NAME_LETTERS = "".join(sorted(set("<pad></s><unk><0x123456789ABCDEF>")))


class SentencePieceTokenizer:
    """A SentencePiece model as a captioner's tokenizer.

    `source` is a `.model` file or its bytes; `clean` is open_clip's cleaning. Raises NotFoundError when there is no
    such file, UserError when it is no SentencePiece unigram model or lacks pad at 0, a start or an end.
    """

    name = "sentencepiece"
    pad_id = PAD
    keeps_spaces = True

    def __init__(self, source: str | Path | bytes, clean: str = "whitespace") -> None:
        from open_clip.tokenizer import get_clean_fn
        from sentencepiece import SentencePieceProcessor

        label = "the SentencePiece model" if isinstance(source, bytes) else str(source)
        self.serialized: bytes = source if isinstance(source, bytes) else _read(Path(source))
        """The `.model` file's bytes."""
        self._pieces = SentencePieceProcessor()
        try:
            loaded = bool(self.serialized) and self._pieces.LoadFromSerializedProto(self.serialized)
        except RuntimeError:
            loaded = False
        if not loaded:
            raise UserError(f"{label}: not a SentencePiece model; give a .model file that SentencePiece wrote")
        if self._pieces.pad_id() != PAD:
            found = "no pad" if self._pieces.pad_id() < 0 else f"its pad at id {self._pieces.pad_id()}"
            raise UserError(f"{label}: has {found}, but CoCa pads with 0; train it with pad_id=0")
        self.start_id: int = self._pieces.bos_id()
        self.end_id: int = self._pieces.eos_id()
        if min(self.start_id, self.end_id) < 0:
            raise UserError(f"{label}: has no start or no end token; train it with bos_id and eos_id")
        self.vocab_size: int = self._pieces.vocab_size()
        self._model = parse(self.serialized)
        self._form = build(self._model, self.start_id, self.end_id)
        self.clean: str = clean
        self._clean = get_clean_fn(clean)
        self.digest: str = sha256(clean.encode() + b"\n" + self.serialized).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return the content ids of a text; not truncated."""
        return list(self._form.encode(self._clean(text), add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids, its spaces kept."""
        special = (PAD, self.start_id, self.end_id)
        text: str = self._pieces.DecodeIds([int(i) for i in ids if i not in special])
        return text

    def batch(self, texts: Sequence[str], context_length: int) -> "Tensor":
        """Return int64 [B, context_length], as open_clip's tokenizer does on an exported directory."""
        return batch_of(self, texts, context_length)

    def save(self, directory: str | Path) -> None:
        """Write `sentencepiece.model`, and `tokenizer.json` with its config for open_clip and transformers."""
        folder, pieces = Path(directory), self._model.pieces
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": pieces[self.start_id][0],
            "eos_token": pieces[self.end_id][0],
            "pad_token": pieces[PAD][0],
            "unk_token": pieces[self._model.unknown][0],
            "padding_side": "right",
            "truncation_side": "right",
            "clean_up_tokenization_spaces": False,
            "split_special_tokens": True,  # "</s>" within a caption is text, as it is for SentencePiece
            "model_max_length": int(1e30),
        }
        (folder / "sentencepiece.model").write_bytes(self.serialized)
        (folder / "tokenizer.json").write_text(self._form.to_str(pretty=True) + "\n", encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def train_sentencepiece(captions: Iterable[str], vocab_size: int, path: str | Path) -> SentencePieceTokenizer:
    """Train a unigram model on captions, write it to `path` and return it.

    Ids: 0 pad, 1 start, 2 end, 3 unknown, then 256 bytes (what has no piece is spelled in UTF-8 bytes, so nothing is
    unknown), then pieces. The same captions in the same order give the same file. Raises UserError when the captions do
    not support, or do not fit, `vocab_size`.
    """
    from open_clip.tokenizer import get_clean_fn
    from sentencepiece import SentencePieceTrainer

    clean = get_clean_fn("whitespace")
    texts = [text for text in map(clean, captions) if text]
    if not texts:
        raise UserError("train_sentencepiece: there are no captions with text in them; give some")
    written = BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=written,
            vocab_size=vocab_size,
            model_type="unigram",
            pad_id=PAD, bos_id=1, eos_id=2, unk_id=3,
            byte_fallback=True,
            split_digits=True,
            required_chars=_NAME_LETTERS,
            normalization_rule_name="identity",  # the cleaning has done it
            max_sentence_length=1 << 20,  # bytes; the default silently skips captions above 4,192
            num_threads=1,
            minloglevel=3,
        )  # fmt: skip
    except RuntimeError as error:
        said = " ".join(str(error).split())
        found = said.rpartition("] ")[2] or said
        raise UserError(
            f"train_sentencepiece: {len(texts):,} captions cannot make {vocab_size:,} ids ({found}); "
            "change vocab_size or give more captions"
        ) from None
    tokenizer = SentencePieceTokenizer(written.getvalue())
    Path(path).write_bytes(tokenizer.serialized)
    return tokenizer


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such SentencePiece model; check the path") from None
