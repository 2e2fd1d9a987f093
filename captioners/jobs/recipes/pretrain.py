"""What `captioners pretrain` can be told: an architecture, a tokenizer, and how to train them from random weights."""

from typing import Annotated, Any, Literal

from pydantic import Field

from captioners.core.options import Options, operation
from captioners.core.recipe import job_recipes
from captioners.jobs.recipes.train import TrainRecipe


class Pieces(Options):
    """A SentencePiece unigram model, trained on the captions of the source."""

    vocab_size: int = Field(ge=300)
    """Ids: 4 special ones, 256 bytes, and pieces."""
    captions: int | None = Field(None, ge=1)
    """How many captions it is trained on, the first of the source; absent: all."""


class TrainedTokenizer(Options):
    """A tokenizer of the captioner's own."""

    sentencepiece: Pieces
    """How it is trained."""


class Normalisation(Options):
    """What is taken from pixels of 0..1, and what they are divided by, for red, green and blue."""

    mean: list[float] = Field(min_length=3, max_length=3)
    """Taken away."""
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=3, max_length=3)
    """Divided by."""


@job_recipes.register("pretrain")
class PretrainRecipe(TrainRecipe):
    """Train a captioner from random weights."""

    job: Literal["pretrain"] = "pretrain"
    model: str | dict[str, Any] = "coca_ViT-L-14"
    """An open_clip architecture (`coca_...`), or open_clip's model configuration written out."""
    tokenizer: Literal["clip"] | TrainedTokenizer = "clip"
    """CLIP's, or `{sentencepiece: {vocab_size: N}}`, trained on the captions; it sets the model's vocabulary."""
    normalisation: Normalisation | None = None
    """How the model is shown pixels; absent: with OpenAI's statistics of web photos, as every released CoCa."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate; after the warm-up a cosine takes it to 0."""
    weight_decay: float = Field(0.2, ge=0)
    """Of matrices; gains, biases, positions and scales are not decayed."""
    weights_licence: str = operation("unspecified", min_length=1)
    """The licence that the weights are under, for the captioner's card; those fine-tuned from it keep it."""
