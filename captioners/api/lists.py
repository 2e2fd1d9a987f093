"""What there is, by name, in Python: the same as `captioners list`."""

from captioners.jobs.listing import details, listing


def list_captioners() -> list[str]:
    """Return the names that `load` knows besides directories and tags."""
    return _names("captioners")


def list_data_cards() -> list[str]:
    """Return the names of the data cards: what a dataset is, its licence, how to get it.

    >>> "drawn" in list_data_cards()
    True
    """
    return _names("data-cards")


def list_decodings() -> list[str]:
    """Return the decoding names: strategies, short forms, presets.

    >>> "top_p" in list_decodings()
    True
    """
    return _names("decodings")


def list_kinds() -> list[str]:
    """Return the kinds of captioners: what runs them."""
    return _names("kinds")


def list_metrics() -> list[str]:
    """Return the names of what is measured of sets of captions."""
    from captioners.metrics.registry import REGISTRY

    return list(REGISTRY)


def list_recipes() -> list[str]:
    """Return the packaged recipes' names."""
    return _names("recipes")


def list_scores() -> list[str]:
    """Return the scores of single captions."""
    return _names("scores")


def list_sources() -> list[str]:
    """Return the kinds of datasets that can be read."""
    return _names("sources")


def describe(what: str, name: str) -> str:
    """Return all there is to say of one thing, as `captioners list WHAT NAME` does: its options, its card, its file.

    Raises:
        NotFoundError: no such sort of things, or none of that name.

    >>> print(describe("metrics", "Div-2").splitlines()[0])
    Div-2: share, 0 to 1; higher is better
    """
    return details(what, name)


def _names(what: str) -> list[str]:
    return [row[0] for row in listing(what).rows]
