"""The captions that an arm's student sees: of each picture all arms share, the captions it may be shown.

Arms that must come out as known are made here, too: copies of one caption, captions of other pictures, and in the drawn
world captions of every manner, all true.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from captioners.core.errors import NotFoundError, UserError, near
from captioners.core.seeds import uniforms
from captioners.data.drawn_scene import Scene, from_json
from captioners.data.drawn_voices import VOICES
from captioners.data.drawn_voices import captions as voiced
from captioners.jobs.recipes.probe import Arm
from captioners.reinforcement.embeddings import Rows
from captioners.reinforcement.held import Held
from captioners.reinforcement.members import SYN_KEY

COPIES = 5
"""Of one caption, in the arm that must be as good as that caption alone."""
ORACLE = 2
"""True captions of each manner, in the arm that must be best."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Captions of B pictures; `held` has the pictures and what came with them."""

    held: Held
    names: list[tuple[str, str]]
    """Of each picture: what its draws depend on."""
    rows: NDArray[np.int64]
    """[B]: its place in `held`."""
    truth: NDArray[np.int64]
    """[B]: the place of the one whose own caption it is shown; another only in the shuffled arm."""
    of_image: list[dict[str, list[int]]]
    """Key -> numbers in `captions`; empty: no synthetic ones."""
    captions: Sequence[str]
    caption_emb: Rows
    """The teachers', of `captions`, [M, D]."""

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.names)


def tables_of(arms: Mapping[str, Arm], helds: Sequence[Held]) -> dict[str, Table]:
    """Return the table of each arm, all of the same pictures in the same order: those that every arm has captions of.

    Args:
        helds: of each arm, the set with its captions; the first one's pictures are shown.

    Raises:
        NotFoundError: an arm names captions that its set has not. UserError: no picture is shared, or a shared one is
            not the same in two sets.
    """
    base = helds[0]
    found = {name: _captions_of(name, arm, held) for (name, arm), held in zip(arms.items(), helds, strict=True)}
    places = {name: {key: at for at, (_, key) in enumerate(held.names)} for name, held in zip(arms, helds, strict=True)}
    shared = [
        at
        for at, (_, key) in enumerate(base.names)
        if all(key in places[name] and found[name][places[name][key]] is not None for name in arms)
    ]
    if not shared:
        raise UserError("the arms have captions of no picture in common; look at their shards and keys")
    for name, held in zip(arms, helds, strict=True):
        if held is not base:
            _same_pictures(name, base, held, [(at, places[name][base.names[at][1]]) for at in shared])
    rows = np.asarray(shared, np.int64)
    tables = {}
    for name, held in zip(arms, helds, strict=True):
        own = [found[name][places[name][base.names[at][1]]] or {} for at in shared]
        tables[name] = Table(
            held=base,
            names=[base.names[at] for at in shared],
            rows=rows,
            truth=rows,
            of_image=own,
            captions=held.caption_texts,
            caption_emb=held.caption_emb,
        )
    return tables


def key_of(name: str, keys: Sequence[str]) -> str:
    """Return the key of captions that a recipe's word means: the key itself, or `syn_text_WORD`.

    Raises NotFoundError for a word that means none.
    """
    for key in (name, f"{SYN_KEY}_{name}"):
        if key in keys:
            return key
    tags = [key.removeprefix(f"{SYN_KEY}_") for key in keys]
    raise NotFoundError(f"no captions are named {name!r} in the shards.{near(name, tags)} There are {', '.join(tags)}")


def _captions_of(name: str, arm: Arm, held: Held) -> list[dict[str, list[int]] | None]:
    """Return each sample's captions of an arm, None where it has none of a key that the arm names."""
    try:
        most = {key_of(word, held.keys): count for word, count in arm.captions.items()}
    except NotFoundError as error:
        raise NotFoundError(f"arm {name}: {error}") from None
    found: list[dict[str, list[int]] | None] = []
    for (shard, key), captions in zip(held.names, held.captions, strict=True):
        if not most.keys() <= captions.keys():
            found.append(None)
            continue
        own = {one: captions[one][:count] for one, count in most.items()}
        if arm.mixed == "by_image" and len(own) > 1:
            kept = list(own)[int(uniforms(1, "one captioner", shard, key)[0] * len(own))]
            own = {kept: own[kept]}
        found.append(own)
    return found


def _same_pictures(name: str, base: Held, held: Held, places: Sequence[tuple[int, int]]) -> None:
    if base.pixels.shape[1:] != held.pixels.shape[1:]:
        raise UserError(f"arm {name}: its shards have other numbers of augmentations; reinforce both alike")
    for one, other in places:
        if not np.array_equal(base.pixels[one], held.pixels[other]):
            raise UserError(
                f"arm {name}: {base.names[one][1]} is another picture, or augmented otherwise, in its shards; arms may "
                "differ in captions alone: reinforce the same pictures with the same seed"
            )


def copies(table: Table, count: int) -> Table:
    """Return a table with each picture's first caption alone, `count` times."""
    of_image = [{key: [one[key][0]] * count for key in list(one)[:1]} for one in table.of_image]
    return replace(table, of_image=of_image)


def shuffled(table: Table) -> Table:
    """Return a table with the captions of other pictures, those that came with them as well: half the set away."""
    other = np.roll(np.arange(len(table)), len(table) // 2)
    return replace(table, truth=table.truth[other], of_image=[table.of_image[at] for at in other])


def scenes_of(table: Table) -> Iterator[Scene]:
    """Yield the scenes of those pictures that are of the drawn world."""
    for at in table.rows:
        if "scene" in table.held.meta[at]:
            yield from_json(table.held.meta[at]["scene"])


def is_drawn(table: Table) -> bool:
    """Whether the pictures say which scene of the drawn world they show."""
    return all("scene" in table.held.meta[at] for at in table.rows)


def oracle(table: Table, seed: int = 0) -> Table:
    """Return a table with true captions of every manner, in the place of those that came with the pictures, too.

    Of pictures of the drawn world. No teacher knows them: it is for a distillation of weight 0.
    """
    told: list[str] = []
    of_image: list[dict[str, list[int]]] = []
    texts = list(table.held.texts)
    for at in table.rows:
        scene = from_json(table.held.meta[at]["scene"])
        texts[at] = voiced(scene, "detailed", ORACLE + 1, seed)[ORACLE]
        of_image.append({})
        for voice in VOICES:
            if voice != "alt_text":
                of_image[-1][voice] = list(range(len(told), len(told) + ORACLE))
                told += voiced(scene, voice, ORACLE, seed)
    emb = np.zeros((len(told), table.caption_emb.shape[1]), np.float32)
    return replace(table, held=replace(table.held, texts=texts), of_image=of_image, captions=told, caption_emb=emb)
