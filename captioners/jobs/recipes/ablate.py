"""What `captioners ablate` can be told: captioners, arms, images, teachers, the probe, and what is claimed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from captioners.core.errors import near
from captioners.core.options import Options, operation
from captioners.core.recipe import job_recipes
from captioners.data.choices import AnySource
from captioners.decoding.values import Beam, Decoding, Sample
from captioners.executors.options import AnyExecutor, LocalOptions
from captioners.images.decode import AnyProfile
from captioners.jobs.recipes.arms import AXES, AblatedCaptioner, Arm, Drawing, Grid, Trained, axes_of
from captioners.jobs.recipes.generate import LONGEST_NAME
from captioners.jobs.recipes.measure import MeasureOptions
from captioners.jobs.recipes.probe import CONTROL, Declare, ProbeOptions
from captioners.jobs.recipes.reinforce import ImageAugmentation
from captioners.reinforcement.teacher_options import TeacherOptions
from captioners.text.flags import Rules


class Working(Options):
    """How captions are made and embedded: nothing that changes one."""

    executor: AnyExecutor = operation(LocalOptions(), validate_default=True)
    """Where workers run: local, ray or slurm, or a mapping: `{kind: ray, address: auto, most: 64}`."""
    workers: int = operation(1, ge=1)
    """Processes; they share the machine's threads and GPUs."""
    device: str = operation("auto")
    """auto, cpu, cuda or cuda:N; with several GPUs and workers, auto gives each worker one of them."""
    quarantine_ceiling: float = operation(0.05, ge=0, le=1)
    """Share of samples (or of shards) that may be unreadable among 50 shards before it stops."""


class Captioning(Working):
    """How captions are drawn, once for all arms."""

    seed: int = Field(0, ge=0)
    """Run seed of all random draws."""
    rules: Rules = Rules()
    """Which captions are drawn anew, and how often, where an arm does not say otherwise."""
    decode_profile: AnyProfile = "upright"
    """As in recipes of `generate`."""
    memory_gb: float | None = operation(None, gt=0)
    """Memory that workers may plan with, in GB; it also decides which captioners are loaded together."""


class Reinforcing(Working):
    """How captioned shards are augmented and embedded, once for all arms."""

    teachers: list[TeacherOptions] | Literal["oracle"] = "oracle"
    """The ensemble; `oracle` trains one on what the drawn world's voices say: a ceiling, and no download."""
    oracle_steps: int = Field(1000, ge=1)
    """Steps of 128 scenes that the oracle is trained for."""
    n_aug: int = Field(4, ge=1)
    """Augmentations of each picture."""
    image_augmentation: ImageAugmentation = ImageAugmentation()
    """What they are drawn from."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """float32: `.npz`; bfloat16: `.pth.gz`."""
    seed: int = Field(0, ge=0)
    """Run seed of the augmentations."""
    batch: int | None = operation(None, ge=1)
    """Crops or captions that a teacher gets at once; absent: 256 on CUDA, 16 on a CPU."""


class Budget(Options):
    """What a mix of captioners is chosen by, from the captions of a pilot: most of an objective per second."""

    objective: Literal["facts told", "captions in effect"] = "facts told"
    """facts told: of an image's, by all captions together (drawn scenes); captions in effect: their Vendi score."""
    gate: str = "claims true"
    """A metric of faithfulness, such as CLIPScore where a judge is named, ..."""
    least: float = 0.9
    """... that a captioner's captions have to reach, so that nobody is paid for what is false."""
    captions: int = Field(10, ge=1)
    """Captions of an image, at most."""


CaptionerName = Annotated[str, Field(pattern=r"^\w[\w.+-]*$")]
"""It also names a folder."""


@dataclass(frozen=True)
class Row:
    """One arm by its name, and what it differs in from others."""

    name: str
    members: tuple[Drawing, ...]
    """None of them: the captions that came with the images, alone."""
    rules: Rules
    axes: Mapping[str, str]
    plain: Sample | Beam
    """The recipe's own decoding."""

    @property
    def m(self) -> int:
        """Captions of an image."""
        return sum(one.draws for one in self.members)


