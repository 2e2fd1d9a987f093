"""Images to work on, in Python: draw some, say what a path holds, go through a source's samples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from captioners.data.source import Sample, SourceOptions, Unreadable, all_samples

Data = str | Path | Sequence[str | Path] | Mapping[str, Any]
"""A path, or several; or what a recipe says under `source:`."""


def draw(
    out: str | Path,
    count: int = 2000,
    *,
    split: str = "caption",
    seed: int = 0,
    per_shard: int = 1000,
    voice: str = "alt_text",
    captions: int = 5,
) -> Path:
    """Draw scenes of the drawn world into tar shards, and return their folder; the same call draws the same.

    Args:
        out: a folder that is new or empty. count: scenes. split: pretrain, finetune, caption or eval; no scene is in
            two of them. per_shard: scenes of a tar. voice: whose caption is the `.txt`; the `.json` has all voices.
        captions: of every voice.

    Raises:
        NotFoundError: no such split or voice. UserError: `out` is not free, or cannot be written.
    """
    from captioners.jobs.data.draw import DrawOptions, data_draw

    folder = Path(out)
    options = DrawOptions(
        out=folder, count=count, seed=seed, split=split, per_shard=per_shard, voice=voice, captions=captions
    )
    data_draw(options)
    return folder


def source(path: str | Path | Sequence[str | Path], *, captioned: bool = False, **options: Any) -> dict[str, Any]:
    """Return what a recipe says under `source:` to read a path (or several), as the commands recognise it.

    Args:
        captioned: only what gives captions counts, as for `finetune`. options: of the source, known already:
            `caption_column="text"`.

    Raises:
        NotFoundError: nothing is there that a source reads. UserError: it can be read in two ways, which are said.

    >>> import captioners
    >>> folder = Path(captioners.__file__).parent / "samples"
    >>> captioners.source(folder)["kind"]
    'folder'
    """
    found = _recognised(path, captioned, options)
    return {"kind": found.model_dump()["kind"], **found.model_dump(mode="json", exclude_unset=True)}


def samples(data: Data, *, unreadable: Callable[[Unreadable], object] = lambda _: None) -> Iterator[Sample]:
    """Yield the samples of a path, or of what a recipe says under `source:`; each has key, image, captions and meta.

    What cannot be read is left out, and `unreadable` told of it.

    Raises:
        NotFoundError: nothing is there. UserError: it can be read in two ways. RecipeError: no such source or option.

    >>> first = next(samples({"kind": "drawn", "voice": "short"}))
    >>> first.key, first.captions[0]
    ('00000000', 'a green triangle')
    """
    options = _said(data) if isinstance(data, Mapping) else _recognised(data, False, {})
    for found in all_samples(options.open()):
        if isinstance(found, Sample):
            yield found
        else:
            unreadable(found)


def _recognised(path: str | Path | Sequence[str | Path], captioned: bool, given: Mapping[str, Any]) -> SourceOptions:
    from captioners.data.recognise import recognise

    paths = [path] if isinstance(path, str | Path) else path
    return recognise([str(one) for one in paths], captioned=captioned, given=given)[0]


def _said(data: Mapping[str, Any]) -> SourceOptions:
    from captioners.core.recipe import options_from
    from captioners.data.source import sources

    return options_from(sources.get(str(data.get("kind"))), data, shown="source")
