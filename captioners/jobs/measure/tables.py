"""The tables that words are weighed by, fitted once and kept in the run: no captioner brings its own.

measures/frequencies/captions.npz         over the captions of all members, for Self-CIDEr
measures/frequencies/IDENTITY.jsonl.gz    over the references, for CIDEr-D
"""

import gzip
import json
from collections.abc import Iterator
from hashlib import sha256

from captioners.data.caption_sets import ALL, OpenSet, sets_of_run
from captioners.jobs.measure.references import References
from captioners.metrics.frequencies import IMAGES, fit
from captioners.metrics.references import Frequencies, document_frequencies
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


def reference_frequencies(references: References, opened: OpenSet) -> tuple[Frequencies, str]:
    """Return the references' document frequencies and their digest; fitted where the run has none of these.

    They are over all that the source has, or of a larger one over whole shards, those first that hash lowest, until
    there are 50,000 images. N-grams of one image are left out: they weigh as much as one that is not in the table.
    """
    told = json.dumps([references.identity(opened), TOKENIZER], sort_keys=True)
    place = opened.runs[opened.first].place
    name = f"measures/frequencies/{_hash(told)[:16]}.jsonl.gz"
    if not place.exists(name):
        found = document_frequencies([texts for _, texts in references.some(opened, IMAGES)])
        often = sorted((gram, count) for gram, count in found.counts.items() if count > 1)
        lines = [json.dumps(one, ensure_ascii=False) for one in [[found.images], *often]]
        place.create(name, gzip.compress("\n".join(lines).encode(), mtime=0))
    data = gzip.decompress(place.read(name))
    images, *rows = map(json.loads, data.decode().splitlines())
    return Frequencies(images[0], {tuple(gram): count for gram, count in rows}), sha256(data).hexdigest()


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()
