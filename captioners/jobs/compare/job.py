"""Did it get better? Two captioners on the same images, with the same decoding, held against the same references."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from PIL import Image

from captioners.core.errors import ImageError, UserError
from captioners.core.seeds import Stream
from captioners.decoding.values import Beam, Sample
from captioners.jobs.compare.findings import Comparison, Side, rows_of
from captioners.jobs.compare.images import ComparedImage, general_images, opened
from captioners.jobs.compare.scores import Said, score
from captioners.jobs.runs.words import decoding_words
from captioners.kinds.captioner import Captioner, Request
from captioners.kinds.scorer import FrozenScorer, refuse_own_tower
from captioners.metrics.alignment import Aligned, align

_MEMBER = "compare"
"""Of the random streams: the same for both, so that equal captioners say the same."""

Watch = Callable[[str, int, int], None]
"""Told a captioner's name, images captioned, images in all."""


def compare(
    before: Captioner,
    after: Captioner,
    samples: Sequence[ComparedImage],
    decoding: Sample | Beam,
    *,
    scorer: FrozenScorer | None = None,
    seed: int = 0,
    images: str = "test images",
    watch: Watch = lambda *_: None,
) -> Comparison:
    """Caption the samples with both captioners, one after the other, and compare what they say.

    Args:
        before, after: not open; each is opened, and closed again. samples: read as they are needed, twice.
        decoding: of both. scorer: a frozen one that is neither of them. seed: of draws and resamples.
        images: what messages call the samples. watch: told of progress, the packaged photos included.

    Raises:
        UserError: a captioner cannot decode so, the scorer is one of the two, or not one image could be read.
    """
    for captioner in (before, after):
        if problem := captioner.accepts(decoding):
            raise UserError(f"comparing by {decoding_words(decoding.model_dump(exclude_none=True))}: {problem}")
    if scorer is not None:
        refuse_own_tower(scorer, before.info, after.info)
    world = general_images()
    said, skipped = [], dict[int, str]()
    for captioner in (before, after):
        everything = _Pictures([*samples, *world], captioner, skipped)
        said.append(_captions(captioner, everything, decoding, seed, watch))
    lost = {at: error for at, error in skipped.items() if at < len(samples)}
    kept = [at for at in range(len(samples)) if at not in lost]
    if not kept:
        first = next(iter(lost.values()), "there are none")
        raise UserError(f"nothing to compare on: not one of {len(samples):,} {images} could be read ({first})")
    aligned = _aligned(scorer, samples, kept, said) if scorer is not None else None
    return compare_captions(
        [samples[at].key for at in kept],
        [said[0][at] for at in kept],
        [said[1][at] for at in kept],
        [samples[at].references for at in kept],
        sides=(_side(before), _side(after)),
        aligned=aligned,
        seed=seed,
        scorer=scorer.name if scorer else "",
        decoding=decoding_words(decoding.model_dump(mode="json", exclude_none=True)),
        images=images,
        skipped=tuple(lost.values()),
        forgotten=tuple(
            (one.key, said[0][at].text, said[1][at].text)
            for at, one in enumerate(world, len(samples))
            if at not in skipped
        ),
    )


def compare_captions(
    keys: Sequence[str],
    before: Sequence[Said | str],
    after: Sequence[Said | str],
    references: Sequence[Sequence[str]],
    *,
    sides: tuple[Side, Side],
    aligned: tuple[Aligned, Aligned] | None = None,
    seed: int = 0,
    **known: Any,
) -> Comparison:
    """Compare two sets of captions of the same images; `known` are further fields of `Comparison`."""
    one, other = ([said if isinstance(said, Said) else Said(text=said) for said in side] for side in (before, after))
    scores = score(one, other, references, aligned, seed=seed)
    rows = rows_of(keys, [said.text for said in one], [said.text for said in other], references, scores)
    return Comparison(before=sides[0], after=sides[1], scores=scores, rows=rows, seed=seed, **known)


class _Pictures:
    """The samples as pictures that a captioner takes; what cannot be read is noted in `skipped` by its number."""

    def __init__(self, samples: Sequence[ComparedImage], captioner: Captioner, skipped: dict[int, str]) -> None:
        self._samples, self._skipped = samples, skipped
        # A kind may fit pictures itself beforehand: then a mere line is found out here, and not within the engine.
        preprocess = getattr(captioner, "preprocess", None)
        self._fit: Callable[[Image.Image], Image.Image] = preprocess.fit if preprocess else lambda image: image

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[tuple[int, Image.Image, str]]:
        for number, sample in enumerate(self._samples):
            if number in self._skipped:
                continue
            try:
                image, digest = opened(sample)
                yield number, self._fit(image), digest
            except ImageError as error:
                said = str(error)
                self._skipped[number] = said if sample.key in said else f"{sample.key}: {said}"


def _captions(
    captioner: Captioner, pictures: _Pictures, decoding: Sample | Beam, seed: int, watch: Watch
) -> dict[int, Said]:
    """Return a caption of every picture that can be read, by its number."""

    def requests() -> Iterable[Request]:
        for number, image, digest in pictures:
            yield Request(index=number, image=image, stream=Stream(seed, digest, _MEMBER), decoding=decoding)

    captioner.open()
    found: dict[int, Said] = {}
    try:
        for result in captioner.caption(requests()):
            found[result.index] = Said(text=result.text, raw_text=result.raw_text, finish=result.finish)
            watch(captioner.info.name, len(found), len(pictures))
    finally:
        captioner.close()
    return found


def _aligned(
    scorer: FrozenScorer,
    samples: Sequence[ComparedImage],
    kept: Sequence[int],
    said: Sequence[dict[int, Said]],
) -> tuple[Aligned, Aligned]:
    features = scorer.image_features(opened(samples[at])[0] for at in kept)
    references = [samples[at].references for at in kept]
    one, other = (align(scorer, features, [side[at].text for at in kept], references) for side in said)
    return one, other


def _side(captioner: Captioner) -> Side:
    info = captioner.info
    return Side(name=info.name, weights=info.weights_digest, licences=info.licences, warning=info.warning)
