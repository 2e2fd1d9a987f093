"""A captioner in Python: load it by name or directory, and caption pictures with it."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from captioners.core.seeds import Stream
from captioners.decoding.values import Beam, Sample, parse_decoding
from captioners.kinds.captioner import Request, Result

if TYPE_CHECKING:
    from captioners.kinds.coca import CocaCaptioner

Picture = str | Path | bytes | Image.Image


class Captioner:
    """A loaded captioner; made by `load`."""

    def __init__(self, kind: "CocaCaptioner") -> None:
        self._kind = kind

    @property
    def card(self) -> dict[str, Any]:
        """What it is: name, kind, digests, licences, context, size, grade, recommended decoding."""
        return {**asdict(self._kind.info), "recommended_decoding": self.recommended_decoding.model_dump()}

    @property
    def recommended_decoding(self) -> Sample | Beam:
        """What its card advises; used when nothing else is said."""
        return self._kind.recommended_decoding

    def caption(
        self,
        images: Picture | Iterable[Picture],
        draws: int = 1,
        decoding: Any = None,
        *,
        seed: int = 0,
        prompt: str = "",
    ) -> list[list[Result]]:
        """Caption pictures; returns [B][draws] results in the order of the images.

        Args:
            images: paths, the bytes of picture files, or PIL images, one or several; read lazily.
            draws: captions an image.
            decoding: a value, a short form (`{"top_p": 0.9}`) or a name; the recommended one if None (nucleus
                sampling with top_p 0.9 for several draws).
            seed: the run seed of random draws; prompt: text that captions begin with.

        Raises:
            UserError: a picture cannot be read (ImageError), or the captioner cannot decode so.
        """
        several = [images] if isinstance(images, str | Path | bytes | Image.Image) else images
        chosen = parse_decoding(decoding) if decoding is not None else self._default(draws)
        found: dict[int, dict[int, Result]] = {}
        for result in self._kind.caption(self._requests(several, draws, chosen, seed, prompt)):
            found.setdefault(result.index, {})[result.draw] = result
        return [[found[index][draw] for draw in sorted(found[index])] for index in sorted(found)]

    def _default(self, draws: int) -> Sample | Beam:
        recommended = self.recommended_decoding
        return Sample(top_p=0.9) if draws > 1 and isinstance(recommended, Beam) else recommended

    @staticmethod
    def _requests(
        images: Iterable[Picture], draws: int, decoding: Sample | Beam, seed: int, prompt: str
    ) -> Iterator[Request]:
        from captioners.images.decode import read_image, sha256_of

        for index, image in enumerate(images):
            if isinstance(image, Image.Image):
                rgb = image.convert("RGB")
                digest = sha256_of(rgb.tobytes())
            else:
                picture = read_image(image)
                rgb, digest = picture.image, picture.sha256
            yield Request(
                index=index, image=rgb, stream=Stream(seed, digest), draws=draws, decoding=decoding, prompt=prompt
            )


def load(
    name_or_dir: str | Path, *, precision: str = "auto", exact: bool | None = None, device: str = "auto"
) -> Captioner:
    """Load and open a captioner: a name (`list_captioners`), a directory, an open_clip MODEL/TAG, MODEL@FILE.

    Raises:
        NotFoundError: no such captioner. UserError: its weights cannot be had or do not fit; memory is too small.
    """
    from captioners.kinds.coca import CocaCaptioner

    kind = CocaCaptioner(str(name_or_dir), precision=precision, exact=exact, device=device)
    kind.open()
    return Captioner(kind)
