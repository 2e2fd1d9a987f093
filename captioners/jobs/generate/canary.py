"""The canary: a worker captions the same few photos at its start and again and again, and must say the same.

A GPU, driver or library that computes otherwise shows there before its captions are in the run. What the run's first
worker said is kept in the run; drift beyond near ties takes a worker out.
"""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from PIL import Image

from captioners.core.errors import WorkerOutError
from captioners.core.package_data import SAMPLES
from captioners.core.seeds import Stream
from captioners.core.storage import Place
from captioners.decoding.values import Beam
from captioners.kinds.captioner import Captioner, Request

PHOTOS = ("astronaut", "cat", "coffee")
_TOKENS = 12
_NEAR = {"float32": 1e-3, "bfloat16": 2e-2}
"""How far a log-probability a token may move by the rounding of another machine."""
_SAME = ("torch", "device", "cpu_capability", "dtype", "captioners")
"""What makes an environment, in which an exact captioner repeats itself bit for bit."""


def look(place: Place, captioner: Captioner, environment: Mapping[str, str]) -> None:
    """Caption the photos and compare with what the run's first worker said, who is compared with itself later.

    Captioners that promise nothing (grade best-effort), or cannot decode greedily, are not looked at.

    Raises:
        WorkerOutError: it drifted; says on which device and driver.
    """
    decoding = Beam(width=1, max_tokens=_TOKENS)
    if captioner.info.grade == "best-effort" or captioner.accepts(decoding):
        return
    said = _said(captioner, decoding)
    key = json.dumps(captioner.info.meaning, sort_keys=True, default=str)
    name = f"canary/{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"
    record = {"captioner": captioner.info.name, "environment": dict(environment), "said": said}
    if place.create(name, (json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()):
        return
    with suppress(ValueError):  # a record that a kill cut, where files cannot be created whole, compares with nothing
        first = json.loads(place.read(name))
        same = all(first["environment"].get(fact) == environment.get(fact) for fact in _SAME)
        exact = same and captioner.info.grade == "exact"
        problem = drift(first["said"], said, 0.0 if exact else _NEAR.get(environment.get("dtype", ""), 1e-3))
        if problem:
            raise WorkerOutError(
                f"{captioner.info.name} captions the canary photos otherwise here ({problem}): "
                f"{_machine(environment)}; first was {_device(first['environment'])}"
            )


def drift(first: Mapping[str, Any], now: Mapping[str, Any], near: float) -> str:
    """Say how captions of the same photos differ beyond near ties, or nothing.

    Another machine may choose another word where two are nearly alike, and goes on from there; that may happen to one
    photo of three, never to two. The same words have the same log-probabilities, up to `near` a token;
    0 is bit for bit.
    """
    others = [photo for photo in first if now[photo]["text"] != first[photo]["text"]]
    if len(others) > (len(first) // 3 if near else 0):
        photo = others[0]
        return f"{photo}: {now[photo]['text']!r}, not {first[photo]['text']!r}"
    for photo in set(first) - set(others):
        before, after = first[photo]["logprob"], now[photo]["logprob"]
        tokens = first[photo]["num_tokens"] + 1
        if (before is None) != (after is None) or (before is not None and abs(before - after) > near * tokens):
            return f"{photo}: log-probability {after}, not {before}"
    return ""


def _said(captioner: Captioner, decoding: Beam) -> dict[str, dict[str, Any]]:
    requests = []
    for index, name in enumerate(PHOTOS):
        with Image.open(SAMPLES / f"{name}.jpg") as photo:
            image = photo.convert("RGB")
        stream = Stream(0, hashlib.sha256(name.encode()).hexdigest(), "canary")
        requests.append(Request(index=index, image=image, stream=stream, decoding=decoding))
    return {
        PHOTOS[result.index]: {"text": result.text, "logprob": result.logprob, "num_tokens": result.num_tokens}
        for result in captioner.caption(requests)
    }


def _device(environment: Mapping[str, str]) -> str:
    return f"{environment.get('device', '?')}, {environment.get('dtype', '?')}, torch {environment.get('torch', '?')}"


def _machine(environment: Mapping[str, str]) -> str:
    """Name this machine's device and driver."""
    driver = ""
    with suppress(OSError, subprocess.SubprocessError):
        asked = ["nvidia-smi", "--query-gpu=name,driver_version,uuid", "--format=csv,noheader"]
        said = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603  # nothing of a user's
        driver = f", driver of {'; '.join(said.stdout.split(chr(10))[:-1])}"
    return f"{platform.node()}, {_device(environment)}{driver or f', {platform.system()} {platform.release()}'}"
