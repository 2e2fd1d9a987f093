"""Tokenizers in Hugging Face's `tokenizer.json` form, from a captioner's directory."""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioners.core.errors import NotFoundError, UserError
from captioners.text.tokenizer import PAD, batch_of

if TYPE_CHECKING:
    from torch import Tensor


class FastTokenizer:
    """A directory's `tokenizer.json`, with the special tokens that its `tokenizer_config.json` names.

    Raises NotFoundError on a missing file, UserError unless pad is id 0 and captions become start, content, end.
    """

    name = "fast"
    pad_id = PAD
    keeps_spaces = True

    def __init__(self, directory: str | Path, clean: str = "whitespace") -> None:
        from open_clip.tokenizer import get_clean_fn
        from tokenizers import Tokenizer as HuggingFace

        folder = Path(directory)
        for needed in ("tokenizer.json", "tokenizer_config.json"):
            if not (folder / needed).is_file():
                raise NotFoundError(f"{folder / needed}: no such file; a tokenizer directory needs it")
        serialized = (folder / "tokenizer.json").read_bytes()
        serialized_config = (folder / "tokenizer_config.json").read_bytes()
        self._files = {"tokenizer.json": serialized, "tokenizer_config.json": serialized_config}
        config = json.loads(serialized_config)
        self._tokenizer = HuggingFace.from_str(serialized.decode())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.encode_special_tokens = bool(config.get("split_special_tokens", False))
        self.start_id, self.end_id, pad = (
            self._special(config, name, folder) for name in ("bos_token", "eos_token", "pad_token")
        )
        if pad != PAD:
            raise UserError(f"{folder}: its pad has id {pad}, but CoCa pads with 0; use a tokenizer whose pad is 0")
        framed = self._tokenizer.encode("a").ids
        if framed[:1] != [self.start_id] or framed[-1:] != [self.end_id]:
            found = "tokenizer.json does not put start and end around a text"
            raise UserError(f"{folder}: {found}; add a post-processor that does")
        self.vocab_size: int = self._tokenizer.get_vocab_size()
        self._clean = get_clean_fn(clean)
        self.digest: str = sha256(clean.encode() + b"\n" + serialized).hexdigest()

    def _special(self, config: dict[str, Any], name: str, folder: Path) -> int:
        token = config.get(name)
        text = token.get("content") if isinstance(token, dict) else token
        token_id = self._tokenizer.token_to_id(text) if text else None
        if token_id is None:
            found = f"tokenizer_config.json names no {name} that tokenizer.json knows"
            raise UserError(f"{folder}: {found}; a captioner needs start, end and pad")
        return int(token_id)

    def encode(self, text: str) -> list[int]:
        """Return the content ids of a text; not truncated."""
        return list(self._tokenizer.encode(self._clean(text), add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of the ids, its spaces kept."""
        special = (PAD, self.start_id, self.end_id)
        return str(self._tokenizer.decode([int(i) for i in ids if i not in special]))

    def batch(self, texts: Sequence[str], context_length: int) -> "Tensor":
        """Return int64 [B, context_length], as open_clip's tokenizer does."""
        return batch_of(self, texts, context_length)

    def save(self, directory: str | Path) -> None:
        """Write both files, unchanged."""
        for name, content in self._files.items():
            (Path(directory) / name).write_bytes(content)
