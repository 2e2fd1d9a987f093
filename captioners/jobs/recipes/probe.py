"""What `captioners probe` can be told: the arms, the student, how it is trained and judged, what was declared."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from captioners.core.options import Options, operation
from captioners.core.recipe import job_recipes
from captioners.data.choices import AnySource

CONTROL = "sanity: "
"""What the names of the probe's own arms begin with."""
AVERAGE = "average"
"""The task that is the mean of others (`Drawn.average`); the primary one unless another is declared."""

Task = Literal["zero_shot", "count", "relation", "binding", "image_to_text", "text_to_image"]

TINY: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": 32,
        "timm_model_name": "test_resnet",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
    },
    "text_cfg": {"context_length": 40, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
"""open_clip's configuration of a student for a CPU, with timm's smallest ResNet: for the same seconds, a ViT learns
less of the drawn world (an average of 0.33 instead of 0.47 after 30 s, from true captions)."""


class Arm(Options):
    """One table of captions: which captioners' captions a student sees, and how many of each."""

    captions: dict[str, Annotated[int, Field(ge=1)]] = Field({})
    """A key of `syn.json`, or its tag (`short` for `syn_text_short`) -> its first so many captions; none of them:
    ground truth alone. A step draws a key, then one of its captions."""
    shards: list[str] = Field([])
    """Reinforced shards of its own, with the same pictures; absent: those of the recipe."""
    mixed: Literal["every_step", "by_image"] = "every_step"
    """Where several keys are named: a step draws among them, or an image keeps to one of them for good: variety over
    the set without variety within an image."""


class Drawn(Options):
    """Tasks on scenes of the drawn world that no training set has (split `eval`)."""

    kind: Literal["drawn"] = "drawn"
    scenes: int = Field(1000, ge=1)
    """Scenes of each task but retrieval."""
    pool: int = Field(250, ge=2)
    """Scenes that are retrieved from."""
    seed: int = Field(0, ge=0)
    """Of the scenes."""
    average: list[Task] = Field(["zero_shot", "count", "image_to_text", "text_to_image"], min_length=1)
    """What the task `average` is the mean of. Relation and binding stay at chance in short trainings and would only add
    noise; with 2,000 steps or more, name all six."""


class ZeroShot(Options):
    """Classification by texts: a picture's class is that of the nearest text."""

    kind: Literal["zero_shot"] = "zero_shot"
    name: str = Field(min_length=1)
    """What the task is called."""
    source: AnySource
    """Pictures (`captioners list sources`)."""
    label: str | None = None
    """The field of a sample's metadata that names its class, or gives its number from 0; absent: its first caption."""
    classes: list[str] = Field(min_length=2)
    """Names of the classes, as the templates take them."""
    templates: list[str] = Field(["a photo of a {}.", "a picture of a {}."], min_length=1)
    """Texts with `{}` in the name's place; their embeddings are averaged."""
    images: int | None = Field(None, ge=1)
    """The first so many; absent: all."""

    @model_validator(mode="after")
    def _templates_take_a_name(self) -> "ZeroShot":
        for text in self.templates:
            if "{}" not in text:
                raise ValueError(f"templates: {text!r} has no {{}} for the name of a class")
        return self


class Retrieval(Options):
    """Retrieval of pictures by captions and captions by pictures, as on Flickr30k and MSCOCO: recall@1 and @5."""

    kind: Literal["retrieval"] = "retrieval"
    name: str = Field(min_length=1)
    """What the task is called."""
    source: AnySource
    """Pictures with captions."""
    images: int | None = Field(None, ge=1)
    """The first so many; absent: all."""
    captions: int = Field(5, ge=1)
    """Captions of a picture, at most; each retrieves by itself."""


class Command(Options):
    """Tasks of another program, for instance CLIP-benchmark: it runs once for each student."""

    kind: Literal["command"] = "command"
    name: str = Field(min_length=1)
    """What its tasks' names begin with."""
    run: str = Field(min_length=1)
    """The command. `{student}`: a directory that open_clip opens as `local-dir:{student}`. `{output}`: a folder for its
    JSON files, `{task: number}` or as CLIP-benchmark writes them."""
    average: list[str] = Field([])
    """Which of its tasks, as `NAME/task`, go into the average."""


Evaluation = Annotated[Drawn | ZeroShot | Retrieval | Command, Field(discriminator="kind")]


class Declare(Options):
    """What is claimed, said before the first result."""

    primary: str = AVERAGE
    """The task that decides."""
    contrasts: list[tuple[str, str]] = Field([])
    """Pairs [arm, the arm that it is held against]. p-values are corrected for their number, times that of the weights
    of distillation: 6 seeds can bear one such test, 7 three, 8 six (three contrasts at two weights)."""
    margin: float = Field(0.02, gt=0)
    """A difference within it counts as none."""

    @model_validator(mode="after")
    def _each_pair_once(self) -> "Declare":
        for one, other in self.contrasts:
            if one == other:
                raise ValueError(f"contrasts: {one!r} is held against itself")
            if sum({one, other} == set(pair) for pair in self.contrasts) > 1:
                raise ValueError(f"contrasts: {one!r} and {other!r} are held against each other twice; say it once")
        return self


class ProbeOptions(Options):
    """All of a probe but its arms and their data."""

    kind: Literal["student", "external"] = "student"
    """student: train one here, of each arm. external: write each arm's shards and a command, and read its results."""
    ground_truth: bool = True
    """Train on the caption that came with a picture, too; else on synthetic ones alone."""
    seeds: list[int] = Field([0, 1, 2, 3, 4, 5], min_length=1)
    """Each is a student's weights, order, augmentations and drawn captions, shared by all arms."""
    distillation_weights: list[Annotated[float, Field(ge=0, le=1)]] = Field([0.0, 1.0], min_length=1)
    """Lambda of MobileCLIP2's loss: 0 is CLIP's loss, which shows captions best, 1 the paper's distillation alone."""
    student: str | dict[str, Any] = TINY
    """An architecture of open_clip (`ViT-B-16`, `MobileCLIP2-S0`), or its configuration written out."""
    steps: int = Field(250, ge=1)
    """Of each student."""
    batch_size: int = Field(128, ge=2)
    """Images a step."""
    lr: float = Field(3e-3, gt=0)
    """Peak learning rate; after the warm-up a cosine takes it to 0."""
    weight_decay: float = Field(0.2, ge=0)
    """Of matrices."""
    warmup: int | None = Field(None, ge=0)
    """Steps of linear warm-up; absent: a twentieth of all steps, at most 1000."""
    evaluation: list[Evaluation] = Field([Drawn()], min_length=1)
    """What students are judged by, after their last step."""
    declare: Declare = operation(Declare())
    """What is claimed."""
    sanity: bool = operation(True)
    """Train a few students more that must come out as known: copies of one caption as that caption alone, bit for bit;
    captions of other pictures at chance; in the drawn world, captions of every manner at the top."""
    results: str | None = operation(None)
    """Of `kind: external`: a file of lines `{"arm", "seed", "task", "value", "distillation"}`."""
    command: str = operation("bash train.sh {arm} {shards} {seed} {distillation}", min_length=1)
    """Of `kind: external`: what is to be run for each student, as the written script has it; `{shards}` is the folder
    of the arm's shards."""
    workers: int = operation(1, ge=1)
    """Processes that train, each a student at a time; on a CPU each on one thread."""
    device: str = operation("auto")
    """auto, cpu, cuda or cuda:N."""
    cache_gb: float = operation(4.0, gt=0)
    """How much disk the decoded pictures may take, in GB."""
    output: str | None = operation(None)
    """The run's folder; below `runs/` when absent."""

    @model_validator(mode="after")
    def _fits_together(self) -> "ProbeOptions":
        if len(set(self.seeds)) < len(self.seeds) or len(set(self.distillation_weights)) < len(
            self.distillation_weights
        ):
            raise ValueError("seeds, distillation_weights: each number once")
        if self.warmup is not None and self.warmup > self.steps:
            raise ValueError(f"warmup: {self.warmup} steps of warm-up are more than the {self.steps} steps of the run")
        names = [one.kind if isinstance(one, Drawn) else one.name for one in self.evaluation]
        if len(set(names)) < len(names):
            raise ValueError(f"evaluation: {', '.join(names)}: each name once")
        return self


@job_recipes.register("probe")
class ProbeRecipe(ProbeOptions):
    """Train small CLIP students that differ in their captions alone, and say which captions were worth more."""

    job: Literal["probe"] = "probe"
    shards: list[str] = Field([])
    """Reinforced shards, as `captioners reinforce` writes them: tars, folders, patterns."""
    arms: dict[str, Arm] = Field(min_length=1)
    """Name -> its captions."""

    @model_validator(mode="after")
    def _arms_are_there(self) -> "ProbeRecipe":
        for name, arm in self.arms.items():
            if name.startswith(CONTROL):
                raise ValueError(
                    f"arms.{name}: names that begin with {CONTROL!r} are those of the probe's own controls"
                )
            if not (arm.captions or self.ground_truth):
                raise ValueError(f"arms.{name}: without ground truth and without captions nothing is left to train on")
        for name in (name for pair in self.declare.contrasts for name in pair):
            if name not in self.arms:
                raise ValueError(f"declare.contrasts: no arm is named {name!r}; there are {', '.join(self.arms)}")
        return self
