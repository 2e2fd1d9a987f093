"""How much a run of `reinforce` will write, by the first shard that is left: its samples, and their captions."""

from collections.abc import Sequence
from dataclasses import dataclass

from captioners.core.errors import CaptionersError
from captioners.data.raw_samples import RawSample, raw_samples
from captioners.data.source import Shard
from captioners.data.webdataset_source import WebdatasetSource
from captioners.jobs.recipes.reinforce import ReinforceRecipe
from captioners.reinforcement.contract import SYN, SYN_KEY, is_syn_key
from captioners.reinforcement.contract_texts import read_object
from captioners.reinforcement.sizes import added_bytes


@dataclass(frozen=True)
class Estimate:
    """Bytes, about."""

    samples: int
    added: int
    """Of each sample, by augmentations and embeddings."""
    whole: int
    """Of all shards."""

    @property
    def line(self) -> str:
        """Say it."""
        return f"about {_bytes(self.whole)} to write, {_bytes(self.added)} of each sample for its embeddings"


def estimate(recipe: ReinforceRecipe, shards: Sequence[Shard], dims: Sequence[int]) -> Estimate | None:
    """Return what the shards will come to; None where the first one has nothing to go by."""
    if not shards:
        return None
    source, first = recipe.source.open(), shards[0]
    try:
        captions, samples = captions_of(source, first), source.count(first)
    except CaptionersError:
        return None  # what is wrong with it is said in its turn
    if not captions or not samples or (recipe.layout == "legacy" and list(captions) != [SYN_KEY]):
        return None
    augmentation = recipe.image_augmentation.drawn_from()
    added = added_bytes(dims, recipe.n_aug, captions, recipe.dtype, recipe.layout, augmentation)
    total = sum(shard.size for shard in shards)
    counted = [shard.count for shard in shards if shard.count is not None]
    known = sum(counted) if len(counted) == len(shards) else round(samples * total / first.size)
    return Estimate(known, added, total + known * added)


def captions_of(source: WebdatasetSource, shard: Shard) -> dict[str, int]:
    """Return how many captions the first sample of a shard has by key; none where no sample has any."""
    raw = first_sample(source, shard)
    found, _ = read_object(SYN, raw.members[SYN] if raw is not None else b"{}")
    return {key: len(texts) for key, texts in found.items() if is_syn_key(key) and isinstance(texts, list)}


def first_sample(source: WebdatasetSource, shard: Shard) -> RawSample | None:
    """Return the first sample of a shard that has captions."""
    with source.open_shard(shard) as file:
        raws = (raw for raw in raw_samples(file, shard.path) if isinstance(raw, RawSample))
        return next((raw for raw in raws if SYN in raw.members), None)


def _bytes(size: int) -> str:
    for unit, by in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if size >= by:
            return f"{size / by:.3g} {unit}"
    return f"{size / 1000:.3g} kB"
