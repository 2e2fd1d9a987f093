"""A scripted source and a scripted captioner for the tests of `generate`: no model, any order of results."""

import random
from dataclasses import dataclass, field
from io import BytesIO

from PIL import Image

from captioners.data.source import Sample, Shard, Unreadable
from captioners.kinds.captioner import Result


def png(number):
    """A small picture that is another for each number."""
    file = BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256 % 256, 77)).save(file, "PNG")
    return file.getvalue()


@dataclass
class ScriptedSource:
    """Shards given as lists: a number is a picture, bytes are what they are, (reason, key) cannot be read."""

    content: dict[str, list]
    reads: list[tuple[str, int]] = field(default_factory=list)
    """(shard, index) of everything that was handed out."""

    def shards(self, frozen=()):
        return [Shard(path=path, size=1, stamp="") for path in self.content]

    def samples(self, shard, start=0):
        index = 0
        for found in self.content[shard.path]:
            at = index
            fault = isinstance(found, tuple) and not found[1]
            index += not fault
            if at < start:
                continue
            self.reads.append((shard.path, at))
            if isinstance(found, tuple):
                yield Unreadable(shard=shard.path, key=found[1], index=at, reason=found[0], error=f"{found[0]}!")
            else:
                image = found if isinstance(found, bytes) else png(found)
                yield Sample(shard=shard.path, key=f"k{at}", index=at, image=image, offset=at * 100, name=f"k{at}")


@dataclass
class ScriptedCaptioner:
    """Says who is asked, what and how often; results come shuffled, `ahead` requests are pulled at once.

    `says(stream, draw, attempt)` may return another text.
    """

    says: object = None
    ahead: int = 5
    seed: int = 0
    encode_seconds: float = 0.0
    asked: list = field(default_factory=list)

    def caption(self, requests):
        shuffle, source, ready, open_ = random.Random(self.seed), iter(requests), [], True
        while open_ or ready:
            while open_ and len(ready) < self.ahead:
                request = next(source, None)
                if request is None:
                    open_ = False
                    break
                self.asked.append(request)
                draws = range(request.first_draw, request.first_draw + request.draws)
                ready += [(request, draw) for draw in draws]
            shuffle.shuffle(ready)
            if ready:
                request, draw = ready.pop()
                yield Result(
                    index=request.index, draw=draw, text=self.text(request.stream, draw, request.attempt),
                    raw_text=None, num_tokens=5, logprob=-1.0, finish="eos",
                )  # fmt: skip

    def text(self, stream, draw, attempt):
        said = self.says(stream, draw, attempt) if self.says else None
        return said if said is not None else spoken(stream.member, stream.image_sha256, draw, attempt)


def spoken(member, sha256, draw, attempt):
    """The scripted caption: words that no rule refuses."""
    numbers = ("zero", "one", "two", "three", "four", "five")
    seen = "".join(chr(ord("a") + int(digit, 16)) for digit in sha256[:8])
    return f"{member} saw {seen} draw {numbers[draw]} attempt {numbers[attempt]}"
