"""The kind `endpoint`: any server of OpenAI's chat completions, such as `vllm serve`, asked about each picture.

Grade: best-effort; each draw has its seed, and what a server makes of it is its own affair. A request that the server
refuses for itself (4xx) gives that sample a caption of finish `error`; a server that is busy, unreachable or wants
another key is asked again with growing pauses, and then the unit stays open.
"""

import base64
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image

from captioners.core.errors import CaptionersError, UserError, near
from captioners.core.options import meaning_of
from captioners.decoding.values import Beam, Sample
from captioners.images.fit import Fit
from captioners.kinds._http import RefusedError, Server
from captioners.kinds._plain_text import TEXT_RULES, plain
from captioners.kinds.captioner import CaptionerInfo, Finish, Request, Result
from captioners.kinds.endpoint_options import EndpointOptions

SEMANTICS = 1
"""Raised whenever the same recipe asks otherwise; part of a layer's fingerprint."""

_MOST_REFUSED = 20
"""Requests refused in a row, after which it is not the pictures."""
_FINISHES: dict[Any, Finish] = {"length": "length", "repetition": "repetition"}


@dataclass
class _Asked:
    """A request under way, and which of its draws the server has been asked for."""

    request: Request
    url: str
    first: int
    left: int


class EndpointCaptioner:
    """See `captioners.kinds.captioner.Captioner`."""

    fit: Fit | None = None
    device_type = "elsewhere"

    def __init__(self, options: EndpointOptions) -> None:
        self._options = options
        self._server: Server | None = None
        self._version = ""
        self._refused = 0
        self.encode_seconds = 0.0

    @property
    def info(self) -> CaptionerInfo:
        """What is known of a model that is elsewhere: its name."""
        options = self._options
        return CaptionerInfo(
            name=options.called,
            kind="endpoint",
            weights_digest="",
            tower_digest=None,
            licences={"captions": options.licence},
            context_length=0,
            max_tokens=options.max_tokens,
            num_parameters=0,
            grade="best-effort",
            recommended_decoding=Sample(min_tokens=0),
            meaning={**meaning_of(options), "weights": "", "text_rules": TEXT_RULES, "engine_semantics": SEMANTICS},
        )

    @property
    def environment(self) -> dict[str, str]:
        """What the server says of itself."""
        said = {"device": "endpoint", "dtype": ""}
        return {**said, "server": self._version} if self._version else said

    def accepts(self, decoding: Sample | Beam, draws: int = 1, prompt: str = "") -> str | None:
        """Say why this server cannot be asked so, or None if it can."""
        return self._options.accepts(decoding, draws, prompt)

    def open(self, budget: int | None = None) -> None:  # noqa: ARG002  # no memory of ours
        """Ask the server for its models, where it tells them.

        Raises:
            UserError: it has others. EngineLostError: it cannot be reached.
        """
        options = self._options
        self.encode_seconds, self._refused = 0.0, 0
        self._server = Server(
            options.base_url,
            key_env=options.api_key_env,
            timeout_s=options.timeout_s,
            retries=options.retries,
            backoff_s=options.backoff_s,
            connections=options.concurrency,
        )
        try:
            self._look(self._server)
        except BaseException:
            self.close()
            raise

    def _look(self, server: Server) -> None:
        try:
            found = server.ask("/models").result()
        except RefusedError:  # a server need not tell
            return
        listed = found.get("data") if isinstance(found, dict) else None
        told = [model for model in listed or () if isinstance(model, dict)]
        names = [str(model.get("id")) for model in told]
        if names and self._options.model not in names:
            hint = near(self._options.model, names) or f" It has: {', '.join(names[:5])}"
            raise UserError(f"endpoint {self._options.base_url}: has no model {self._options.model!r}.{hint}")
        self._version = next((str(model["owned_by"]) for model in told if model.get("owned_by")), "")

    def caption(self, requests: Iterable[Request]) -> Iterator[Result]:
        """Keep so many requests under way and yield results as they come.

        Raises:
            CaptionersError: not open. UserError: everything is refused. EngineLostError: the server is lost.
        """
        if self._server is None:
            raise CaptionersError("the captioner is not open; call open() first")
        flying: dict[Future[Any], _Asked] = {}
        source, ended = iter(requests), False
        try:
            while True:
                while not ended and len(flying) < self._options.concurrency:
                    request = next(source, None)
                    if request is None:
                        ended = True
                        break
                    if problem := self.accepts(request.decoding, request.draws, request.prompt):
                        raise UserError(problem)
                    self._send(flying, _Asked(request, self._url(request.image), request.first_draw, request.draws))
                if not flying:
                    return
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    yield from self._answered(flying, future)
        finally:
            for future in flying:
                future.cancel()

    def _send(self, flying: "dict[Future[Any], _Asked]", asked: _Asked) -> None:
        assert self._server is not None
        flying[self._server.ask("/chat/completions", self._body(asked))] = asked

    def _answered(self, flying: "dict[Future[Any], _Asked]", future: "Future[Any]") -> Iterator[Result]:
        asked = flying.pop(future)
        request = asked.request
        try:
            answer = future.result()
        except RefusedError as error:
            self._refused += 1
            if self._refused >= _MOST_REFUSED:
                raise UserError(
                    f"endpoint {self._options.base_url}: refused {self._refused} requests in a row, the last with "
                    f"{error}; look at the model and the decoding"
                ) from None
            for draw in range(asked.first, asked.first + asked.left):
                yield _no_caption(request, draw, str(error))
            return
        self._refused = 0
        choices = list(answer.get("choices") or ())[: asked.left]
        if not choices:
            raise UserError(f"endpoint {self._options.base_url}: its answers hold no captions (choices)")
        alone = answer.get("usage") if len(choices) == 1 else None
        for place, choice in enumerate(choices):
            yield _result(request, asked.first + place, choice, alone or {})
        if asked.left > len(choices):  # servers that know no `n` give one at a time
            rest = asked.left - len(choices)
            self._send(flying, _Asked(request, asked.url, asked.first + len(choices), rest))

    def _url(self, image: Image.Image) -> str:
        options = self._options
        if options.max_side is not None and max(image.size) > options.max_side:
            image = image.copy()
            image.thumbnail((options.max_side, options.max_side), Image.Resampling.BICUBIC)
        file = BytesIO()
        how: dict[str, Any] = {"quality": 95, "subsampling": 0}
        image.save(file, options.image_format, **(how if options.image_format == "jpeg" else {"compress_level": 1}))
        return f"data:image/{options.image_format};base64,{base64.b64encode(file.getvalue()).decode()}"

    def _body(self, asked: _Asked) -> dict[str, Any]:
        request, decoding = asked.request, asked.request.decoding
        content = [{"type": "image_url", "image_url": {"url": asked.url}}, {"type": "text", "text": request.prompt}]
        system = [{"role": "system", "content": self._options.system}] if self._options.system else []
        body: dict[str, Any] = {
            "model": self._options.model,
            "messages": [*system, {"role": "user", "content": content}],
            "max_tokens": min(decoding.max_tokens or self._options.max_tokens, self._options.max_tokens),
            "n": asked.left,
            "seed": request.seed - request.first_draw + asked.first,
            "temperature": decoding.temperature if isinstance(decoding, Sample) else 0.0,
        }
        if isinstance(decoding, Sample) and decoding.top_p is not None:
            body["top_p"] = decoding.top_p
        if self._options.server == "vllm":
            body |= {"min_tokens": decoding.min_tokens, "repetition_penalty": decoding.repetition_penalty}
            if isinstance(decoding, Sample):
                # Said outright: a server may have filters of its own from the model's generation_config.
                body |= {"top_k": decoding.top_k or 0, "top_p": decoding.top_p or 1.0, "min_p": decoding.min_p or 0.0}
            body["return_token_ids"] = True
        return body

    def close(self) -> None:
        """Drop what is under way."""
        if self._server is not None:
            self._server.close()
        self._server = None


def _result(request: Request, draw: int, choice: Any, usage: Any) -> Result:
    message = choice.get("message") or {}
    raw = message.get("content") or ""
    text, raw_text = plain(raw, request.decoding)
    finish = _FINISHES.get(choice.get("finish_reason"), "eos")
    tokens = choice.get("token_ids")
    ended = finish == "eos"
    told = len(tokens) if tokens is not None else usage.get("completion_tokens")
    return Result(
        index=request.index,
        draw=draw,
        text=text,
        raw_text=raw_text,
        num_tokens=max(0, int(told) - ended) if told is not None else len(text.split()),
        logprob=None,
        finish=finish,
    )


def _no_caption(request: Request, draw: int, why: str) -> Result:
    return Result(index=request.index, draw=draw, text="", raw_text=why, num_tokens=0, logprob=None, finish="error")
