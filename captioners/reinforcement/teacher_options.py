"""What a recipe says of a teacher: a model that open_clip opens, its weights, and its logit scale. Torch-free."""

from pydantic import Field

from captioners.core.options import Options, added, operation

RANDOM = "random"
"""What `pretrained` says of a teacher that was never trained: to try things."""

_APPLE_TAGS = ("dfn", "dfndr", "mobileclip", "datacompdr")


class TeacherOptions(Options):
    """A teacher of an ensemble; the order of teachers is the order of their blocks in an embedding."""

    name: str = Field(min_length=1)
    """An architecture of open_clip (`ViT-L-14`), `hf-hub:ORG/REPO`, or `local-dir:DIR`; with random weights also
    `tiny`, `tiny-224` and `tiny-siglip`."""
    pretrained: str | None = None
    """open_clip's tag of the weights or a file of them; `random` for weights drawn by `seed`. A repository or a
    directory brings its own."""
    scale: float | None = operation(None, gt=0)
    """The logit scale that a student's trainer uses for it; absent: the one that the model was trained to."""
    seed: int | None = added(None, ge=0)
    """Of random weights."""

    @property
    def called(self) -> str:
        """What messages call it: `ViT-L-14/openai`."""
        return f"{self.name}/{self.pretrained}" if self.pretrained else self.name

    @property
    def random(self) -> bool:
        """Whether it is not trained."""
        return self.pretrained == RANDOM

    def refusal(self, allow_noncommercial: bool) -> str | None:
        """Say why its licence forbids the use, or None: Apple's weights are for research (design promise 7)."""
        name, tag = self.name.lower(), (self.pretrained or "").lower()
        apples = name.startswith(("hf-hub:apple/", "mobileclip")) or tag.startswith(_APPLE_TAGS)
        if not apples or self.random or allow_noncommercial:
            return None
        return (
            f"teacher {self.called} has a non-commercial licence (Apple Machine Learning Research Model License); "
            "say `allow_noncommercial=true` if your use allows that"
        )
