"""The kind `transformers`: any image-to-text model of transformers, sampled by our own counter-based random numbers.

Grade: same-plan on one environment with `batch: 1`, where a caption depends on its own image and draws, not on its
company; best-effort with larger batches, whose rounding may differ by company. Beam search is transformers' own. Code
that comes with a model is never run, and weights are read from safetensors alone.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from captioners.core.errors import CaptionersError, UserError
from captioners.decoding.values import Beam, Limits, Sample
from captioners.kinds import _hub
from captioners.kinds._counted_sampling import CountedSampling
from captioners.kinds._device import OnDevice, device_named, dtype_of
from captioners.kinds._plain_text import TEXT_RULES, plain
from captioners.kinds.captioner import CaptionerInfo, Finish, Request, Result
from captioners.kinds.transformers_options import TransformersOptions

SEMANTICS = 1
"""Raised whenever captions change with the same model and transformers; part of a layer's fingerprint."""

_OWN_ENDS = {"blip": "sep_token_id"}
"""Models whose `generate` names its end token itself: which of the text configuration it is."""
_OPEN_PROMPT = {"git"}
"""Models that go on after a prompt only if its closing token is taken away."""


_NEUTRAL = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": None, "typical_p": 1.0, "use_cache": True}
"""Instead of what a model's own generation_config would filter by."""

_Row = tuple[list[int], float | None]
"""Tokens written, with whatever stands after the end, and their log-probability."""


