"""What the recipes of `pretrain` and `finetune` share: data, length, learning rate, objective, and what is written."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from captioners.core.errors import CaptionersError
from captioners.core.options import Options, operation
from captioners.data.choices import AnySource, Captions
from captioners.decoding.values import Decoding
from captioners.images.decode import Profile
from captioners.jobs.caption_recipe import CONTEXT_NAMES
from captioners.models.hardware import parse_fleet
from captioners.training.objective import CoCaObjective, Tune


def _context(value: object) -> object:
    return CONTEXT_NAMES.get(value, value) if isinstance(value, int) and not isinstance(value, bool) else value


def _hardware(value: object) -> object:
    try:
        return value if value is None else str(parse_fleet(str(value))) and value
    except CaptionersError as error:
        raise ValueError(str(error)) from None


Hardware = Annotated[str, BeforeValidator(_hardware)]
"""`NAME` or `NAME:COUNT`, of a GPU that `captioners plan` knows."""


class TrainRecipe(Options):
    """Train a CoCa on images with captions."""

    source: AnySource
    """Where images and captions come from (`captioners list sources`)."""
    captions: Captions = "random_per_image"
    """Several captions of an image: one drawn anew each epoch, each a sample (per_caption), or the first alone."""
    decode_profile: Profile = "upright"
    """How pictures are decoded: upright as `caption` does, or as_trained as CLIP trainers do."""
    context_length: Annotated[Annotated[int, Field(ge=4)] | None, BeforeValidator(_context)] = None
    """Token slots with start and end: 76, 127 or 255, or by name 77, 128, 256; absent: as the model has it."""
    steps: int = Field(ge=1)
    """Steps of the schedule: the cosine would reach 0 after them; samples seen = steps x batch_size."""
    stop_at: int | None = Field(None, ge=1)
    """Steps that are run, where training ends before its schedule; absent: all of them."""
    batch_size: int = Field(ge=1)
    """Images a step."""
    lr: float = Field(gt=0)
    """Peak learning rate; after the warm-up a cosine takes it to 0."""
    weight_decay: float = Field(ge=0)
    """Of matrices; gains, biases, positions and scales are not decayed."""
    warmup: int | None = Field(None, ge=0)
    """Steps of linear warm-up; absent: a twentieth of all steps, at most 1000."""
    objective: CoCaObjective = CoCaObjective()
    """Weights of the caption and of the contrastive loss."""
    tune: Tune = "all"
    """What is trained: all, or text (the image tower stays as it is)."""
    seed: int = Field(0, ge=0)
    """Of the order of samples, of drawn captions, and of random weights."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast on CUDA of capability 8.0 or newer, else fp32. Weights are fp32 always."""
    save_dtype: Literal["fp32", "fp16"] = "fp32"
    """How the captioner's weights are stored; fp16 halves the file and rounds them."""
    recommended_decoding: Decoding | None = operation(None)
    """What the captioner's card recommends; absent: that of `init`, or a beam."""
    name: str | None = operation(None, min_length=1)
    """The captioner's name; absent: that of the output folder."""
    knows_only: str | None = operation(None, min_length=1)
    """What the pictures are that it learns to caption, if not pictures at large: `caption` warns with it on others."""
    data_licence: str = operation("unspecified", min_length=1)
    """The licence of the data, for the captioner's card."""
    output: str | None = operation(None)
    """The run's folder; the captioner is `captioner/` in it. Below `runs/` when absent."""
    device: Literal["auto", "cpu", "cuda"] = operation("auto")
    """Where to train; CUDA_VISIBLE_DEVICES says which GPU."""
    hardware: Hardware | None = operation(None)
    """The GPUs it is meant for (`a100-40:256`): `captioners plan` takes these, and sets others against them."""
    memory_gb: float = operation(4.0, gt=0)
    """How much memory the decoded pictures may take, in GB."""
    checkpoint_every: int = operation(1000, ge=1)
    """Steps between checkpoints; one is also written when the run is stopped."""
    keep_checkpoints: int = operation(2, ge=1)
    """How many of them stay."""
    log_every: int = operation(10, ge=1)
    """Steps between lines of metrics."""
    trackers: list[Literal["tensorboard"]] = operation([])
    """Where metrics go besides `metrics.jsonl` and the terminal."""

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainRecipe":
        if self.warmup is not None and self.warmup > self.steps:
            raise ValueError(f"warmup: {self.warmup} steps of warm-up are more than the {self.steps} steps of the run")
        if self.stop_at is not None and self.stop_at > self.steps:
            raise ValueError(f"stop_at: {self.stop_at} is beyond the {self.steps} steps of the schedule; raise steps")
        if self.objective.contrastive_weight and self.batch_size < 2:
            raise ValueError(
                "batch_size: a contrastive loss compares the images of a batch, so 2 or more; "
                "or objective.contrastive_weight: 0"
            )
        return self

    @property
    def last_step(self) -> int:
        """Steps that are run."""
        return self.stop_at or self.steps
