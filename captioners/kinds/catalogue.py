"""Which captioners have a name, and what a CAPTIONER argument means. Torch-free; nothing is loaded or downloaded here.

A captioner is given as a name of this catalogue, the directory of one, `local-dir:DIR`, `hf-hub:ORG/REPO`, an open_clip
`MODEL/TAG`, `MODEL@FILE` (plain weights and the architecture they fit), or `random:MODEL` (to try things).
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from captioners.core.errors import NotFoundError, near

CONFIG = "open_clip_config.json"
"""What makes a folder a captioner's directory."""

OriginKind = Literal["random", "directory", "hub", "tag", "file"]


@dataclass(frozen=True)
class Origin:
    """Where a captioner's weights come from."""

    kind: OriginKind
    where: str
    """The directory, hub repository or weights file; empty for a tag or random weights."""
    model: str = ""
    """open_clip's architecture name, where the weights do not say it."""
    tag: str = ""


@dataclass(frozen=True)
class KnownCaptioner:
    """A captioner that can be asked for, and what is known of it before it is loaded."""

    name: str
    origin: Origin
    about: str
    licences: dict[str, str] = field(default_factory=dict)
    """What of it -> its licence; "unknown" is a value, not a refusal."""
    noncommercial: bool = False
    """Whether its licence forbids commercial use, so that `allow_noncommercial: true` is needed."""
    size: str = ""
    """What `fetch` downloads."""

    def refusal(self, allow_noncommercial: bool) -> str | None:
        """Say why its licence forbids the use, or None: non-commercial ones have to be allowed (design promise 7)."""
        if not self.noncommercial or allow_noncommercial:
            return None
        licence = self.licences.get("weights", "see its card")
        return (
            f"captioner {self.name} has a non-commercial licence ({licence}); "
            "say `allow_noncommercial=true` if your use allows that"
        )


_LAION = {"weights": "MIT", "training data": "LAION-2B (links; images under their own licences)"}
_COCO = {**_LAION, "fine-tuning data": "MSCOCO captions CC BY 4.0, images under Flickr terms"}
_APPLE = {
    "weights": "Apple Machine Learning Research Model License (research only)",
    "training data": "DFN-2B (Apple Sample Code License)",
}
_NONE = {"weights": "Apache-2.0"}
_UNKNOWN = {"weights": "unknown"}
_FINE, _BASE = "mscoco_finetuned_laion2b_s13b_b90k", "laion2b_s13b_b90k"


_APPLE_TUNED = {
    "context77": "pretrained on DFN-2B",
    "mscoco38k_s12m_context77": "fine-tuned on MSCOCO-38k",
    **{
        f"{data}_s12m_context{rows}": f"fine-tuned on {called}, context of {rows} rows"
        for data, called in (
            ("docci", "DOCCI"),
            ("dci-short", "DCI's short captions"),
            ("dci-extended", "DCI's extended captions"),
            ("dci-complete", "DCI's complete captions"),
            ("recap-coco-30k", "ReCap-COCO-30k"),
        )
        for rows in (77, 128, 256)
    },
    "gbc1m-short_context77": "fine-tuned on GBC1M's short captions",
    "gbc1m-long_context256": "fine-tuned on GBC1M's long captions",
    "gbc10m-long_context256": "fine-tuned on GBC10M's long captions",
    "gbc10m-short-relation_context256": "fine-tuned on GBC10M's short and relation captions",
}
"""What Apple has published of its teacher: the end of the repository's name, and what it is."""


def _apple(tuned: str, what: str) -> KnownCaptioner:
    return KnownCaptioner(
        f"apple-coca-{tuned.replace('_', '-')}",
        Origin("hub", f"apple/mobileclip2_coca_dfn2b_s13b_{tuned}"),
        f"Apple's MobileCLIP2 teacher, {what} (arXiv 2508.20691)",
        _APPLE,
        noncommercial=True,
        size="2.6 GB",
    )


def _tag(name: str, model: str, tag: str, about: str, size: str) -> KnownCaptioner:
    return KnownCaptioner(name, Origin("tag", "", model, tag), about, _COCO if tag == _FINE else _LAION, size=size)


def _random(name: str, model: str, about: str) -> KnownCaptioner:
    return KnownCaptioner(name, Origin("random", "", model), about, _NONE)