@job_recipes.register("ablate")
class AblateRecipe(Options):
    """Compare captions by what captioners, numbers and decodings give; the same command resumes."""

    job: Literal["ablate"] = "ablate"
    source: AnySource
    """The images that all arms caption."""
    captioners: dict[CaptionerName, AblatedCaptioner] = Field(min_length=1)
    """By a name for the arms: what a member of `generate` may name, or `{finetune: RECIPE, changes: {...}}`."""
    arms: dict[str, Arm] = Field({})
    """What is compared, by name."""
    grid: Grid | None = None
    """Further arms: the combinations of axes."""
    exclude: list[dict[str, str | int]] = Field([])
    """Combinations of the grid that are left out, by some of its axes: `{captioner: short, draws: 10}`."""
    decoding: Decoding = Sample(top_p=0.9)
    """How tokens are chosen, where a member or the grid does not say otherwise."""
    generate: Captioning = Captioning()
    """How captions are drawn."""
    reinforce: Reinforcing = Reinforcing()
    """How they are embedded."""
    measure: MeasureOptions = operation(MeasureOptions())
    """How captions are measured: `{references: own, clip: ViT-B-32/openai}`."""
    probe: ProbeOptions | None = ProbeOptions()
    """The students, as in recipes of `probe`; `null`: captions are measured alone."""
    declare: Declare = operation(Declare())
    """What is claimed, kept when the first student begins; what is changed later stands on the page."""
    budget: Budget | None = operation(None)
    """Say which mix of captioners gains most per second; `probe=null source.count=500` makes a pilot of it."""
    gallery: int = operation(12, ge=0)
    """Images on the page with every arm's captions."""
    allow_noncommercial: bool = False
    """Allow weights whose licence forbids commercial use."""
    output: str | None = operation(None)
    """The run's folder; below `runs/` when absent."""

    @model_validator(mode="after")
    def _fits_together(self) -> "AblateRecipe":
        for one in self.exclude:
            for axis in one:
                if axis not in AXES:
                    raise ValueError(
                        f"exclude: the grid has no axis '{axis}'.{near(axis, AXES)} It has: {', '.join(AXES)}"
                    )
        rows = self.rows()
        if not any(row.members for row in rows.values()):
            raise ValueError("arms: none has members, so there are no captions to compare; say arms: or grid:")
        self._check_probe(rows)
        for row in rows.values():
            for member in row.members:
                _check_member(row.name, member, self.captioners)
        return self

    def _check_probe(self, rows: Mapping[str, Row]) -> None:
        probe = self.probe
        if probe is not None and (probe.declare != Declare() or probe.output is not None):
            raise ValueError("probe: declare and output stand at the top of an ablation")
        for name in (name for pair in self.declare.contrasts for name in pair):
            if name not in rows:
                raise ValueError(
                    f"declare.contrasts: no arm is named {name!r}.{near(name, rows)} Arms: {', '.join(rows)}"
                )

    def rows(self) -> dict[str, Row]:
        """Return every arm by its name, those written out first.

        Raises:
            ValueError: two have one name, or the grid makes an arm that cannot be.
        """
        found = {name: self._row(name, arm, {}) for name, arm in self.arms.items()}
        for name, arm, axes in self.grid.arms(self.exclude) if self.grid is not None else ():
            if name in found:
                raise ValueError(f"grid: makes an arm '{name}', which arms: has already; give that another name")
            found[name] = self._row(name, arm, axes)
        for name in found:
            if name.startswith(CONTROL):
                raise ValueError(
                    f"arm '{name}': names that begin with {CONTROL!r} are those of the probe's own controls"
                )
        return found

    def _row(self, name: str, arm: Arm, axes: Mapping[str, str]) -> Row:
        members = tuple(one.drawing(self.decoding) for one in arm.members)
        rules = self.generate.rules if arm.rules is None else arm.rules
        return Row(name, members, rules, {**axes_of(members, self.captioners), **axes}, self.decoding)


def _check_member(arm: str, member: Drawing, captioners: Mapping[str, object]) -> None:
    if member.captioner not in captioners:
        known = ", ".join(captioners)
        raise ValueError(
            f"arm '{arm}': no captioner is named '{member.captioner}'.{near(member.captioner, captioners)} "
            f"captioners: has {known}"
        )
    if member.problem is not None:
        raise ValueError(f"arm '{arm}': {member.problem}")
    if len(member.layer) > LONGEST_NAME:
        raise ValueError(f"arm '{arm}': '{member.layer}' is too long for a member's name; call the captioner shorter")
    if member.captioner_seed is not None and not isinstance(captioners[member.captioner], Trained):
        raise ValueError(f"arm '{arm}': captioner_seed is of what is fine-tuned here; '{member.captioner}' is not")
