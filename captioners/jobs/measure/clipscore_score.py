"""The scores `clipscore` and `clip_cosine`: how near a caption is to its picture, by a frozen model of two towers.

The model must have another image tower than the captioner whose captions it judges.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image
from pydantic import Field

from captioners.core.errors import ImageError, NotFoundError, UserError
from captioners.core.layers import Layer
from captioners.core.run_dir import RunDir
from captioners.data.run_pictures import RunPictures
from captioners.images.decode import MAX_PIXELS, read_image
from captioners.kinds.catalogue import find
from captioners.kinds.scorer import OpenClipScorer, open_scorer, refuse_own_tower
from captioners.metrics.alignment import CLIP_SCORE, PREFIX, clip_score, cosine
from captioners.metrics.caption_score import CaptionScore, Partial, Scoring, Values, caption_scores
from captioners.metrics.metric import Metric

if TYPE_CHECKING:
    import pyarrow

_DATACOMP = "after DataComp (Gadre et al. 2023), which filters by it; without CLIPScore's prefix and factor"


class _Clip(CaptionScore):
    """What both are told."""

    scorer: str = Field("ViT-B-32/openai", min_length=1)
    """The judge: an open_clip MODEL/TAG, MODEL@FILE, `local-dir:DIR`, `hf-hub:ORG/REPO`, or a captioner's name."""

    def ready(self, run: RunDir, layers: Iterable[Layer]) -> Scoring:
        """Open the judge, and refuse it where it would judge its own cause."""
        judged = list(layers)
        judge = open_scorer(self.scorer)
        refuse_own_tower(judge, *(Judged(layer.name, tower_of(layer, judge)) for layer in judged))
        return _Judge(judge, RunPictures(run), dict(judged[0].meaning.get("pictures") or {}), type(self).metric)


@caption_scores.register("clipscore")
class ClipScore(_Clip):
    """CLIPScore: 2.5 x the cosine of picture and "A photo depicts CAPTION", from 0 to 2.5."""

    metric: ClassVar[Metric] = CLIP_SCORE


@caption_scores.register("clip_cosine")
class ClipCosine(_Clip):
    """The cosine of picture and caption, as it stands, from -1 to 1."""

    metric: ClassVar[Metric] = Metric(
        name="clip_cosine", unit="cosine", low=-1, high=1, better="higher", source=_DATACOMP
    )


@dataclass(frozen=True)
class Judged:
    """Whose captions are judged."""

    name: str
    tower_digest: str | None


@dataclass(frozen=True)
class _Judge:
    """A judge at work on the pictures of a run."""

    model: OpenClipScorer
    pictures: RunPictures
    profile: dict[str, Any]
    """How the captioner saw the pictures: decode_profile, max_pixels."""
    metric: Metric

    @property
    def scorer(self) -> str:
        return self.model.name

    @property
    def scorer_digest(self) -> str:
        return self.model.weights_digest

    def score(self, tables: "Mapping[str, pyarrow.Table]") -> dict[str, Values]:
        """Encode each picture once for all members; one that is gone or unreadable leaves its captions undefined."""
        rows = {row["index"]: row for table in tables.values() for row in _firsts(table)}
        seen: list[int] = []
        away: set[int] = set()
        features = self.model.image_features(self._pictures(rows, seen, away))
        place = {index: at for at, index in enumerate(seen)}
        found = {member: self._of_member(table, features, place) for member, table in tables.items()}
        lacking = {member: sum(at in away for at in table["index"].to_pylist()) for member, table in tables.items()}
        return {member: Partial(of, lacking[member]) if lacking[member] else of for member, of in found.items()}

    def _of_member(self, table: "pyarrow.Table", features: Any, place: Mapping[int, int]) -> Values:
        indices, texts = table["index"].to_pylist(), table["text"].to_pylist()
        known = [at for at, index in enumerate(indices) if index in place]
        values: Values = [None] * len(texts)
        if known:
            images = features[[place[indices[at]] for at in known]]
            prefix, of = (PREFIX, clip_score) if self.metric is CLIP_SCORE else ("", cosine)
            found = of(images, self.model.text_features([prefix + texts[at] for at in known]))
            for at, value in zip(known, found.tolist(), strict=True):
                values[at] = value
        return values

    def _pictures(self, rows: Mapping[int, Any], seen: list[int], away: set[int]) -> Iterator[Image.Image]:
        profile, most = self.profile.get("decode_profile", "upright"), self.profile.get("max_pixels", MAX_PIXELS)
        for index in sorted(rows):
            try:
                picture = read_image(self.pictures.image(rows[index]), profile, most).image
            except NotFoundError:
                away.add(index)
                continue
            except ImageError:
                continue
            seen.append(index)
            yield picture


def tower_of(layer: Layer, judge: OpenClipScorer) -> str | None:
    """Return the digest of the image tower that a layer's captions were made with; None where it has no such tower.

    Raises:
        UserError: the run does not say, and its captioner is not here to be asked.
    """
    if "tower" in layer.facts:
        tower = layer.facts["tower"]
        return str(tower) if tower else None
    weights = layer.meaning.get("weights")
    if weights is None:
        return None
    if weights == judge.weights_digest:
        return judge.tower_digest
    # A run of an older version: its captioner says it, if it is still the same one. (These two load torch.)
    from captioners.kinds.loading import load
    from captioners.models.weights import weights_digest

    try:
        state = load(find(str(layer.facts.get("captioner")))).coca.model.state_dict()
    except UserError:
        state = {}
    if not state or weights_digest(state) != weights:
        raise UserError(
            f"member '{layer.name}': its run does not say whose image tower it has, and its captioner "
            f"({layer.facts.get('captioner')}) is not here to be asked; make it available, and measure again"
        )
    return weights_digest(state, "visual.")


def _firsts(table: "pyarrow.Table") -> list[dict[str, Any]]:
    """Return the first row of each sample."""
    _, first = np.unique(table["index"].to_numpy(), return_index=True)
    columns = table.select(["shard", "key", "index", "offset", "size", "image_sha256"])
    return list(columns.take(first).to_pylist())