_CATALOGUE = (
    _tag(
        "coca-l14-coco",
        "coca_ViT-L-14",
        _FINE,
        "CoCa ViT-L/14 of LAION, fine-tuned on MSCOCO captions: the default",
        "2.6 GB",
    ),
    _tag(
        "coca-l14-laion",
        "coca_ViT-L-14",
        _BASE,
        "the same before fine-tuning: captions in the manner of alt text",
        "2.6 GB",
    ),
    _tag(
        "coca-b32-coco",
        "coca_ViT-B-32",
        _FINE,
        "CoCa ViT-B/32 of LAION, fine-tuned on MSCOCO captions: smaller, weaker",
        "1.0 GB",
    ),
    _tag("coca-b32-laion", "coca_ViT-B-32", _BASE, "the same before fine-tuning", "1.0 GB"),
    *(_apple(tuned, what) for tuned, what in _APPLE_TUNED.items()),
    _random(
        "random-l14",
        "coca_ViT-L-14",
        "CoCa ViT-L/14 with random weights: words without sense at the real cost, no download",
    ),
    _random("random-b32", "coca_ViT-B-32", "the same at ViT-B/32 size"),
    KnownCaptioner(
        "demo",
        Origin("directory", str(Path(__file__).resolve().parent.parent / "demo_captioner")),
        "a CoCa of 1.2 million parameters that ships with the package: knows only drawn scenes",
        {"weights": "Apache-2.0", "training data": "Apache-2.0 (drawn world, version 1)"},
    ),
    _random("random-tiny", "tiny", "a CoCa of two narrow layers with random weights: for tests, instant"),
)

TINY: dict[str, object] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8,
        "attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 16, "output_tokens": True,
    },
    "text_cfg": {
        "context_length": 76, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2,
        "embed_cls": True, "output_tokens": True,
    },
    "multimodal_cfg": {"context_length": 76, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    "custom_text": True,
}  # fmt: skip
"""The configuration of `random:tiny`."""


def known_captioners() -> list[KnownCaptioner]:
    """Return the catalogue, the default captioner first."""
    return list(_CATALOGUE)


def find(captioner: str) -> KnownCaptioner:
    """Return what a CAPTIONER argument means.

    Raises:
        NotFoundError: it is none of the forms this module knows; near names are given.
    """
    named = {known.name: known for known in _CATALOGUE}
    if captioner in named:
        return named[captioner]
    path = Path(captioner).expanduser()
    meant = _by_form(captioner) or (_directory(captioner) if path.is_dir() else None)
    if meant is not None:
        return meant
    if path.is_file():
        raise NotFoundError(
            f"captioner {captioner}: weights alone do not say their architecture; write MODEL@FILE, "
            f"such as coca_ViT-L-14@{captioner}"
        )
    raise NotFoundError(
        f"no captioner is named '{captioner}', and no directory is there.{near(captioner, named)} "
        "`captioners list captioners` shows all"
    )


def _by_form(captioner: str) -> KnownCaptioner | None:
    """Return what the writing alone says, or None if it is no form but a name."""
    scheme, _, rest = captioner.partition(":")
    if scheme == "random" and rest:
        return KnownCaptioner(captioner, Origin("random", "", rest), "random weights", _NONE)
    if scheme == "hf-hub" and rest:
        return KnownCaptioner(captioner, Origin("hub", rest), "from the Hugging Face hub", _UNKNOWN, "apple/" in rest)
    if scheme == "local-dir" and rest:
        return _directory(rest)
    model, at, file = captioner.partition("@")
    if at and model.lower().startswith("coca_"):
        return KnownCaptioner(Path(file).stem, Origin("file", file, model), "a weights file", _UNKNOWN)
    model, slash, tag = captioner.partition("/")
    if slash and model.lower().startswith("coca_") and not Path(captioner).is_dir():
        return KnownCaptioner(captioner, Origin("tag", "", model, tag), "an open_clip tag", _UNKNOWN)
    return None


def _directory(path: str) -> KnownCaptioner:
    """Return the captioner in a directory, or in the directory of the training run that made it."""
    folder = Path(path).expanduser()
    if not (folder / CONFIG).is_file() and (folder / "captioner" / CONFIG).is_file():
        folder, path = folder / "captioner", str(Path(path) / "captioner")
    card = _card_of(folder)
    name = card.get("name")
    called = name if isinstance(name, str) and name else folder.resolve().name
    # A card that forbids commercial use forbids it wherever the directory was carried (design promise 7).
    return KnownCaptioner(
        called, Origin("directory", path), "a directory", _licences_of(card), card.get("commercial_use") == "no"
    )


def _card_of(folder: Path) -> dict[str, Any]:
    """Return a directory's card; what is wrong with one is told when it is loaded."""
    try:
        card = json.loads((folder / "captioner.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _licences_of(card: dict[str, Any]) -> dict[str, str]:
    licences = card.get("licences")
    return {str(k): str(v) for k, v in licences.items()} if isinstance(licences, dict) and licences else _UNKNOWN
