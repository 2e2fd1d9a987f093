"""Bring a captioner's weights onto this machine ahead of time, and say what they are."""

from dataclasses import dataclass
from pathlib import Path

from captioners.core.errors import UserError
from captioners.core.package_data import recipe_names
from captioners.core.recipe import read_options
from captioners.jobs.recipes.caption import CaptionRecipe
from captioners.kinds.catalogue import find


@dataclass(frozen=True)
class Fetched:
    """What is here now."""

    name: str
    where: Path | None
    """The weights file or directory; None where there is nothing to bring (random weights)."""
    num_bytes: int
    weights_digest: str
    licences: dict[str, str]


def captioner_of(what: str) -> str:
    """Return the captioner that a recipe names, or the argument itself."""
    if what.endswith((".yaml", ".yml")) or (what in recipe_names() and not Path(what).exists()):
        return read_options(CaptionRecipe, what).captioner
    return what


def fetch(what: str, to: str | None = None) -> Fetched:
    """Download what a captioner (or the captioner of a recipe) needs, load it once to prove it whole, and digest it.

    Afterwards everything runs with `HF_HUB_OFFLINE=1`. With `to`, the captioner is also written there as a directory.

    Raises:
        UserError, NotFoundError: no such captioner, no network, no room.
    """
    known = find(captioner_of(what))
    target = Path(to).expanduser() if to else None
    if target is not None and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"--to {target}: something is there already; name a new folder")
    from captioners.kinds import loading
    from captioners.kinds.directory import write_captioner
    from captioners.models.weights import cached_digest, weights_digest

    where = loading.fetch(known)
    loaded = loading.load(known)
    file, state = loaded.coca.weights_file, loaded.coca.model.state_dict()
    if target is not None:
        where = write_captioner(known, loaded, target)
    return Fetched(
        name=known.name,
        where=where,
        num_bytes=sum(t.numel() * t.element_size() for t in state.values()),
        weights_digest=cached_digest(file, state) if file else weights_digest(state),
        licences=loaded.licences,
    )
