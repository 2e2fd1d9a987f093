"""The Python face of the package: load a captioner and caption pictures, run a recipe, look, list what there is.

import captioners
teacher = captioners.load("coca-l14-coco")
teacher.caption(["photo.jpg"], draws=5, decoding={"top_p": 0.9})
"""

from captioners.api.captioner import Captioner, load
from captioners.api.datasets import draw, samples, source
from captioners.api.lists import (
    describe,
    list_captioners,
    list_data_cards,
    list_decodings,
    list_kinds,
    list_metrics,
    list_recipes,
    list_scores,
    list_sources,
)
from captioners.api.looks import Gallery, Report, gallery
from captioners.api.measuring import measure
from captioners.api.running import run
from captioners.api.runs import Run, open_run

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