class TransformersCaptioner(OnDevice):
    """See `captioners.kinds.captioner.Captioner`."""

    def __init__(self, options: TransformersOptions, *, device: str = "auto", precision: str = "auto") -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self._options = options
        self.device = device_named(device)
        self.dtype = dtype_of(precision, self.device)
        self.folder = _hub.folder_of(options)
        try:
            with _quiet():
                self._processor: Any = AutoProcessor.from_pretrained(self.folder, trust_remote_code=False)
                self._model: Any = AutoModelForImageTextToText.from_pretrained(
                    self.folder, dtype=self.dtype, use_safetensors=True, trust_remote_code=False
                ).eval()
        except (OSError, ValueError, KeyError, ImportError) as error:
            said = " ".join(str(error).split())[:240]
            raise UserError(f"model {options.model}: transformers cannot load it ({said})") from None
        words = self._processor.tokenizer
        words.padding_side = "left"  # so that all rows of a batch go on from the same place
        self.chat = bool(getattr(self._processor, "chat_template", None))
        """Whether it is asked something; else it goes on from a prompt, or from nothing."""
        self._end_ids = _end_ids(self._model)
        self._pad_id = words.pad_token_id if words.pad_token_id is not None else int(self._end_ids[0])
        context = _hub.context_of(self.folder)
        self.max_tokens = min(options.max_tokens, context - 1) if context else options.max_tokens
        self.encode_seconds = 0.0
        self._open = False

    @cached_property
    def info(self) -> CaptionerInfo:
        """Name, digests (hashed once per file), licences, limits, grade."""
        weights = _hub.weights_of(self.folder)
        return CaptionerInfo(
            name=self._options.called,
            kind="transformers",
            weights_digest=weights,
            tower_digest=None,
            licences={"weights": self._options.licence},
            context_length=_hub.context_of(self.folder),
            max_tokens=self.max_tokens,
            num_parameters=sum(p.numel() for p in self._model.parameters()),
            grade="same-plan" if self._options.batch == 1 else "best-effort",
            recommended_decoding=Beam(),
            meaning={
                "kind": "transformers",
                "weights": weights,
                "files": _hub.files_digest(self.folder),
                "max_tokens": self.max_tokens,
                "dtype": str(self.dtype).removeprefix("torch."),
                "text_rules": TEXT_RULES,
                "engine_semantics": SEMANTICS,
            },
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a caption may depend on besides its layer's meaning."""
        import transformers

        return {**super().environment, "transformers": transformers.__version__}

    def accepts(self, decoding: Sample | Beam, draws: int = 1, prompt: str = "") -> str | None:
        """Say why this captioner cannot decode so, or None if it can."""
        for name, wanted in (("max_tokens", decoding.max_tokens), ("min_tokens", decoding.min_tokens)):
            if wanted is not None and wanted > self.max_tokens:
                return f"{name} {wanted} is more than {self._options.called} may write: {self.max_tokens} tokens"
        if self.chat and not prompt:
            return f"{self._options.called} is a chat model and has to be asked; write a prompt: Describe this picture."
        return self._options.accepts(decoding, draws, prompt)

    def open(self, budget: int | None = None) -> None:  # noqa: ARG002  # transformers plans no memory
        """Move the weights to the device."""
        self._model = self._model.to(self.device)
        self._end_ids = self._end_ids.to(self.device)
        self.encode_seconds, self._open = 0.0, True

    def caption(self, requests: Iterable[Request]) -> Iterator[Result]:
        """Pull requests, decode those that want the same together, and yield results.

        Raises:
            CaptionersError: not open. UserError: a request that `accepts` refuses.
        """
        if not self._open:
            raise CaptionersError("the captioner is not open; call open() first")
        waiting: dict[Any, list[Request]] = {}
        for request in requests:
            if problem := self.accepts(request.decoding, request.draws, request.prompt):
                raise UserError(problem)
            alike = request.decoding.model_dump_json(), request.draws, request.prompt
            waiting.setdefault(alike, []).append(request)
            if len(waiting[alike]) >= self._options.batch:
                yield from self._decoded(waiting.pop(alike))
        for together in waiting.values():
            yield from self._decoded(together)

    def _decoded(self, requests: Sequence[Request]) -> Iterator[Result]:
        first = requests[0]
        start = time.perf_counter()
        inputs = self._inputs([request.image for request in requests], first.prompt)
        self.encode_seconds += time.perf_counter() - start
        if isinstance(first.decoding, Sample):
            rows = self._sampled(inputs, requests, first.decoding)
        elif first.decoding.width == 1:
            rows = self._greedy(inputs, len(requests), first.decoding)
        else:
            rows = self._searched(inputs, first.decoding, first.draws)
        for place, (tokens, logprob) in enumerate(rows):
            request = requests[place // first.draws]
            draw = request.first_draw + place % first.draws
            yield self._result(request, draw, tokens, logprob)

    def _inputs(self, images: list[Image.Image], prompt: str) -> dict[str, Any]:
        if self.chat:
            asked = [
                [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": prompt}]}]
                for image in images
            ]
            template = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, "return_tensors": "pt"}
            found = self._processor.apply_chat_template(asked, padding=True, **template)
        elif prompt:
            found = self._processor(images=images, text=[prompt] * len(images), return_tensors="pt")
            if self._model.config.model_type in _OPEN_PROMPT:
                for name in ("input_ids", "attention_mask", "token_type_ids"):
                    if name in found:
                        found[name] = found[name][:, :-1]
        else:
            found = self._processor(images=images, return_tensors="pt")
        return {
            name: value.to(self.device, self.dtype if value.is_floating_point() else None)
            for name, value in found.items()
            if isinstance(value, Tensor) and name != "token_type_ids"
        }

    def _sampled(self, inputs: dict[str, Any], requests: Sequence[Request], decoding: Sample) -> Iterator[_Row]:
        limit = self._limit(decoding)
        uniforms = torch.stack(
            [
                torch.from_numpy(request.stream.uniforms(draw, request.attempt, limit))
                for request in requests
                for draw in range(request.first_draw, request.first_draw + request.draws)
            ]
        )
        return self._drawn(inputs, decoding, uniforms, requests[0].draws)

    def _greedy(self, inputs: dict[str, Any], images: int, decoding: Beam) -> Iterator[_Row]:
        """Take the likeliest token of each step: a draw of one, at 0 the first of those that tie."""
        limits = {name: getattr(decoding, name) for name in Limits.model_fields}
        uniforms = torch.zeros(images, self._limit(decoding), dtype=torch.float64)
        return self._drawn(inputs, Sample(top_k=1, **limits), uniforms, 1)

    def _drawn(self, inputs: dict[str, Any], options: Sample, uniforms: Tensor, draws: int) -> Iterator[_Row]:
        sampling = CountedSampling(options, uniforms.to(self.device), self._end_ids)
        # Sampling, for else it makes no several rows of one image; its own generator decides nothing.
        self._generate(
            inputs, uniforms.shape[1], do_sample=True, num_return_sequences=draws, logits_processor=[sampling]
        )
        return zip(sampling.tokens.tolist(), sampling.logprobs.tolist(), strict=True)

    def _searched(self, inputs: dict[str, Any], decoding: Beam, draws: int) -> Iterator[_Row]:
        found = self._generate(
            inputs,
            self._limit(decoding),
            do_sample=False,
            num_beams=decoding.width,
            num_return_sequences=draws,
            length_penalty=decoding.length_penalty,
            early_stopping=decoding.early_stopping,
            min_new_tokens=decoding.min_tokens,
            repetition_penalty=decoding.repetition_penalty,
            no_repeat_ngram_size=decoding.no_repeat_ngram,
            return_dict_in_generate=True,
            output_scores=True,
        )
        came_from = found.beam_indices  # [rows, T], -1 after the end
        tokens = found.sequences[:, -came_from.shape[1] :]
        for row, origins in zip(tokens, came_from, strict=True):
            steps = [
                s[origin, token] for s, origin, token in zip(found.scores, origins, row, strict=False) if origin >= 0
            ]
            # A penalty on repetition is in the scores, too: they are not the model's own then.
            logprob = float(torch.stack(steps).double().sum()) if decoding.repetition_penalty == 1.0 else None
            yield row.tolist(), logprob

    def _generate(self, inputs: dict[str, Any], limit: int, **how: Any) -> Any:
        own_end = self._model.config.model_type in _OWN_ENDS
        ends = {} if own_end else {"eos_token_id": self._end_ids.tolist(), "pad_token_id": self._pad_id}
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices), _quiet():
            return self._model.generate(**inputs, **_NEUTRAL, **ends, max_new_tokens=limit, **how)

    def _limit(self, decoding: Sample | Beam) -> int:
        return min(decoding.max_tokens or self.max_tokens, self.max_tokens)

    def _result(self, request: Request, draw: int, tokens: list[int], logprob: float | None) -> Result:
        ends = self._end_ids.tolist()
        length = next((place for place, token in enumerate(tokens) if token in ends), None)
        content = tokens[:length]
        raw = self._processor.tokenizer.decode(content, skip_special_tokens=True)
        text, raw_text = plain(raw, request.decoding)
        finish: Finish = "length" if length is None else "eos"
        return Result(
            index=request.index,
            draw=draw,
            text=text,
            raw_text=raw_text,
            num_tokens=len(content),
            logprob=logprob,
            finish=finish,
        )

    def close(self) -> None:
        """Free the weights."""
        self._model, self._open = None, False


def _end_ids(model: Any) -> Tensor:
    """Return the tokens that end a caption, long [E]."""
    text = model.config.get_text_config(decoder=True)
    named = _OWN_ENDS.get(model.config.model_type)
    found = getattr(text, named) if named else model.generation_config.eos_token_id
    found = text.eos_token_id if found is None else found
    if found is None:
        raise UserError(f"model {model.config.name_or_path}: names no token that ends a text (eos_token_id)")
    return torch.tensor([found] if isinstance(found, int) else list(found))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' bars and remarks to itself."""
    from transformers.utils import logging as their_logging

    bars, level = their_logging.is_progress_bar_enabled(), their_logging.get_verbosity()
    their_logging.disable_progress_bar()
    their_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        their_logging.set_verbosity(level)
        if bars:
            their_logging.enable_progress_bar()
