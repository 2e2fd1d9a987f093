"""What an ablation compares: arms, each of some captions, written out or as the combinations of a grid's axes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Discriminator, Field, Tag

from captioners.core.options import Options
from captioners.decoding.values import Beam, Decoding, Sample, draws_problem
from captioners.jobs.recipes.caption import CONTEXT_NAMES, context_problem
from captioners.jobs.recipes.generate import decoding_name
from captioners.kinds.choices import AnyCaptioner
from captioners.text.flags import Rules

GROUND_TRUTH = "ground truth"
"""What the captions of an arm without members are called."""


def _context(value: object) -> object:
    return CONTEXT_NAMES.get(value, value) if isinstance(value, int) and not isinstance(value, bool) else value


Context = Annotated[Annotated[int, Field(ge=4)] | None, BeforeValidator(_context)]
Draws = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


class Trained(Options):
    """A captioner that the ablation fine-tunes, if it is not there yet."""

    finetune: str = Field(min_length=1)
    """A recipe of `finetune`, by path or packaged name."""
    changes: dict[str, Any] = Field({})
    """Changes to it, by key: `{steps: 400, context_length: 24, source.inputs: [DATA]}`."""


def _which(value: object) -> str:
    return "trained" if isinstance(value, Trained) or (isinstance(value, dict) and "finetune" in value) else "known"


if TYPE_CHECKING:
    AblatedCaptioner = Trained | AnyCaptioner
else:
    AblatedCaptioner = Annotated[
        Union[Annotated[Trained, Tag("trained")], Annotated[AnyCaptioner, Tag("known")]],  # noqa: UP007
        Discriminator(_which),
    ]


@dataclass(frozen=True)
class Drawing:
    """Captions of each image by one captioner: a member of an arm, with everything said."""

    captioner: str
    decoding: Sample | Beam
    draws: int
    context_length: int | None
    captioner_seed: int | None

    @property
    def trained(self) -> str:
        """The captioner's name and the seed that it is fine-tuned with."""
        return self.captioner if self.captioner_seed is None else f"{self.captioner}-seed-{self.captioner_seed}"

    @property
    def layer(self) -> str:
        """What its captions are called, whatever their number; another name for all that changes a caption."""
        context = "" if self.context_length is None else f"_context-{self.context_length}"
        return f"{self.trained}.{decoding_name(self.decoding)}{context}"

    @property
    def problem(self) -> str | None:
        """Say why no captioner could draw so, or None."""
        return draws_problem(self.decoding, self.draws) or context_problem(self.decoding, self.context_length)


class ArmMember(Options):
    """A captioner of an arm, its decoding, and how many captions of each image it adds."""

    captioner: str = Field(min_length=1)
    """One of the recipe's `captioners`, by its name there."""
    decoding: Decoding | None = None
    """How tokens are chosen (`captioners list decodings`); absent: as the recipe's `decoding` says."""
    draws: Draws = 5
    """Captions of each image: the first so many of those that are drawn for all arms together."""
    context_length: Context = None
    """Token slots of its captions; absent: the captioner's own. What it is fine-tuned at, its recipe says."""
    captioner_seed: Seed | None = None
    """Seed that the captioner is fine-tuned with; absent: its recipe's."""

    def drawing(self, decoding: Sample | Beam) -> Drawing:
        """Return it with a decoding where it says none."""
        return Drawing(self.captioner, self.decoding or decoding, self.draws, self.context_length, self.captioner_seed)


class Arm(Options):
    """A set of captions of each image."""

    members: list[ArmMember] = Field([])
    """Who makes them; none: the captions that came with the images, alone."""
    rules: Rules | None = None
    """Which captions are drawn anew, where it is not as `generate.rules` says."""


class Grid(Options):
    """Axes; each combination of their values is an arm."""

    captioners: list[str] = Field([])
    """One captioner an arm; which set they were fine-tuned on, and at which context, makes them different ones."""
    ensembles: dict[str, list[str]] = Field({})
    """Further values of that axis: several captioners in an arm, each with as many draws."""
    decodings: dict[str, Decoding] = Field({})
    """By a name for the table; none: the recipe's `decoding`."""
    draws: list[Draws] = Field([5], min_length=1)
    """Captions of each image by each captioner."""
    context_lengths: list[Context] = Field([None], min_length=1)
    """Token slots of captions; `null`: the captioner's own."""
    rules: dict[str, Rules] = Field({})
    """By a name for the table; none: `generate.rules`."""
    captioner_seeds: list[Seed] = Field([])
    """Seeds that captioners are fine-tuned with; none: as their recipes say."""

    def arms(self, exclude: Sequence[Mapping[str, str | int]]) -> Iterator[tuple[str, Arm, dict[str, str]]]:
        """Yield each combination's name (the values of the axes that vary), arm, and axes, without those excluded."""
        voices = {name: [name] for name in self.captioners} | self.ensembles
        decodings: dict[str, Sample | Beam | None] = {**self.decodings} or {"": None}
        rules: dict[str, Rules | None] = {**self.rules} or {"": None}
        seeds: list[int | None] = [*self.captioner_seeds] or [None]
        axes = voices, decodings, self.draws, self.context_lengths, rules, seeds
        varies = [True, *(len(values) > 1 for values in axes[1:])]
        for values in product(*axes):
            at = dict(zip(AXES, values, strict=True))
            if any(all(str(at[axis]) == str(value) for axis, value in one.items()) for one in exclude):
                continue
            voice, how, draws, context, rule, seed = values
            said: dict[str, Any] = {
                "decoding": decodings[how],
                "draws": draws,
                "context_length": context,
                "captioner_seed": seed,
            }
            arm = Arm(members=[ArmMember(captioner=one, **said) for one in voices[voice]], rules=rules[rule])
            words = [_WORDS[axis].format(at[axis]) for axis, vary in zip(AXES, varies, strict=True) if vary]
            yield " ".join(words), arm, {axis: str(value) for axis, value in at.items() if value not in (None, "")}


AXES = ("captioner", "decoding", "draws", "context length", "rules", "captioner seed")
"""What `exclude` may name."""
_WORDS = dict.fromkeys(AXES, "{}") | {
    "draws": "x {}",
    "context length": "context {}",
    "captioner seed": "seed {}",
}


def axes_of(members: Sequence[Drawing], captioners: Mapping[str, Any]) -> dict[str, str]:
    """Return what an arm differs in from others, for the table: its captioners, their recipes, decodings and draws."""
    if not members:
        return {"captioner": GROUND_TRUTH}
    recipes = {name: given.finetune for name, given in captioners.items() if isinstance(given, Trained)}
    found = {
        "captioner": _all(one.trained for one in members),
        "fine-tuned by": _all(recipes.get(one.captioner, "") for one in members),
        "decoding": _all(decoding_name(one.decoding) for one in members),
        "draws": _all(str(one.draws) for one in members),
        "context length": _all("" if one.context_length is None else str(one.context_length) for one in members),
    }
    return {axis: value for axis, value in found.items() if value}


def _all(values: Iterable[str]) -> str:
    """Join values that differ, each once, in their order."""
    return ", ".join(dict.fromkeys(value for value in values if value))
