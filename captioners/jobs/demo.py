"""The first look: the packaged photos captioned by a full-size CoCa, on this machine, without a download."""

from pathlib import Path

from captioners.jobs.caption_recipe import CaptionRecipe

SAMPLES = Path(__file__).resolve().parent.parent / "samples"
_TOKENS = 12
"""Random weights never end a caption; a dozen words show the steps as well as seventy."""


def demo_recipe(captioner: str | None = None) -> CaptionRecipe:
    """Return the recipe of the demo: two sampled captions of each packaged photo.

    Without a captioner it is ViT-L/14 with random weights: the real cost, no download, words without sense.
    """
    chosen = captioner or "random-l14"
    limit = {"max_tokens": _TOKENS} if chosen.startswith("random") else {}
    return CaptionRecipe.model_validate(
        {
            "captioner": chosen,
            "inputs": [str(SAMPLES)],
            "draws": 2,
            "decoding": {"top_p": 0.9, **limit},
            "member": "demo",
        }
    )
