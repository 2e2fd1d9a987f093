"""The images of an ablation's page: what every arm says of each, and what the drawn world's checker thinks of it."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from heapq import nsmallest
from io import BytesIO
from itertools import islice

from captioners.core.run_dir import RunDir
from captioners.core.seeds import uniforms
from captioners.data.caption_sets import CaptionedImage, CaptionSet, images_of
from captioners.data.drawn_scene import Scene, from_json
from captioners.data.drawn_spans import clause_spans, things_in_words
from captioners.data.run_pictures import RunPictures
from captioners.data.source import Sample
from captioners.images.decode import read_image
from captioners.report.ablation_gallery import Said, Seen, Span

_FIRST = 20_000
"""Images that those of the page are chosen from."""
_SIDE = 320
"""Px of the longer side of a picture on the page."""


def gallery(sets: Sequence[CaptionSet], count: int) -> tuple[Seen, ...]:
    """Return so many images that all sets have, chosen by a hash, with the captions of each set.

    Raises:
        UserError: a run is gone or damaged. NotFoundError: a picture is not there any more.
    """
    if not sets or not count:
        return ()
    # Of a large run the beginning is enough: its shards are frozen in an order whose beginnings are even samples.
    first = islice(images_of(sets), _FIRST)
    chosen = nsmallest(count, first, key=lambda one: uniforms(1, "gallery", one[0].shard, one[0].key)[0])
    run = RunDir(sets[0].parts[0].run)
    samples = _samples(run, {image.shard for image, _ in chosen})
    return tuple(_seen(image, captions, samples.get((image.shard, image.key))) for image, captions in chosen)


def _samples(run: RunDir, shards: set[str]) -> dict[tuple[str, str], Sample]:
    """Return the samples of some shards: the pictures, and what came with them."""
    pictures = RunPictures(run)
    return {
        (shard, sample.key): sample
        for shard in sorted(shards)
        for sample in pictures.samples(shard)
        if isinstance(sample, Sample)
    }


def _seen(image: CaptionedImage, captions: Mapping[str, Sequence[str]], sample: Sample | None) -> Seen:
    if sample is None:
        return Seen(
            key=image.key, captions={arm: tuple(Said(text=text) for text in told) for arm, told in captions.items()}
        )
    data = sample.meta.get("scene")
    scene = from_json(data) if data is not None else None
    jpeg, width, height = _jpeg(sample)
    return Seen(
        key=image.key,
        jpeg=jpeg,
        width=width,
        height=height,
        facts=tuple(things_in_words(scene)) if scene is not None else (),
        references=sample.captions,
        captions={arm: tuple(_said(text, scene) for text in told) for arm, told in captions.items()},
    )


def _said(text: str, scene: Scene | None) -> Said:
    if scene is None:
        return Said(text=text)
    return Said(
        text=text,
        spans=tuple(Span(start=start, stop=stop, mark=mark) for start, stop, mark in clause_spans(text, scene)),
    )


def _jpeg(sample: Sample) -> tuple[str, int, int]:
    """Return a picture for the page, in base64, with its size."""
    small = read_image(sample.image, name=sample.name).image
    small.thumbnail((_SIDE, _SIDE))
    out = BytesIO()
    small.save(out, "JPEG", quality=85)
    return b64encode(out.getvalue()).decode(), *small.size
