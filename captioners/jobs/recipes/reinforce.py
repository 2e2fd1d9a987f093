"""What `captioners reinforce` can be told: captioned shards, an ensemble of teachers, augmentations, how to work."""

from typing import Literal

from pydantic import Field, model_validator

from captioners.core.errors import UserError
from captioners.core.options import Options, operation
from captioners.core.recipe import job_recipes
from captioners.data.webdataset_source import WebdatasetOptions
from captioners.executors.options import AnyExecutor, LocalOptions
from captioners.images.decode import MAX_PIXELS
from captioners.reinforcement.augmentation import Augmentation, Interpolation
from captioners.reinforcement.teacher_options import TeacherOptions


class RandomResizedCrop(Options):
    """A box of random area and proportions, brought to one size."""

    size: int = Field(224, ge=1)
    """Of a crop in px, which RandAugment's translations are shares of; each teacher sees it at its own input size."""
    scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest area, of the picture's."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width / height."""
    interpolation: Interpolation = "bicubic"
    """Of the resize, for all teachers."""


class RandAugment(Options):
    """Random operations on the crop (arXiv 1909.13719)."""

    p: float = Field(1.0, ge=0, le=1)
    """Share of crops that get any."""
    num_ops: int = Field(2, ge=0)
    """Operations one after another."""
    magnitude: int = Field(9, ge=0)
    """Which of the strengths."""
    num_magnitude_bins: int = Field(31, ge=2)
    """Strengths that there are."""


class ImageAugmentation(Options):
    """How pictures are augmented, in the words of the reference's config.json."""

    random_resized_crop: RandomResizedCrop = RandomResizedCrop()
    """A box of random area and proportions."""
    rand_augment: RandAugment = RandAugment()
    """Random operations on the crop; num_ops 0: none."""

    @model_validator(mode="after")
    def _possible(self) -> "ImageAugmentation":
        try:
            self.drawn_from()
        except UserError as error:
            raise ValueError(str(error).removeprefix("image_augmentation: ")) from None
        return self

    def drawn_from(self) -> Augmentation:
        """Return what augmentations are drawn from."""
        crop, random = self.random_resized_crop, self.rand_augment
        return Augmentation(
            **crop.model_dump(),
            p=random.p,
            num_ops=random.num_ops,
            magnitude=random.magnitude,
            num_bins=random.num_magnitude_bins,
        )


@job_recipes.register("reinforce")
class ReinforceRecipe(Options):
    """Embed captioned shards with an ensemble of teachers; the same command resumes."""

    job: Literal["reinforce"] = "reinforce"
    source: WebdatasetOptions
    """Captioned shards, as `captioners export RUN --to webdataset` writes them."""
    teachers: list[TeacherOptions] = Field(min_length=1)
    """The ensemble, in the order of its blocks in an embedding."""
    n_aug: int = Field(30, ge=1)
    """Augmentations of each picture."""
    image_augmentation: ImageAugmentation = ImageAugmentation()
    """What they are drawn from."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """float32: `.npz`; bfloat16: `.pth.gz`. On CUDA the teachers compute in it, too; on a CPU always in float32."""
    layout: Literal["split", "legacy"] = "split"
    """split: each key of captions has its own embeddings; legacy: DataCompDR's, for one key alone."""
    seed: int = Field(0, ge=0)
    """Run seed of the augmentations."""
    max_pixels: int = Field(MAX_PIXELS, ge=1)
    """Larger pictures are quarantined, undecoded."""
    allow_noncommercial: bool = False
    """Allow weights whose licence forbids commercial use."""
    max_shards: int | None = operation(None, ge=1)
    """A pilot: only the first so many shards; without it the same run then goes on."""
    batch: int | None = operation(None, ge=1)
    """Crops or captions that a teacher gets at once, fixed at a run's first start; absent: 256 on CUDA, 16 on a CPU."""
    quarantine_ceiling: float = operation(0.05, ge=0, le=1)
    """Share of samples (or of shards) that may be unusable among 50 shards before the run stops."""
    executor: AnyExecutor = operation(LocalOptions(), validate_default=True)
    """Where workers run: local, ray or slurm, or a mapping: `{kind: ray, address: auto, most: 64}`."""
    workers: int = operation(1, ge=1)
    """Processes that embed, each with its own teachers; they share the machine's threads and GPUs."""
    decode_threads: int | None = operation(None, ge=1)
    """Threads that decode, augment and pack, of each worker; absent: its share of the machine's cores."""
    max_hours: float | None = operation(None, gt=0)
    """Hours of work, of all workers together, after which no shard begins any more."""
    max_cost: float | None = operation(None, gt=0)
    """What the run may cost, in the currency of `price_per_gpu_hour`, after which no shard begins any more."""
    price_per_gpu_hour: float | None = operation(None, gt=0)
    """What you pay for an hour of one worker's machine."""
    device: str = operation("auto")
    """auto, cpu, cuda or cuda:N; with several GPUs and workers, auto gives each worker one of them."""
    patience_s: float = operation(1800.0, gt=0)
    """Seconds that a worker may show no sign of life, or (if 10 times the median is less) take for a shard."""
    output: str | None = operation(None)
    """The run's folder; below `runs/` when absent. The shards are in its `shards/`."""

    @model_validator(mode="after")
    def _cost_has_a_price(self) -> "ReinforceRecipe":
        if self.max_cost is not None and self.price_per_gpu_hour is None:
            raise ValueError(f"max_cost {self.max_cost:g} needs to know what an hour costs; say price_per_gpu_hour")
        return self

    @model_validator(mode="after")
    def _whole_samples(self) -> "ReinforceRecipe":
        # Every member of every sample goes on as it is, and the picture, its caption and the rest have fixed names.
        plain = WebdatasetOptions(inputs=self.source.inputs)
        for name in ("image_key", "caption_key", "keep", "uids"):
            if getattr(self.source, name) != getattr(plain, name):
                raise ValueError(
                    f"source.{name} chooses of samples, and reinforce keeps all that whole samples have; leave it out, "
                    "and choose when captioning"
                )
        return self

    @property
    def price(self) -> float:
        """Of an hour of work; 0 if none is said."""
        return self.price_per_gpu_hour or 0.0
