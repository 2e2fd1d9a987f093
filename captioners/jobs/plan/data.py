"""What `plan` assumes of a recipe's data: how many images, of how many bytes, with captions of how many tokens.

Where the files are there, they are counted; what is known of the paper's sets stands below, with where it is from;
anything can be said by hand. An assumption is a row of the plan like any other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from captioners.core.errors import CaptionersError, UserError, near
from captioners.data.cards import read_card
from captioners.data.source import SourceOptions
from captioners.jobs.plan.rows import Row


@dataclass(frozen=True)
class _Set:
    """What is known of a published set beside its data card; tokens are CLIP's, with start and end."""

    bytes_per_image: float
    from_bytes: str
    tokens: Mapping[str, float]
    """Of a caption on average, by variant; a variant that is not here fills the context."""
    from_tokens: str
    images: float = 0
    """Where the card has no number."""


_WEB = ({"": 24.5}, "alt text of CC12M, by GBC's count")
_COCO = _Set(163e3, "19.3 GB of train2017's 118,287", {"": 13.5}, "MSCOCO's 10 to 11 words")
_GBC = _Set(
    *(35e3, "450 TB of DataComp's 12.8e9"),
    *({"short": 35.3, "long": 130.9, "short_relation": 83.3}, "arXiv 2407.06723, table 5"),
)
_SETS = {
    "mscoco_123k": _COCO,
    "mscoco_38k": replace(_COCO, images=38_000),
    "docci": _Set(511e3, "7.59 GB of 14,847", {"": 165}, "136 words (arXiv 2404.19753)"),
    "dci": _Set(1.07e6, "SA-1B's, 11 GB of 10,290", {"short": 20}, "a guess for short; the others fill it"),
    "gbc1m": _GBC,
    "gbc10m": _GBC,
    "recap_coco_30k": _Set(52e3, "1.58 GB of Parquet", {"": 65}, "49 words, as ReCap-DataComp's"),
    "datacomp": _Set(_GBC.bytes_per_image, _GBC.from_bytes, *_WEB),
    "dfn_2b": _Set(_GBC.bytes_per_image, _GBC.from_bytes, *_WEB, images=1.906e9),
}
"""By data card."""
_GUESS = _Set(100e3, "a guess", _WEB[0], "a guess, alt text of CC12M")
UTILISATION = (0.25, 0.5)
"""What trainers of large vision transformers get of a GPU's peak, from careless to good; assumed, not measured."""


def assumptions(source: SourceOptions, context: int, words: Sequence[str] = ()) -> dict[str, Row]:
    """Return what is assumed, by name; `words` is what a user says otherwise, each `NAME=VALUE` or `NAME=LOW..HIGH`.

    Raises:
        UserError: a name or a value that means nothing.
    """
    card = source.card or source.own_card()
    known = _SETS.get(card or "", _GUESS)
    tokens = min(float(context), known.tokens.get(str(getattr(source, "variant", "")), context))
    images, each = _images(source, card) or known.images, known.bytes_per_image
    rows = [
        Row("utilisation", *UTILISATION, how="of the GPU's peak; small models get far less", known="assumed"),
        Row("caption_tokens", tokens, tokens, "tokens", f"with start and end: {known.from_tokens}", known="assumed"),
        Row("images", images, images, "images", f"in the set: data card {card}", known="assumed"),
        Row("bytes_per_image", each, each, "bytes", f"as stored: {known.from_bytes}", known="assumed"),
        Row("padded_tokens", 0, 0, "tokens", "what captions are padded to: own length .. context", known="assumed"),
    ]
    found = {row.what: row for row in (*rows, *_counted(source))}
    for word in words:
        row = said(word, found)
        found[row.what] = row
    if not found["images"].high:
        del found["images"]
    if not found["padded_tokens"].high:
        low = found["caption_tokens"].low
        found["padded_tokens"] = replace(found["padded_tokens"], low=low, high=max(low, context))
    _within(found, context)
    return found


def known_bytes(source: SourceOptions) -> tuple[float, str]:
    """Return the bytes of a stored image as far as anything is known of the source, and where that is from."""
    known = _SETS.get(source.card or source.own_card() or "", _GUESS)
    return known.bytes_per_image, known.from_bytes


def known_images(source: SourceOptions) -> float:
    """Return how many images the data card says are read; 0 where nothing is known."""
    card = source.card or source.own_card()
    return _images(source, card) or _SETS.get(card or "", _GUESS).images


def _images(source: SourceOptions, card: str | None) -> int:
    """Return how many images the card's splits have that are read; 0 where it has no numbers."""
    counts = {split: count for split, count in read_card(card).splits.items() if isinstance(count, int)} if card else {}
    wanted = getattr(source, "splits", None) or [getattr(source, "split", "train")]
    chosen = [split for split in counts if split in wanted]
    return sum(counts[split] for split in chosen or counts if split in chosen or split.startswith(("train", "val")))


def _counted(source: SourceOptions) -> list[Row]:
    """Return what can be told from the files without reading them; nothing where they are not there, or not counted."""
    try:
        shards = source.open().shards()
    except (CaptionersError, OSError):
        return []
    counts = [shard.count for shard in shards]
    images = sum(count for count in counts if count is not None)
    if not images or None in counts:
        return []
    how = f"counted in {len(shards):,} shard{'' if len(shards) == 1 else 's'}"
    each = sum(shard.size for shard in shards) / images
    rows = [Row("images", images, images, "images", how, "counted")]
    return [*rows, Row("bytes_per_image", each, each, "bytes", how, "counted")] if each >= 1 else rows


def said(text: str, known: Mapping[str, Row]) -> Row:
    """Return a row as a user says it; raise UserError for a name or a value that means nothing."""
    name, equals, value = text.partition("=")
    name = name.strip()
    if not equals or name not in known:
        raise UserError(f"--assume {text}: write NAME=VALUE.{near(name, known)} Known: {', '.join(known)}")
    try:
        low, high = (float(part.replace("_", "")) for part in (value.split("..") * 2)[:2])
    except ValueError:
        raise UserError(f"--assume {text}: '{value}' is neither a number nor a range like 0.2..0.4") from None
    if not 0 < low <= high:
        raise UserError(f"--assume {text}: must be above 0, and a range goes upwards")
    return replace(
        known[name], low=low, high=high, how=f"{known[name].how.partition(':')[0]}: as said", known="assumed"
    )


def _within(rows: Mapping[str, Row], context: int) -> None:
    if rows["utilisation"].high > 1:
        raise UserError(f"--assume utilisation={rows['utilisation'].high:g}: a share of the peak, so at most 1")
    for name in ("caption_tokens", "padded_tokens"):
        if not 2 <= rows[name].low <= rows[name].high <= context:
            raise UserError(
                f"--assume {name}={rows[name].high:g}: captions have 2 to {context} tokens here, start and end too"
            )
