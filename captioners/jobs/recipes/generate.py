"""What `captioners generate` can be told: a source, the members of an ensemble, the rules, and how to work."""

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from captioners.core.options import Options, operation
from captioners.core.recipe import job_recipes
from captioners.core.records import Format
from captioners.data.choices import AnySource
from captioners.decoding.values import Decoding, Sample, draws_problem
from captioners.executors.options import AnyExecutor, LocalOptions
from captioners.images.decode import MAX_PIXELS, AnyProfile
from captioners.jobs.recipes.caption import CONTEXT_NAMES, context_problem
from captioners.kinds.choices import AnyCaptioner, name_of
from captioners.kinds.kind import KindOptions
from captioners.text.flags import Rules

LONGEST_NAME = 80
"""Letters of a member's name."""


def _context(value: object) -> object:
    return CONTEXT_NAMES.get(value, value) if isinstance(value, int) and not isinstance(value, bool) else value


class Member(Options):
    """A captioner, its decoding, and how many captions of each image it makes."""

    captioner: AnyCaptioner = "coca-l14-coco"
    """A name (`captioners list captioners`), a captioner's directory, or an open_clip `model/tag`; of another kind
    (`captioners list kinds`), a mapping: `{kind: transformers, model: ORG/NAME}`."""
    name: str = Field("", pattern=r"^[^\x00-\x1f/]*$", max_length=LONGEST_NAME)
    """What its layer is called, and part of its random streams; made of captioner and decoding when absent."""
    decoding: Decoding = Sample(top_p=0.9)
    """How tokens are chosen (`captioners list decodings`)."""
    draws: int = Field(5, ge=1)
    """Captions of each image."""
    prompt: str = ""
    """Text that every caption begins with; it isn't repeated in the result. What a chat model is asked."""
    context_length: Annotated[Annotated[int, Field(ge=4)] | None, BeforeValidator(_context)] = None
    """Token slots with start and end: 76, 127 or 255, or by name 77, 128, 256; the captioner's own when absent."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast on CUDA of capability 8.0 or newer, else fp32."""
    exact: bool | None = None
    """Captions and log-probabilities that don't depend on their company, bit for bit; absent: on for a CPU. Only of
    the kind coca."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Member":
        if problem := draws_problem(self.decoding, self.draws) or context_problem(self.decoding, self.context_length):
            raise ValueError(problem)
        if isinstance(self.captioner, KindOptions):
            _check_kind(self, self.captioner)
        return self

    @property
    def redraws(self) -> bool:
        """Whether a caption asked for again may come out otherwise: not a beam's, nor one that exists."""
        exists = isinstance(self.captioner, KindOptions) and not self.captioner.DRAWS
        return isinstance(self.decoding, Sample) and not exists

    @property
    def called(self) -> str:
        """Its name, given or made: of itself alone, so that another member beside it changes nothing."""
        return self.name or _made_name(self)

    @property
    def loads(self) -> tuple[Any, ...]:
        """What has to be equal for two members to share a loaded captioner."""
        said = self.captioner if isinstance(self.captioner, str) else self.captioner.model_dump_json()
        return said, self.context_length, self.precision, self.exact


