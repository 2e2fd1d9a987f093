"""captioners: the captioner-teacher half of multi-modal reinforced training (MobileCLIP2, arXiv 2508.20691).

The public API loads on first use, so that the command line can answer without torch.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.5.0"
__all__ = [
    "Captioner",
    "Gallery",
    "Report",
    "Run",
    "describe",
    "draw",
    "gallery",
    "list_captioners",
    "list_data_cards",
    "list_decodings",
    "list_kinds",
    "list_metrics",
    "list_recipes",
    "list_scores",
    "list_sources",
    "load",
    "measure",
    "open_run",
    "run",
    "samples",
    "source",
]

if TYPE_CHECKING:
    from captioners.api import (
        Captioner,
        Gallery,
        Report,
        Run,
        describe,
        draw,
        gallery,
        list_captioners,
        list_data_cards,
        list_decodings,
        list_kinds,
        list_metrics,
        list_recipes,
        list_scores,
        list_sources,
        load,
        measure,
        open_run,
        run,
        samples,
        source,
    )


def __getattr__(name: str) -> Any:
    if name in __all__:
        from captioners import api

        return getattr(api, name)
    raise AttributeError(f"module 'captioners' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
