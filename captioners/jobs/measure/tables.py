"""The tables that words are weighed by, fitted once for all sets and kept in the run: no captioner brings its own.

measures/frequencies/IDENTITY.captions.npz over the captions of all members of all runs, for Self-CIDEr
measures/frequencies/IDENTITY.df.npz       over the references, for CIDEr-D
measures/frequencies/IDENTITY.known.npz    what the references say, for what is novel beside them
"""

import json
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

from captioners.data.caption_sets import ALL, Group, OpenSet, sets_of_run
from captioners.jobs.measure.gauge import T, stored
from captioners.jobs.measure.references import References
from captioners.metrics.frequencies import IMAGES, HashedFrequencies, fit
from captioners.metrics.novelty import Known
from captioners.metrics.tokens import TOKENIZER


def caption_frequencies(sets: Sequence[OpenSet]) -> HashedFrequencies:
    """Return a table over the captions of all members of all runs of some sets, whatever their order.

    Of each member it takes whole groups, those first that hash lowest, until there are 50,000 images. It is another one
    when the runs have gone on: fitted where the first of them has none of just these captions.
    """
    runs = {name: None for one in sets for name in one.runs}
    chosen = [(one, group) for run in runs for one in _members(run) for group in _some(one)]
    told = {f"{one.layers[0].fingerprint} {group.shard} {group.start} {group.digest}" for one, group in chosen}
    name = _hash("\n".join([TOKENIZER, *sorted(told)]))[:16]
    place, name = sets[0].runs[sets[0].first].place, f"measures/frequencies/{name}.captions.npz"
    if not place.exists(name):
        place.create(name, fit(_captions(chosen)).to_bytes())
    return stored(place, name, HashedFrequencies.from_bytes)


def _members(run: str) -> list[OpenSet]:
    return [OpenSet(given) for given in sets_of_run(run) if given.name != ALL]


def _some(one: OpenSet) -> Iterator[Group]:
    count = 0
    for group in sorted(one.groups(), key=lambda group: _hash(f"{group.shard} {group.start}")):
        yield group
        count += group.stop - group.start
        if count >= IMAGES:
            return


def _captions(chosen: Sequence[tuple[OpenSet, Group]]) -> Iterator[tuple[str, list[str]]]:
    told: dict[int, list[str]] = {}
    for one, group in chosen:
        for image in one.read(group):
            told.setdefault(image.id, []).extend(image.captions)
    for identity, texts in told.items():
        yield f"{identity:016x}", texts


def reference_frequencies(references: References, sets: Sequence[OpenSet]) -> HashedFrequencies:
    """Return the references' document frequencies, of all sets' where these are their own; fitted where there are none.

    They are over all that the source has, or of a larger one over whole shards, those first that hash lowest, until
    there are 50,000 images.
    """

    def made() -> bytes:
        return fit(_told(references, sets)).to_bytes()

    return _kept(references, sets, "df", made, HashedFrequencies.from_bytes)


def known_text(references: References, sets: Sequence[OpenSet]) -> Known:
    """Return the n-grams and captions of the same references, for what is novel beside them."""

    def made() -> bytes:
        return Known.of(text for _, texts in _told(references, sets) for text in texts).to_bytes()

    return _kept(references, sets, "known", made, Known.from_bytes)


def _different(references: References, sets: Sequence[OpenSet]) -> dict[str, OpenSet]:
    """Return a set for each of the sources that their references come from, in an order that is not that of sets."""
    found = {json.dumps(references.identity(one), sort_keys=True): one for one in sets}
    return dict(sorted(found.items()))


def _told(references: References, sets: Sequence[OpenSet]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for one in _different(references, sets).values():
        yield from references.some(one, IMAGES)


def _kept(
    references: References, sets: Sequence[OpenSet], what: str, made: Callable[[], bytes], of: Callable[[bytes], T]
) -> T:
    told = "\n".join([TOKENIZER, *_different(references, sets)])
    place, name = sets[0].runs[sets[0].first].place, f"measures/frequencies/{_hash(told)[:16]}.{what}.npz"
    if not place.exists(name):
        place.create(name, made())
    return stored(place, name, of)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
