"""Which images are trained on, which choose the checkpoint, and which judge the result: by a hash of their group.

A group is never divided: near-duplicates, and what shares the value of the field that the recipe groups by. Its part is
a function of the group alone (a counter-based uniform of its name), so images added later leave the others where they
were, but for what a small set needs to reach its least counts. No seed: runs on one set are compared on one split.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import Field, model_validator

from captioners.core.errors import UserError
from captioners.core.options import Options
from captioners.core.seeds import uniforms
from captioners.data.duplicates import Groups
from captioners.data.survey import Item

Part = Literal["train", "val", "test"]

LEAST = 50
"""Images that val and test each have at least, as far as a tenth of the set goes: fewer tell little."""
TOO_FEW = 20
"""A set smaller than this is trained on whole."""


class Split(Options):
    """How the images are shared out."""

    val: float = Field(0.05, ge=0, lt=0.5)
    """Share of the images that choose the checkpoint and end the run in time."""
    test: float = Field(0.05, ge=0, lt=0.5)
    """Share of the images that are read once, at the end, to say whether it got better."""
    group_by: str | None = Field(None, min_length=1)
    """A field of the samples, such as `album`, whose equal values stay together; near-duplicates always do."""

    @model_validator(mode="after")
    def _leaves_something(self) -> "Split":
        if self.val + self.test >= 0.9:
            raise ValueError("val and test together leave less than a tenth to train on")
        return self


def groups_of(items: Sequence[Item], near: Iterable[int]) -> list[str]:
    """Return the name of each item's group: its least `group` value, or where there is none its least sha256.

    `near` says of each item one that it is a near-duplicate of (`duplicates.near_duplicates`), or its own number.
    """
    groups = Groups(len(items))
    groups.join(range(len(items)), near)
    first: dict[str, int] = {}
    for number, item in enumerate(items):
        if item.group is not None:
            groups.join([number], [first.setdefault(item.group, number)])
    roots = groups.roots().tolist()
    names: dict[int, tuple[bool, str]] = {}
    for root, item in zip(roots, items, strict=True):
        name = (item.group is None, item.sha256 if item.group is None else item.group)
        names[root] = min(names.get(root, name), name)
    return [names[root][1] for root in roots]


def parts_of(groups: Sequence[str], split: Split) -> list[Part]:
    """Return each image's part, given each image's group; all "train" where there are fewer than `TOO_FEW`.

    Raises:
        UserError: the groups are so large that nothing can be held out.
    """
    sizes = Counter(groups)
    total = len(groups)
    if total < TOO_FEW:
        return ["train"] * total
    at = {name: float(uniforms(1, "split", name)[0]) for name in sizes}
    order = sorted(sizes, key=lambda name: (at[name], name))
    least = min(LEAST, total // 10)
    limits = {"test": max(split.test * total, least), "val": max(split.val * total, least)}
    part: dict[str, Part] = {}
    for name in order:  # a group larger than a whole part stays in train
        if at[name] < split.test:
            part[name] = "test" if sizes[name] <= limits["test"] else "train"
        elif at[name] < split.test + split.val:
            part[name] = "val" if sizes[name] <= limits["val"] else "train"
        else:
            part[name] = "train"
    # From the two ends of the order, so that an image added later moves none from one to the other.
    if split.test:
        _fill(part, "test", least, order, sizes)
    if split.val:
        _fill(part, "val", least, order[::-1], sizes)
    return [part[name] for name in groups]


def _fill(part: dict[str, Part], wanted: Part, least: int, order: Sequence[str], sizes: Mapping[str, int]) -> None:
    """Move groups from train until `wanted` has its least number of images."""
    have = sum(sizes[name] for name, of in part.items() if of == wanted)
    total = sum(sizes.values())
    for name in order:
        if have >= least:
            return
        if part[name] == "train" and sizes[name] <= max(least, 1):
            part[name], have = wanted, have + sizes[name]
    if have:
        return
    spare = [name for name in order if part[name] == "train"]
    smallest = min(spare, key=lambda name: sizes[name])
    if sizes[smallest] > total / 3 or len(spare) < 2:
        raise UserError(
            f"split: nothing can be held out for {wanted}: the smallest group has {sizes[smallest]:,} of {total:,} "
            "images; group by a finer field, or say split.val=0 split.test=0"
        )
    part[smallest] = wanted
