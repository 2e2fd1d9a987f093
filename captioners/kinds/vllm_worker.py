"""The program that runs vLLM for the kind `vllm`, in vLLM's own environment: pictures and prompts in, captions out.

Stdlib only, besides vLLM and Pillow, which are there: captioners need not be installed in that environment. It talks
over stdin and stdout: a length of 4 bytes, a JSON header, then `bytes` bytes. It is told its settings once and says
`ready`; then come pictures, each with its request, and `go`, which it answers with the captions of all of them.
"""

import json
import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

# Modules beside this file are called like packages that are wanted here: vllm, transformers.
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).resolve().parent]

LENGTH = struct.Struct("<I")
Asked = tuple[dict[str, Any], Any]
"""A request and its picture."""


def send(file: BinaryIO, header: dict[str, Any]) -> None:
    """Write one header, which no bytes follow."""
    head = json.dumps({**header, "bytes": 0}).encode()
    file.write(LENGTH.pack(len(head)) + head)
    file.flush()


def receive(file: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Read a header and the bytes that follow it; raise EOFError when the other side is gone."""
    (length,) = LENGTH.unpack(_exactly(file, LENGTH.size))
    header = json.loads(_exactly(file, length))
    return header, _exactly(file, header["bytes"])


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return data


class Engine:
    """vLLM's offline engine, behind its plainest interface, which has kept still over its versions."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import vllm

        self._vllm: Any = vllm
        self._llm: Any = vllm.LLM(**settings)
        self._chat = bool(getattr(self._llm.get_tokenizer(), "chat_template", None))

    def about(self) -> dict[str, Any]:
        """Return what the parent wants to know of it."""
        import torch

        on_gpu = torch.cuda.is_available()
        return {
            "ready": True,
            "chat": self._chat,
            "vllm": self._vllm.__version__,
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "dtype": str(self._llm.llm_engine.model_config.dtype).removeprefix("torch."),
            "max_model_len": self._llm.llm_engine.model_config.max_model_len,
            "repetition_detection": hasattr(self._vllm.SamplingParams(), "repetition_detection"),
        }

    def answer(self, asked: list[Asked]) -> list[dict[str, Any]]:
        """Return for each request its captions, or the error that is its own."""
        try:
            return self._captions(asked)
        except (ValueError, TypeError) as error:  # of one of them: which, only asking each tells
            if len(asked) == 1:
                return [{"error": f"{type(error).__name__}: {error}"}]
            return [answer for one in asked for answer in self.answer([one])]

    def _captions(self, asked: list[Asked]) -> list[dict[str, Any]]:
        prompts: list[Any]
        params = [self._params(request["params"]) for request, _ in asked]
        if self._chat:
            prompts = [_conversation(request["prompt"], image) for request, image in asked]
            found = self._llm.chat(prompts, params, use_tqdm=False)
        else:
            prompts = [{"prompt": r["prompt"], "multi_modal_data": {"image": image}} for r, image in asked]
            found = self._llm.generate(prompts, params, use_tqdm=False)
        return [{"captions": [_caption(one) for one in output.outputs]} for output in found]

    def _params(self, values: dict[str, Any]) -> Any:
        values = dict(values)
        if values.get("repetition_detection"):
            from vllm.sampling_params import RepetitionDetectionParams

            values["repetition_detection"] = RepetitionDetectionParams(**values["repetition_detection"])
        return self._vllm.SamplingParams(**values)


def _conversation(prompt: str, image: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_pil", "image_pil": image}, {"type": "text", "text": prompt}]}]


def _caption(output: Any) -> dict[str, Any]:
    return {
        "draw": output.index,
        "text": output.text,
        "tokens": len(output.token_ids),
        "logprob": output.cumulative_logprob,
        "finish": output.finish_reason,
    }


def main() -> None:
    """Serve until stdin ends or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not get among the answers
    settings, _ = receive(sys.stdin.buffer)
    del settings["bytes"]
    engine = Engine(settings)
    send(out, engine.about())
    from PIL import Image

    asked: list[Asked] = []
    while True:
        try:
            header, data = receive(sys.stdin.buffer)
        except EOFError:
            return
        if "go" in header:
            send(out, {"answers": engine.answer(asked)})
            asked = []
        else:
            asked.append((header, Image.frombytes("RGB", tuple(header["size"]), data)))


def _end_with(parent: int) -> None:
    # It leads a process group of its own, which vLLM's other processes belong to.
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":  # vLLM's own processes import this file, too
    main()
