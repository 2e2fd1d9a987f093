"""Which captioners are loaded together, and what they then share: read and decode, and of equal towers the encode.

A pass is a list of captioners that fit into memory side by side; a captioner is named by its number among the recipe's
`groups` of members. Passes are formed anew at every start and mean nothing to what is stored: a unit is one member's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from captioners.jobs.generate.loading import budget_of, load
from captioners.jobs.recipes.generate import GenerateRecipe, Member
from captioners.kinds.captioner import Needs

if TYPE_CHECKING:
    from captioners.kinds.captioner import Captioner

_GB = 1e9


@dataclass(frozen=True)
class Sharing:
    """The passes of a recipe, and what the captioners of each share."""

    groups: tuple[tuple[Member, ...], ...]
    """The members of each captioner."""
    needs: tuple[Needs | None, ...]
    """Of each captioner; None: its kind does not say, so it is loaded alone."""
    memory: int
    """Bytes that a worker may use."""
    passes: tuple[tuple[int, ...], ...]
    """Numbers of captioners, by pass."""

    @property
    def members(self) -> list[tuple[Member, ...]]:
        """The members of each pass."""
        return [tuple(member for number in together for member in self.groups[number]) for together in self.passes]

    @property
    def line(self) -> str:
        """What a person is told of it; empty for a single captioner."""
        if len(self.groups) == 1:
            return ""
        told = (f"pass {number}: {self._shared(together)}" for number, together in enumerate(self.passes, 1))
        return f"{'; '.join(told)} (a worker may use {self.memory / _GB:.1f} GB)"

    def encodes(self, number: int) -> list[tuple[int, ...]]:
        """Return the captioners of a pass by shared image encode: each encode once, with all that it serves."""
        served: dict[str, list[int]] = {}
        for captioner in self.passes[number]:
            need = self.needs[captioner]
            served.setdefault(need.encoding if need and need.encoding else f"own {captioner}", []).append(captioner)
        return [tuple(captioners) for captioners in served.values()]

    def _shared(self, together: tuple[int, ...]) -> str:
        if len(together) == 1:
            return self._names(together)
        encodes = [served for served in self.encodes(self.passes.index(together)) if len(served) > 1]
        if encodes == [together]:
            return f"{self._names(together)} share the read and the image encode"
        also = "".join(f", {self._names(served)} the image encode, too" for served in encodes)
        return f"{self._names(together)} share the read{also}"

    def _names(self, captioners: tuple[int, ...]) -> str:
        return ", ".join(member.called for number in captioners for member in self.groups[number])


def sharing(recipe: GenerateRecipe) -> Sharing:
    """Return who shares what with whom on this machine; loads one captioner after the other.

    Raises:
        UserError, NotFoundError: a captioner is not there, or cannot be loaded.
    """
    needs: list[Needs | None] = []
    memory = 0
    for members in recipe.groups:
        captioner = load(members[0], recipe)
        needs.append(needs_of(captioner))
        memory = memory or memory_of(recipe, captioner)
    return Sharing(tuple(recipe.groups), tuple(needs), memory, tuple(form(needs, memory)))


def needs_of(captioner: "Captioner") -> Needs | None:
    """Return what a captioner needs beside others; None: its kind says nothing of it (no attribute `needs`)."""
    return getattr(captioner, "needs", None)


def memory_of(recipe: GenerateRecipe, captioner: "Captioner") -> int:
    """Return the bytes that one worker may use on a captioner's device; 0 for one that runs elsewhere."""
    if needs_of(captioner) is None:
        return 0
    from captioners.kinds._device import free_memory

    here: Any = captioner  # what says its needs runs in this process, on a device
    return budget_of(recipe, here) or free_memory(here.device)


def form(needs: Sequence[Needs | None], memory: int) -> list[tuple[int, ...]]:
    """Return the passes, as numbers of captioners: those of one tower together, each in the first pass with room.

    Every captioner gets its pass, even where its own needs are more than the memory: that is told when it opens.
    """
    towers = [need.encoding if need else "" for need in needs]
    passes: list[list[int]] = []
    for number in sorted(range(len(needs)), key=lambda number: towers.index(towers[number])):
        for together in passes:
            beside = [needs[other] for other in together]
            if fits([*beside, needs[number]], memory):
                together.append(number)
                break
        else:
            passes.append([number])
    return [tuple(together) for together in passes]


def fits(needs: Sequence[Needs | None], memory: int) -> bool:
    """Whether captioners can be loaded together: all say what they need, want pictures alike, and have room."""
    known = [need for need in needs if need is not None]
    alike = len(known) == len(needs) and len({need.fit for need in known}) == 1
    return alike and sum(_weights(known)) + sum(need.caches for need in known) <= memory


def budgets(needs: Sequence[Needs], memory: int) -> list[int]:
    """Return what each captioner of a pass may use, in bytes: its weights, and of what is left as much as any other.

    Weights that stay mapped in their files count against the memory, but are in nobody's budget.
    """
    weights = _weights(needs)
    each = (memory - sum(weights)) // len(needs)
    return [each + (0 if need.mapped else own) for need, own in zip(needs, weights, strict=True)]


def share_towers(captioners: Sequence["Captioner"]) -> None:
    """Let captioners of equal image towers use the first one's, so that it is held once."""
    first: dict[str, Captioner] = {}
    for captioner in captioners:
        need = needs_of(captioner)
        if need is not None and need.encoding and first.setdefault(need.encoding, captioner) is not captioner:
            follower: Any = captioner  # who names an encoding has a tower
            follower.share_tower(first[need.encoding])


def _weights(needs: Sequence[Needs]) -> list[int]:
    """Return the bytes of each one's weights, its tower's only where no earlier one brings it."""
    seen: set[str] = set()
    own = []
    for need in needs:
        own.append(need.weights + (0 if need.encoding in seen else need.tower))
        seen |= {need.encoding} - {""}
    return own
