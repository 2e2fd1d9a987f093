"""Ablate captions: make, measure and probe what captioners, numbers and decodings give; only what is missing is done.

runs/ablate-1a2b3c/
    recipe.yaml        what is done, everything written out
    ablation.json      what was found, from the first arm on; the page and every export are made of it
    declared.json      what was declared when the first probe began
    captioners/NAME/   trainings; the captioner is `captioner/` in it
    captions/          a run of `generate`: every captioner and decoding once, as many captions as any arm takes
    captioned-DIGEST/  the same as captioned shards; reinforced-DIGEST/: with augmentations and embeddings
    teacher/           with `teachers: oracle` only
    probe/             students, arm by arm and seed by seed
    book.json          how long the parts took

A DIGEST stands for what went in: an arm that changes it gets new shards, and what was made before stays for you to
remove. The same command resumes.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from captioners.core.errors import CaptionersError, InterruptedRunError, UserError
from captioners.core.processes import alone
from captioners.core.progress import Progress
from captioners.core.recipe import resolved
from captioners.core.stopping import resumable, stoppable
from captioners.data import run_start
from captioners.jobs.ablate.book import Book
from captioners.jobs.ablate.captioners import Captioners
from captioners.jobs.ablate.captions import Maker
from captioners.jobs.ablate.layers import Batch, batch_of, batches
from captioners.jobs.recipes.ablate import AblateRecipe, Row
from captioners.report.ablation import Ablation
