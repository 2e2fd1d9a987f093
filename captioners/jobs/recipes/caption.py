"""What `captioners caption` can be told: the recipe of one captioner over some pictures."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from captioners.core.options import Options, operation
from captioners.core.recipe import job_recipes
from captioners.decoding.values import Beam, Decoding, Sample, draws_problem

CONTEXT_NAMES = {77: 76, 128: 127, 256: 255}
"""The paper's names of context lengths -> open_clip's `text_cfg.context_length`, which doesn't count the CLS row."""


def _context(value: object) -> object:
    return CONTEXT_NAMES.get(value, value) if isinstance(value, int) and not isinstance(value, bool) else value


@job_recipes.register("caption")
class CaptionRecipe(Options):
    """Caption pictures with one captioner: every picture once, or with several draws."""

    job: Literal["caption"] = "caption"
    captioner: str = Field("coca-l14-coco", min_length=1)
    """A name (`captioners list captioners`), a captioner's directory, or an open_clip `model/tag`."""
    inputs: list[str] = operation([])
    """Pictures and folders of pictures; relative paths count from where the command runs."""
    decoding: Decoding = Beam()
    """How tokens are chosen (`captioners list decodings`)."""
    draws: int = Field(1, ge=1)
    """Captions per picture."""
    prompt: str = ""
    """Text that every caption begins with; it isn't repeated in the result."""
    context_length: Annotated[Annotated[int, Field(ge=4)] | None, BeforeValidator(_context)] = None
    """Token slots with start and end: 76, 127 or 255, or by name 77, 128, 256; the captioner's own when absent."""
    seed: int = Field(0, ge=0)
    """Run seed of all random draws."""
    member: str = ""
    """Name of this captioner in an ensemble; part of its random streams."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast on CUDA of capability 8.0 or newer, else fp32."""
    exact: bool | None = None
    """Captions and log-probabilities that don't depend on their company, bit for bit; absent: on for a CPU."""
    allow_noncommercial: bool = False
    """Allow weights whose licence forbids commercial use."""
    output: str | None = operation(None)
    """File (.jsonl) or folder of the result; `runs/` when absent."""
    device: str = operation("auto")
    """auto, cpu, cuda or cuda:N."""
    memory_gb: float | None = operation(None, gt=0)
    """Memory that the captioner may plan with, in GB; what the device has free when absent."""

    @model_validator(mode="after")
    def _fits_together(self) -> "CaptionRecipe":
        if problem := draws_problem(self.decoding, self.draws) or context_problem(self.decoding, self.context_length):
            raise ValueError(problem)
        return self


def context_problem(decoding: Sample | Beam, context_length: int | None) -> str | None:
    """Say why captions as long as this decoding's do not fit a context (token slots), or None if they do."""
    if context_length is None:
        return None
    longest = context_length - 2  # the start and the end token have slots of their own
    if decoding.max_tokens is not None and decoding.max_tokens > longest:
        asked = f"decoding.max_tokens: {decoding.max_tokens}"
    elif decoding.min_tokens > longest:
        asked = f"decoding.min_tokens: {decoding.min_tokens}"
    else:
        return None
    return f"{asked} does not fit a context of {context_length}: its longest caption is {longest} tokens"
