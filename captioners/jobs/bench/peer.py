"""The peer's half of `captioners bench decode`: a script for the Python of an environment where open_clip can generate.

It imports nothing of ours. Requests come as JSON lines on standard input ({"op": ..., its arguments}), answers go as
JSON lines to standard output; whatever libraries print goes to standard error. Seconds are of the call alone.
"""

import json
import os
import sys
import time
import warnings
from typing import Any

import torch


class Peer:
    """open_clip's CoCa, and the images it captions."""

    def __init__(self) -> None:
        self._model: Any = None
        self._images = torch.empty(0)
        self._encoded: dict[tuple[int, int], Any] = {}
        self._start_id = self._end_id = 0

    def load(self, folder: str, images: str, threads: int, ids: tuple[int, int]) -> dict[str, Any]:
        """Load a directory in open_clip's format and the images [B, 3, H, W]; `ids`: the start and the end token."""
        import open_clip
        import transformers
        from open_clip.coca_model import _has_transformers

        if not _has_transformers:
            raise RuntimeError(f"open_clip cannot generate with transformers {transformers.__version__}")
        torch.set_num_threads(threads)
        self._start_id, self._end_id = ids
        self._model = open_clip.create_model(f"local-dir:{folder}").eval()
        self._images = torch.load(images, weights_only=True)
        return {
            "torch": torch.__version__,
            "open_clip": open_clip.__version__,
            "transformers": transformers.__version__,
            "threads": torch.get_num_threads(),
        }

    def stretch(self, context: int) -> dict[str, Any]:
        """Give the model a longer context: tables and masks of that size, the rest as is. For times, not text."""
        text, decoder = self._model.text, self._model.text_decoder
        old = text.positional_embedding.data
        table = old.new_zeros(context + 1, old.shape[1])
        table[: len(old)] = old
        text.positional_embedding = torch.nn.Parameter(table)
        text.num_pos = context + 1
        text.attn_mask = text.build_causal_mask()
        decoder.context_length = context
        decoder.attn_mask = decoder.build_attention_mask()
        return {}

    def generate(self, images: int, copies: int, steps: int, beams: int = 0, greedy: bool = False) -> dict[str, Any]:
        """Generate captions of `steps` steps each: sample `copies` of each of the first images, or search with `beams`.

        open_clip gives one sample an image, so images are repeated. Its seq_len counts the start token, and it
        overwrites the last token with the end token, so `steps` forward passes make sequences of steps + 1.
        """
        batch = self._images[:images].repeat_interleave(copies, dim=0)
        # min_seq_len bans the end token until the last step.
        options: dict[str, Any] = {"seq_len": steps + 1, "min_seq_len": steps, "max_seq_len": steps + 1}
        if beams:
            options |= {"generation_type": "beam_search", "num_beams": beams, "num_beam_groups": 1}
        elif greedy:
            options |= {"generation_type": "top_k", "top_k": 1}
        else:
            options |= {"generation_type": "top_p", "top_p": 0.9}
        began = time.perf_counter()
        ids = self._model.generate(batch, sot_token_id=self._start_id, eos_token_id=self._end_id, **options)
        return {"seconds": time.perf_counter() - began, "ids": ids.tolist()}

    def encode(self, images: int, copies: int) -> dict[str, Any]:
        """Encode the repeated images, as `generate` does first, and keep the result for `step`."""
        batch = self._images[:images].repeat_interleave(copies, dim=0)
        began = time.perf_counter()
        self._encoded = {(images, copies): self._model._encode_image(batch)}
        return {"seconds": time.perf_counter() - began}

    def step(self, images: int, copies: int, prefix: int) -> dict[str, Any]:
        """Time one step of `generate`'s own loop at a prefix of that many tokens, start included, after `encode`.

        It is the loop's last step, which filters but does not draw: slightly less than its other steps do.
        """
        rows, encoded = images * copies, self._encoded[images, copies]
        text = torch.randint(1, self._start_id, (rows, prefix), generator=torch.Generator().manual_seed(prefix))
        self._model._encode_image = lambda *_: encoded
        try:
            began = time.perf_counter()
            self._model.generate(
                torch.empty(rows, 0),
                text=text,
                sot_token_id=self._start_id,
                eos_token_id=self._end_id,
                seq_len=prefix + 1,
                min_seq_len=prefix,
                max_seq_len=prefix + 1,
                generation_type="top_p",
                top_p=0.9,
            )
            return {"seconds": time.perf_counter() - began}
        finally:
            del self._model._encode_image

    def logits(self, ids: list[list[int]], to: str) -> dict[str, Any]:
        """Write the logits [B, T, V] of the full forward pass over ids [B, T], one row an image."""
        text = torch.tensor(ids)
        torch.save(self._model(self._images[: len(ids)], text, output_labels=False)["logits"].clone(), to)
        return {}


def main() -> None:
    """Answer requests until standard input ends."""
    # The answers keep the real standard output; everything else that writes there is sent to standard error.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    peer = Peer()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            with torch.inference_mode():
                answer = getattr(peer, request.pop("op"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
