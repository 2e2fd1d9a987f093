"""The tables that words are weighed by, fitted once and kept in the run: no captioner brings its own.

measures/frequencies/captions.npz          over the captions of all members, for Self-CIDEr
measures/frequencies/IDENTITY.df.npz       over the references, for CIDEr-D
measures/frequencies/IDENTITY.known.npz    what the references say, for what is novel beside them
"""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from io import BytesIO

import numpy as np

from captioners.data.caption_sets import ALL, OpenSet, sets_of_run
from captioners.jobs.measure.references import References
from captioners.metrics.frequencies import IMAGES, HashedFrequencies, fit
from captioners.metrics.novelty import Known
from captioners.metrics.tokens import TOKENIZER

_CAPTIONS = "measures/frequencies/captions.npz"


def caption_frequencies(opened: OpenSet) -> bytes:
    """Return the table of the set's first run, as `HashedFrequencies` has it in bytes; fitted where there is none.

    It is over the captions that all members had made then, of whole groups, those first that hash lowest, until there
    are 50,000 images. It stays as it is when the run goes on, so that what is measured stays comparable.
    """
    place = opened.runs[opened.first].place
    if not place.exists(_CAPTIONS):
        place.create(_CAPTIONS, fit(_captions(opened.first)).to_bytes())
    return place.read(_CAPTIONS)


def _captions(run: str) -> Iterator[tuple[str, list[str]]]:
    told: dict[int, list[str]] = {}
    for given in sets_of_run(run):
        if given.name == ALL:
            continue
        one, count = OpenSet(given), 0
        for group in sorted(one.groups(), key=lambda group: _hash(f"{group.shard} {group.start}")):
            images = one.read(group)
            count += len(images)
            for image in images:
                told.setdefault(image.id, []).extend(image.captions)
            if count >= IMAGES:
                break
    for identity, texts in told.items():
        yield f"{identity:016x}", texts


def reference_frequencies(references: References, opened: OpenSet) -> HashedFrequencies:
    """Return the references' document frequencies; fitted where the run has none of these.

    They are over all that the source has, or of a larger one over whole shards, those first that hash lowest, until
    there are 50,000 images.
    """
    data = _kept(references, opened, "df", lambda: fit(references.some(opened, IMAGES)).to_bytes())
    return HashedFrequencies.from_bytes(data)


def known_text(references: References, opened: OpenSet) -> Known:
    """Return the n-grams and captions of the same references, for what is novel beside them."""

    def made() -> bytes:
        found = Known.of(text for _, texts in references.some(opened, IMAGES) for text in texts)
        file = BytesIO()
        np.savez_compressed(file, grams=found.grams, captions=found.captions)
        return file.getvalue()

    with np.load(BytesIO(_kept(references, opened, "known", made)), allow_pickle=False) as file:
        return Known(file["grams"], file["captions"])


def _kept(references: References, opened: OpenSet, what: str, made: Callable[[], bytes]) -> bytes:
    told = json.dumps([references.identity(opened), TOKENIZER], sort_keys=True)
    place, name = opened.runs[opened.first].place, f"measures/frequencies/{_hash(told)[:16]}.{what}.npz"
    if not place.exists(name):
        place.create(name, made())
    return place.read(name)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