@job_recipes.register("generate")
class GenerateRecipe(Options):
    """Caption shards with an ensemble; the same command resumes."""

    job: Literal["generate"] = "generate"
    source: AnySource
    """Where images come from (`captioners list sources`)."""
    members: list[Member] = Field(min_length=1)
    """The ensemble; each member makes a layer of its own."""
    seed: int = Field(0, ge=0)
    """Run seed of all random draws."""
    rules: Rules = Rules()
    """Which captions are drawn anew, and how often."""
    decode_profile: AnyProfile = "upright"
    """upright: as a person sees them; fast: the same by quicker code, a grey level off here and there; as_trained: as
    CLIP trainers decode."""
    max_pixels: int = Field(MAX_PIXELS, ge=1)
    """Larger pictures are quarantined, undecoded."""
    allow_noncommercial: bool = False
    """Allow weights whose licence forbids commercial use."""
    format: Format = operation("parquet")
    """How layers are stored: parquet, or jsonl for reading them line by line."""
    max_shards: int | None = operation(None, ge=1)
    """A pilot: only the first so many shards; without it the same run then goes on."""
    unit_samples: int = operation(1000, ge=1)
    """Samples that are committed together; fixed at the run's first start."""
    quarantine_ceiling: float = operation(0.05, ge=0, le=1)
    """Share of samples (or of shards) that may be unreadable among 50 shards before the run stops."""
    executor: AnyExecutor = operation(LocalOptions(), validate_default=True)
    """Where workers run: local, ray or slurm, or a mapping: `{kind: ray, address: auto, most: 64}`."""
    workers: int = operation(1, ge=1)
    """Processes that caption, each with its own captioner; they share the machine's threads and GPUs."""
    decode_workers: int | None = operation(None, ge=0)
    """Processes that decode pictures, of each worker; absent: 1 beside a CPU, up to 8 beside a GPU; 0: in line."""
    queue_mb: int = operation(256, ge=1)
    """Bytes of pictures that each worker keeps ready, in MB."""
    memory_gb: float | None = operation(None, gt=0)
    """Memory that the workers who share a machine or a GPU may plan with, in GB; what the device has free when absent.
    It also decides which captioners are loaded together."""
    max_hours: float | None = operation(None, gt=0)
    """Hours of work, of all workers together, after which no unit begins any more (GPU-hours, a GPU to each)."""
    max_cost: float | None = operation(None, gt=0)
    """What the run may cost, in the currency of `price_per_gpu_hour`, after which no unit begins any more."""
    price_per_gpu_hour: float | None = operation(None, gt=0)
    """What you pay for an hour of one worker's machine."""
    device: str = operation("auto")
    """auto, cpu, cuda or cuda:N; with several GPUs and workers, auto gives each worker one of them."""
    patience_s: float = operation(600.0, gt=0)
    """Seconds that a worker may show no sign of life, or (if 10 times the median is less) take for a unit."""
    canary_units: int = operation(200, ge=0)
    """Units after which each worker captions the canary photos again, as at its start; 0: never."""
    output: str | None = operation(None)
    """The run's folder; below `runs/` when absent."""

    @model_validator(mode="after")
    def _names_differ(self) -> "GenerateRecipe":
        for name, count in Counter(member.called for member in self.members).items():
            if count > 1:
                raise ValueError(f"{count} members are called '{name}'; give each a name of its own (name: ...)")
        return self

    @model_validator(mode="after")
    def _cost_has_a_price(self) -> "GenerateRecipe":
        if self.max_cost is not None and self.price_per_gpu_hour is None:
            raise ValueError(f"max_cost {self.max_cost:g} needs to know what an hour costs; say price_per_gpu_hour")
        return self

    @property
    def groups(self) -> list[tuple[Member, ...]]:
        """The members, grouped by the captioner that they share, in the order of their first ones."""
        found: dict[tuple[Any, ...], list[Member]] = {}
        for member in self.members:
            found.setdefault(member.loads, []).append(member)
        return [tuple(members) for members in found.values()]

    @property
    def price(self) -> float:
        """Of an hour of work; 0 if none is said."""
        return self.price_per_gpu_hour or 0.0


def decoding_name(decoding: Decoding) -> str:
    """Return what a decoding departs in from the plain one of its strategy.

    >>> decoding_name(Sample(top_p=0.9, temperature=0.7)), decoding_name(Sample())
    ('temperature-0.7_top_p-0.9', 'sample')
    """
    plain = type(decoding)()
    fields = decoding.model_dump(exclude={"strategy"})
    parts = [f"{key}-{value}" for key, value in fields.items() if value != getattr(plain, key)]
    if isinstance(decoding, Sample):
        return "_".join(parts) or decoding.strategy
    return "_".join([decoding.strategy, *parts])


def _made_name(member: Member) -> str:
    """Return a name like `coca-l14-coco.top_p-0.9`: the captioner's, and what its decoding departs in from the plain.

    >>> _made_name(Member(captioner="random-tiny", decoding=Sample(top_p=0.9)))
    'random-tiny.top_p-0.9'
    """
    captioner = name_of(member.captioner)
    if isinstance(member.captioner, KindOptions) and not member.captioner.DRAWS:
        return captioner.replace("/", "-")[:LONGEST_NAME]
    how = decoding_name(member.decoding)
    return f"{captioner}.{how}".replace("/", "-")[:LONGEST_NAME]


def _check_kind(member: Member, kind: KindOptions) -> None:
    """Raise ValueError for a key that this kind does not heed, or a decoding that it cannot do."""
    for name in ("context_length", "precision", "exact"):
        value = getattr(member, name)
        if value != Member.model_fields[name].default and name not in kind.USES:
            raise ValueError(f"kind {kind.kind} has no {name} ({value} was asked for); leave it out")
    if problem := kind.accepts(member.decoding, member.draws, member.prompt):
        raise ValueError(problem)
