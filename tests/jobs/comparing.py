"""Scripted captioners and scorers: what they say is looked up, so a comparison's arithmetic is known before."""

import numpy as np
from PIL import Image

from captioners.decoding.values import Beam
from captioners.kinds.captioner import CaptionerInfo, Result

VOICES = {
    "poor": lambda n: "a picture of something",
    "good": lambda n: f"a {COLOURS[n % 8]} circle above a {COLOURS[(n + 3) % 8]} square",
    "loop": lambda n: "a dog a dog a dog a dog",
}
COLOURS = ("red", "blue", "green", "yellow", "purple", "orange", "cyan", "brown")


def picture(number):
    """A picture of one colour, whose number can be read back."""
    return Image.new("RGB", (32, 32), (number % 256, number // 256, 7))


def references(number):
    return (VOICES["good"](number), f"{COLOURS[number % 8]} circle and {COLOURS[(number + 3) % 8]} square")


class ScriptedCaptioner:
    """Says what its voice says of the picture's number; keeps what it was asked."""

    encode_seconds = 0.0

    def __init__(self, name, voice, *, tower="tower", refuses=None, knows_only=""):
        self.voice, self.refuses, self.opened, self.asked = voice, refuses, 0, []
        self.info = CaptionerInfo(
            name=name,
            kind="scripted",
            weights_digest=f"digest of {name}",
            tower_digest=tower,
            licences={"weights": "CC0"},
            context_length=24,
            max_tokens=22,
            num_parameters=1,
            grade="exact",
            recommended_decoding=Beam(width=1),
            meaning={},
            knows_only=knows_only,
        )

    def accepts(self, decoding, draws=1, prompt=""):
        return self.refuses

    def open(self, budget=None):
        self.opened += 1

    def close(self):
        self.opened -= 1

    def caption(self, requests):
        assert self.opened == 1
        self.asked = list(requests)
        for request in reversed(self.asked):  # any order is allowed
            red, green, _ = request.image.getpixel((0, 0))
            text = self.voice(red + 256 * green)
            yield Result(
                index=request.index, draw=0, text=text, raw_text=None, num_tokens=4, logprob=-1.0, finish="eos"
            )


class ScriptedScorer:
    """Sees a picture's number, and reads the first colour of a text: right texts are near, others are not."""

    name, tower_digest = "scripted CLIP", "another tower"

    def image_features(self, pictures):
        return np.array([np.eye(8)[image.getpixel((0, 0))[0] % 8] for image in pictures])

    def text_features(self, texts):
        first = [next((COLOURS.index(word) for word in text.split() if word in COLOURS), None) for text in texts]
        return np.array([np.full(8, 0.1) if at is None else np.eye(8)[at] for at in first])
