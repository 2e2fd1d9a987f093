"""The licences that travel with data: from its card, or as the recipe states them, onto what is trained on it.

Non-commercial data has to be allowed; unknown licences never block, and are written down as unspecified.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from captioners.data.cards import Use, read_card
from captioners.data.source import SourceOptions

UNSPECIFIED = "unspecified"


@dataclass(frozen=True)
class DataLicences:
    """What data is under: each distinct licence once, in order."""

    names: tuple[str, ...]
    """Data cards that it is known by; empty for data that has none."""
    images: tuple[str, ...]
    captions: tuple[str, ...]
    commercial_use: Use
    """no: a part forbids it; yes: every part is known to allow it."""

    def refusal(self, allow_noncommercial: bool) -> str | None:
        """Say why its licence forbids the use, or None (as `KnownCaptioner.refusal` does for weights)."""
        if self.commercial_use != "no" or allow_noncommercial:
            return None
        what = ", ".join(self.names) or "the data"
        licences = "; ".join(dict.fromkeys((*self.images, *self.captions)))
        return (
            f"{what} may not be used commercially ({licences}); say `allow_noncommercial=true` if your use allows that"
        )

    def on_card(self) -> dict[str, str]:
        """Return what a captioner's card says of the data that it was trained on."""
        named = {"training data": ", ".join(self.names)} if self.names else {}
        return named | {
            "training images": "; ".join(self.images),
            "training captions": "; ".join(self.captions),
            "commercial use of the training data": self.commercial_use,
        }


def licences_of(options: SourceOptions) -> DataLicences:
    """Return what the data that options read is under; of a mixture, what all its parts are.

    What the recipe states (`licence`, `commercial_use`) goes before a card, a named card before the kind's own; so it
    does on a mixture, of all its parts.

    Raises NotFoundError for a card that does not exist.
    """
    name, parts = options.card or options.own_card(), getattr(options, "parts", ())
    found = _together([licences_of(part.source) for part in parts]) if parts and not name else _on_card(name)
    if added := getattr(options, "own_licences", None):  # of captions that a captioner wrote
        found = _together([found, added()])
    stated = (options.licence,) if options.licence else ()
    return replace(
        found,
        images=stated or found.images,
        captions=stated or found.captions,
        commercial_use=options.commercial_use or found.commercial_use,
    )


def _on_card(name: str | None) -> DataLicences:
    if name is None:
        return DataLicences((), (UNSPECIFIED,), (UNSPECIFIED,), "unknown")
    card = read_card(name)
    return DataLicences((name,), (card.images_licence,), (card.captions_licence,), card.commercial_use)


def _together(all_: list[DataLicences]) -> DataLicences:
    uses = {licences.commercial_use for licences in all_}
    use: Use = "no" if "no" in uses else "unknown" if "unknown" in uses else "yes"
    return DataLicences(
        _distinct(licences.names for licences in all_),
        _distinct(licences.images for licences in all_),
        _distinct(licences.captions for licences in all_),
        use,
    )


def _distinct(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for several in lists for item in several))
