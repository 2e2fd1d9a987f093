"""What the recipes of `pretrain` and `finetune` share: data, length, learning rate, objective, and what is written."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from captioners.core.errors import CaptionersError
from captioners.core.options import Options, operation
from captioners.data.choices import AnySource, Captions, Streaming
from captioners.data.licences import UNSPECIFIED, licences_of
from captioners.data.split import Split
from captioners.decoding.values import Decoding
from captioners.images.augment import Augmentation
from captioners.images.decode import Profile
from captioners.jobs.recipes.caption import CONTEXT_NAMES
from captioners.models.hardware import parse_fleet
from captioners.text.truncate import Truncation
from captioners.training.objective import CoCaObjective, Tune

MicroBatch = Annotated[int, Field(ge=1)] | Literal["auto", "whole"]
Tracker = Literal["tensorboard", "wandb", "trackio"]


def _context(value: object) -> object:
    return CONTEXT_NAMES.get(value, value) if isinstance(value, int) and not isinstance(value, bool) else value


def _hardware(value: object) -> object:
    try:
        return value if value is None else str(parse_fleet(str(value))) and value
    except CaptionersError as error:
        raise ValueError(str(error)) from None


Hardware = Annotated[str, BeforeValidator(_hardware)]
"""`NAME` or `NAME:COUNT`, of a GPU that `captioners plan` knows."""


class Evaluation(Options):
    """Looks at the captioner while it learns: captions of val images, their CIDEr-D, the loss on all of val."""

    every: int | None = Field(None, ge=1)
    """Steps between two looks; absent: an epoch, or a tenth of the run where it is shorter."""
    images: int = Field(200, ge=1)
    """Val images that are captioned, greedily, always the same; the loss is of all of val."""
    shown: int = operation(8, ge=0)
    """Of these, how many are on the page `training.html`."""
    patience: int = Field(3, ge=1)
    """Looks without a better CIDEr-D after which training ends; the best checkpoint is the result."""


def data_licence_of(recipe: "TrainRecipe") -> str:
    """Return the recipe's word for the data's licence, or what its data card says."""
    found = licences_of(recipe.source)
    images, captions = "; ".join(found.images), "; ".join(found.captions)
    if recipe.data_licence != UNSPECIFIED or (images, captions) == (UNSPECIFIED, UNSPECIFIED):
        return recipe.data_licence
    return images if images == captions else f"images: {images}; captions: {captions}"


class TrainRecipe(Options):
    """Train a CoCa on images with captions."""

    source: AnySource
    """Where images and captions come from (`captioners list sources`)."""
    captions: Captions = "random_per_image"
    """Several captions of an image: one drawn anew each epoch, each a sample (per_caption), or the first alone
    (with `captions_per_step`, the first so many)."""
    captions_per_step: int = Field(1, ge=1)
    """Captions of an image in one step, at most; they share its encode."""
    truncation: Truncation = "token"
    """A caption too long for the context ends where the room does (token), or after its last whole sentence."""
    length_grouped: bool = False
    """Whether the captions of a step are of like length: less padding, and other batches."""
    augmentation: Augmentation = "none"
    """How pictures vary from epoch to epoch: none, or `{random_resized_crop: {scale: [0.9, 1.0]}}`."""
    stream: Streaming | None = None
    """Read shards while training goes on; absent: the set is read once, before the first step."""
    decode_profile: Profile = "upright"
    """How pictures are decoded: upright as `caption` does, or as_trained as CLIP trainers do."""
    context_length: Annotated[Annotated[int, Field(ge=4)] | None, BeforeValidator(_context)] = None
    """Token slots with start and end: 76, 127 or 255, or by name 77, 128, 256; absent: as the model has it."""
    steps: int | None = Field(None, ge=1)
    """Steps of the schedule: the cosine would reach 0 after them; samples seen = steps x batch_size."""
    epochs: float | None = Field(None, gt=0)
    """Instead of steps: how often every image (with `per_caption`, every caption) is seen."""
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
    split: Split | None = None
    """Images held out to choose the checkpoint and to judge the result; absent: all are trained on."""
    evaluation: Evaluation | None = None
    """How the captioner is looked at while it learns, on the images of `split.val`; absent: not at all."""
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
    allow_noncommercial: bool = False
    """Allow weights and data whose licence forbids commercial use."""
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
    micro_batch: MicroBatch = operation("whole")
    """Images that go through the model at once: a number, `auto` (as many as fit, found by trying), or `whole`.
    The gradient is the same; where memory runs out later, it is halved."""
    checkpoint_activations: Literal["none", "blocks"] = operation("none")
    """blocks: keep each residual block's input alone and compute the rest again: less memory, a third more work."""
    compile: Literal["none", "blocks"] = operation("none")
    """blocks: run residual blocks through torch.compile; the first steps take minutes."""
    checkpoint_every: int = operation(1000, ge=1)
    """Steps between checkpoints; one is also written when the run is stopped."""
    keep_checkpoints: int = operation(2, ge=1)
    """How many of them stay."""
    log_every: int = operation(10, ge=1)
    """Steps between lines of metrics."""
    trackers: list[Tracker] = operation([])
    """Where metrics go besides `metrics.jsonl` and the terminal: tensorboard, wandb, trackio."""
    max_hours: float | None = operation(None, gt=0)
    """Stop before the first step if the run would take longer, as measured on 20 of its steps; absent: never."""
    leaks: dict[str, str] = operation({})
    """Evaluation sets (MSCOCO's) that the data must not hold: a name -> a file that lists its images, such as
    `{val2017: captions_val2017.json, Karpathy test: dataset_coco.json}`. What they share is counted and said."""
    skipped_ceiling: float = operation(0.05, ge=0, le=1)
    """Stop before the first step if a larger share of the samples cannot be read or has no caption."""

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainRecipe":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("say how long to train: steps or epochs, one of them")
        if self.stream is not None and (self.split or self.length_grouped):
            raise ValueError(
                "stream: a set that is read as it goes is neither split nor grouped by length; leave it out"
            )
        if self.evaluation is not None and not (self.split and self.split.val):
            raise ValueError("evaluation: looks at held-out images, so split.val must be more than 0")
        if self.warmup is not None and self.steps is not None and self.warmup > self.steps:
            raise ValueError(f"warmup: {self.warmup} steps of warm-up are more than the {self.steps} steps of the run")
        if self.stop_at is not None and (self.steps is None or self.stop_at > self.steps):
            beyond = f"is beyond the {self.steps} steps of the schedule" if self.steps else "needs a schedule of steps"
            raise ValueError(f"stop_at: {self.stop_at} {beyond}; say more steps")
        if self.objective.contrastive_weight and self.batch_size < 2:
            raise ValueError(
                "batch_size: a contrastive loss compares the images of a batch, so 2 or more; "
                "or objective.contrastive_weight: 0"
            )
        return self
