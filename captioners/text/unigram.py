"""A SentencePiece unigram model in Hugging Face's form: the same pieces, scores and normalization as `tokenizer.json`.

The `.model` file is read here without protobuf. Both forms find the likeliest segmentation; where two are equally
likely ("0|00" and "00|0") they may differ, which is why captioners tokenizes with this form from the start.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from captioners.core.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as HuggingFace

MARK = "\u2581"  # SentencePiece's visible space
_NORMAL, _UNKNOWN, _USER_DEFINED = 1, 2, 4  # SentencePiece.Type of sentencepiece_model.proto; 3 control, 6 byte


@dataclass
class UnigramModel:
    """What ids depend on, out of sentencepiece_model.proto."""

    pieces: list[tuple[str, float, int]] = field(default_factory=list)
    """(piece, log-probability, type) by id."""
    charsmap: bytes = b""
    dummy_prefix: bool = True
    single_spaces: bool = True
    byte_fallback: bool = False
    split_at_spaces: bool = True

    @property
    def unknown(self) -> int:
        """The id of the unknown piece."""
        return next(at for at, (_, _, kind) in enumerate(self.pieces) if kind == _UNKNOWN)


def parse(serialized: bytes) -> UnigramModel:
    """Read a ModelProto; the field numbers are those of sentencepiece_model.proto.

    Raises UserError for models that Hugging Face's form cannot hold: other than unigram, or with user-defined pieces.
    """
    model = UnigramModel()
    trainer: dict[int, Any] = {}
    for number, value in _fields(serialized):
        if number == 1:
            piece = dict(_fields(value))
            score = struct.unpack("<f", piece[2])[0] if 2 in piece else 0.0
            model.pieces.append((piece[1].decode(), score, piece.get(3, _NORMAL)))
        elif number == 2:
            trainer = dict(_fields(value))
        elif number == 3:
            spec = dict(_fields(value))
            model.charsmap = spec.get(2, b"")
            model.dummy_prefix, model.single_spaces = bool(spec.get(3, 1)), bool(spec.get(4, 1))
    model.byte_fallback, model.split_at_spaces = bool(trainer.get(35, 0)), bool(trainer.get(22, 1))
    if trainer.get(3, 1) != 1 or trainer.get(24, 0):
        found = "not a SentencePiece unigram model with leading spaces, the one kind that others can read"
        raise UserError(f"{found}; train one with train_sentencepiece")
    if user := [piece for piece, _, kind in model.pieces if kind == _USER_DEFINED]:
        raise UserError(f"a SentencePiece model with user-defined pieces ({user[0]!r}); train it without")
    return model


def build(model: UnigramModel, start_id: int, end_id: int) -> "HuggingFace":
    """Return the tokenizer that puts the start and the end around a text's pieces."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors
    from tokenizers import Tokenizer as HuggingFace
    from tokenizers.models import Unigram

    # SentencePiece never matches the names of special and byte pieces against text. Here they are matched, so they must
    # always lose against spelling the same letters ("<0x0A>" has six, each worth at least the lowest score).
    never = 20 * min(score for _, score, _ in model.pieces)
    vocabulary = [(piece, score if kind == _NORMAL else never) for piece, score, kind in model.pieces]
    fast = HuggingFace(Unigram(vocabulary, unk_id=model.unknown, byte_fallback=model.byte_fallback))
    steps: list[Any] = [normalizers.Precompiled(model.charsmap)] if model.charsmap else []
    if model.single_spaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    # Not Metaspace's own "always", which prepends nothing to a text that starts with the mark itself.
    steps += [normalizers.Replace(" ", MARK)] + ([normalizers.Prepend(MARK)] if model.dummy_prefix else [])
    fast.normalizer = normalizers.Sequence(steps)
    fast.pre_tokenizer = pre_tokenizers.Metaspace(MARK, prepend_scheme="never", split=model.split_at_spaces)
    start, end = (model.pieces[at][0] for at in (start_id, end_id))
    fast.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, start_id), (end, end_id)]
    )
    parts = [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    fast.decoder = decoders.Sequence([*parts, decoders.Strip(" ", 1 if model.dummy_prefix else 0, 0)])
    return fast


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (field number, value) of a protobuf message: int for varints, bytes for the rest."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, wire = divmod(varint(), 8)
        if wire == 0:
            yield number, varint()
            continue
        size = varint() if wire == 2 else {1: 8, 5: 4}[wire]
        yield number, message[at : at + size]
        at += size
