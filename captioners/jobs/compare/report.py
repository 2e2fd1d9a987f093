"""`captioners report A B`: two captioners over a source's images, on a page to look at or a blind one to vote on."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from captioners.core.errors import UserError
from captioners.core.storage import Place
from captioners.decoding.values import Beam, Sample
from captioners.jobs.compare.findings import Comparison
from captioners.jobs.compare.images import Chosen, choose_images
from captioners.jobs.compare.job import compare
from captioners.jobs.compare.page import comparison_page
from captioners.jobs.compare.votes import KEY_ENDING, BlindKey, blind_page
from captioners.kinds.captioner import Captioner
from captioners.kinds.scorer import open_scorer

MOST_IMAGES = 5000
MOST_BALLOTS = 300
"""Images on a blind page: more than anyone votes on, and within 10 MB."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Where things were written and what was found."""

    page: str
    beside: str
    """The numbers as JSON, or the key of a blind page."""
    size: int
    """Bytes of the page."""
    images: int
    """On the blind page, or compared."""
    skipped: int
    sentence: str
    """The finding; of a blind page, what is on it."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is to be compared, and how it is to be shown."""

    before: str
    """Two captioners, as `kinds.catalogue.find` knows them."""
    after: str
    data: str | None = None
    """See `compare_images.choose_images`."""
    out: str | Path | None = None
    """Where to write; default: `comparison.html`, or `blind.html`, here."""
    images: int = 200
    """How many at most."""
    pictures: bool = True
    """Whether to show them."""
    blind: bool = False
    """Hide whose caption is whose."""
    scorer: str | None = None
    """A frozen model."""
    seed: int = 0
    """Of images, draws, resamples and sides."""


def compare_report(asked: Asked, say: Callable[[str], None] = lambda _: None) -> Compared:
    """Caption images with both captioners and write the page; `say` is told what is going on.

    Raises:
        UserError, NotFoundError: a name, the data or the scorer is wrong, or `out` cannot be written.
    """
    most = MOST_BALLOTS if asked.blind else MOST_IMAGES
    if not 1 <= asked.images <= most:
        raise UserError(
            f"--images {asked.images}: {'a blind page shows' if asked.blind else 'a comparison takes'} 1 to {most:,}"
        )
    if asked.blind and not asked.pictures:
        raise UserError("--blind with --no-images: captions cannot be judged without their images; leave one out")
    target = _target(asked.out, "blind.html" if asked.blind else "comparison.html")
    chosen = choose_images(asked.data, asked.images, asked.seed)
    say(chosen.about)
    found = _compared(asked, chosen, say)
    return (_blind if asked.blind else _open)(found, asked, chosen, target)


def _blind(found: Comparison, _asked: Asked, chosen: Chosen, target: Path) -> Compared:
    text, key = blind_page(found, {one.key: one for one in chosen.images})
    same = f"; of {key.same:,} more both say the same" if key.same else ""
    beside = _write_key(target, key)
    return _wrote(found, chosen, target, text, beside, f"{len(key.left):,} images to vote on{same}", len(key.left))


def _open(found: Comparison, asked: Asked, chosen: Chosen, target: Path) -> Compared:
    by_key = {one.key: one for one in chosen.images}
    text = comparison_page(found, by_key, pictures=asked.pictures, provenance={"images": chosen.about})
    numbers = json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n"
    beside = _write(target.with_suffix(".json"), numbers.encode())
    return _wrote(found, chosen, target, text, beside, found.sentence, len(found.rows))


def _wrote(
    found: Comparison, chosen: Chosen, target: Path, text: str, beside: str, sentence: str, images: int
) -> Compared:
    page = text.encode()
    return Compared(
        page=_write(target, page),
        beside=beside,
        size=len(page),
        images=images,
        skipped=len(found.skipped) + len(chosen.skipped),
        sentence=sentence,
    )


def _compared(asked: Asked, chosen: Chosen, say: Callable[[str], None]) -> Comparison:
    from captioners.kinds.coca import CocaCaptioner

    # The scorer first: a wrong name should not wait for two captioners.
    judge = open_scorer(asked.scorer) if asked.scorer else None
    one, other = CocaCaptioner(asked.before), CocaCaptioner(asked.after)
    for info in (one.info, other.info):
        if info.warning:
            say(info.warning)

    def watch(name: str, done: int, every: int) -> None:
        if done == every or done % 50 == 0:
            say(f"  {name}: {done:,} of {every:,} images captioned")

    decoding = _decoding(one, other)
    found = compare(one, other, chosen.images, decoding, scorer=judge, seed=asked.seed, images="images", watch=watch)
    say(f"decoding of both: {found.decoding}")
    return found


def _decoding(before: Captioner, after: Captioner) -> Sample | Beam:
    """Return what the second recommends, the first if only that suits both, else the default beam."""
    for wanted in (after.info.recommended_decoding, before.info.recommended_decoding):
        if not before.accepts(wanted) and not after.accepts(wanted):
            return wanted
    return Beam()


def _target(out: str | Path | None, name: str) -> Path:
    target = Path(out if out is not None else name).expanduser()
    if target.is_dir():
        target /= name
    if target.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{target}: a page ends in .html; name another --out")
    return target


def _write_key(target: Path, key: BlindKey) -> str:
    place = target.with_suffix(KEY_ENDING)
    if place.is_file():
        try:
            old = BlindKey.model_validate_json(place.read_bytes()).page
        except ValueError:
            old = ""
        if old != key.page:
            raise UserError(f"{place}: the key of another blind page, whose votes it opens; name another --out")
    return _write(place, (key.model_dump_json(indent=1) + "\n").encode())


def _write(target: Path, text: bytes) -> str:
    try:
        Place(target.parent).write(target.name, text)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"{target}: cannot be written ({error.strerror}); choose another --out") from None
    return str(target)
