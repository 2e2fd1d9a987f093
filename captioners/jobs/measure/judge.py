"""A frozen model of two towers at work on the pictures and captions of caption sets."""

import json
import shlex
from collections.abc import Callable, Iterator, Sequence

from PIL import Image

from captioners.core.errors import ImageError, NotFoundError, UserError
from captioners.core.storage import Place
from captioners.data.caption_sets import CaptionedImage, OpenSet
from captioners.images.decode import MAX_PIXELS, read_image
from captioners.jobs.measure.clipscore_score import Judged, tower_of
from captioners.jobs.measure.gauge import Numbers
from captioners.kinds.scorer import OpenClipScorer, open_scorer, refuse_own_tower

ABSENT = "judge.json"
"""In a run that lies somewhere without its pictures: what judged them, {"name": ..., "digest": ...}; nothing more can
be judged there."""


class Judge:
    """The model, opened."""

    def __init__(self, name: str, sets: Sequence[OpenSet]) -> None:
        """Open it.

        Raises:
            UserError: it cannot be had here, or has the image tower of a captioner whose captions it would judge.
        """
        self._model: OpenClipScorer | None = None
        place = sets[0].runs[sets[0].first].place
        if place.exists(ABSENT):
            self.name, self.digest = _told(place)
            if name != self.name:
                raise UserError(
                    f"--clip {name}: this copy of the run came without its pictures, and they were judged by "
                    f"{self.name}; say --clip {shlex.quote(self.name)}, or measure where the pictures are"
                )
            return
        self._model = open_scorer(name)
        layers = {layer.fingerprint: layer for one in sets for layer in one.layers}
        refuse_own_tower(self._model, *(Judged(layer.name, tower_of(layer, self._model)) for layer in layers.values()))
        self.name, self.digest = name, self._model.weights_digest

    @property
    def blind(self) -> bool:
        """Whether it came without its model: what it measured before is all there is."""
        return self._model is None

    @property
    def _opened(self) -> OpenClipScorer:
        if self._model is None:
            raise UserError(
                f"{self.name}: this copy of the run came without its pictures, and what they were judged by is not all "
                "in it; measure where the pictures are"
            )
        return self._model

    def texts(self, texts: Sequence[str]) -> Callable[[Sequence[str]], Numbers]:
        """Encode texts, each once, and return what gives the features [B, D] of some of them."""
        places = {text: at for at, text in enumerate(dict.fromkeys(texts))}
        features = self._opened.text_features(list(places))
        return lambda some: features[[places[text] for text in some]]

    def pictures(self, images: Sequence[CaptionedImage], opened: OpenSet) -> tuple[list[CaptionedImage], Numbers, int]:
        """Return those images whose pictures can be read, their features [B, D], and how many pictures are away."""
        seen: list[CaptionedImage] = []
        away: list[CaptionedImage] = []
        features = self._opened.image_features(_read(images, opened, seen, away))
        return seen, features, len(away)


def _told(place: Place) -> tuple[str, str]:
    """Return the name and the digest of the absent judge."""
    try:
        told = json.loads(place.read(ABSENT))
        return str(told["name"]), str(told["digest"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{place.at(ABSENT)}: does not say what judged the pictures; copy the run again") from None


def _read(
    images: Sequence[CaptionedImage], opened: OpenSet, seen: list[CaptionedImage], away: list[CaptionedImage]
) -> Iterator[Image.Image]:
    """Yield pictures as the captioner saw them, and note which images they are of, and which are not there."""
    profile = opened.layers[0].meaning.get("pictures") or {}
    for image in images:
        row = {name: getattr(image, name) for name in ("shard", "key", "offset", "size", "image_sha256")}
        try:
            data = opened.pictures.image(row)
            picture = read_image(
                data, profile.get("decode_profile", "upright"), profile.get("max_pixels", MAX_PIXELS)
            ).image
        except NotFoundError:
            away.append(image)
            continue
        except ImageError:
            continue
        seen.append(image)
        yield picture
