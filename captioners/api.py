"""The Python face of the package: load a captioner and caption pictures, run a recipe, list what there is.

import captioners
teacher = captioners.load("coca-l14-coco")
teacher.caption(["photo.jpg"], draws=5, decoding={"top_p": 0.9})
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from captioners.core.errors import UserError
from captioners.core.seeds import Stream
from captioners.decoding.values import Beam, Sample, decoding_names, parse_decoding
from captioners.kinds.captioner import Request, Result

if TYPE_CHECKING:
    import pyarrow

    from captioners.jobs.caption.job import CaptionRun
    from captioners.jobs.measure.cells import MeasureTable
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


@dataclass(frozen=True)
class Run:
    """A finished job and what it wrote."""

    directory: str | Path
    captions_file: Path | None = None
    """What `caption` wrote; a run of `generate` has layers instead."""

    def captions(self) -> "pyarrow.Table":
        """Return the captions as a table: image_sha256, draw, text, raw_text, num_tokens, logprob, finish and more.

        Of `caption` they have a path; of `generate` a shard, key, index, offset, size, member, attempt, keep and flags.
        """
        import pyarrow as pa

        from captioners.core.run_dir import RunDir

        if self.captions_file is None:
            return RunDir(self.directory).captions()
        rows = [_json(line) for line in self.captions_file.read_text(encoding="utf-8").splitlines()]
        names = ("path", "image_sha256", "draw", "text", "raw_text", "num_tokens", "logprob", "finish")
        types = (pa.string(), pa.string(), pa.int64(), pa.string(), pa.string(), pa.int64(), pa.float64(), pa.string())
        return pa.Table.from_pylist(rows, schema=pa.schema(list(zip(names, types, strict=True))))

    def quarantine(self) -> list[dict[str, Any]]:
        """Return what could not be read: path (of `generate` shard, key, index and offset), reason, error."""
        from captioners.core.run_dir import RunDir

        if self.captions_file is None:
            return RunDir(self.directory).quarantine()
        file = Path(self.directory) / "quarantine.jsonl"
        return [_json(line) for line in file.read_text(encoding="utf-8").splitlines()]

    def report(self, out: str | Path | None = None, *, images: int = 200, pictures: bool = True, seed: int = 0) -> str:
        """Write the page to look at this run and return where it is; default: `report.html` in the run.

        Args:
            images: how many, chosen by a hash with `seed`; pictures: whether to show them beside their captions.

        Raises:
            UserError: the run has no layers (what `caption` writes has none), or `out` cannot be written.
        """
        from captioners.jobs.runs.report import report

        return report(self.directory, out, images=images, pictures=pictures, seed=seed).path


def _json(line: str) -> Any:
    import json

    return json.loads(line)


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


def run(recipe: str | Path, **overrides: Any) -> Run:
    """Run a recipe, given by path or packaged name, with overrides as keywords (`draws=5`, `decoding={"top_p": 0.9}`).

    A recipe of `generate` goes on where its run stopped, as the command does.

    Raises:
        RecipeError: all mistakes of the recipe at once. UserError: a recipe of a job that is not run from here.
        NeedsLookError, InterruptedRunError: as the command ends with 2 and 75.
    """
    import json

    from captioners.core.recipe import read_recipe
    from captioners.jobs.recipes.caption import CaptionRecipe
    from captioners.jobs.recipes.generate import GenerateRecipe

    found = read_recipe(recipe, [f"{key}={json.dumps(value)}" for key, value in overrides.items()])
    if isinstance(found.options, CaptionRecipe):
        from captioners.jobs.caption.job import caption

        done: CaptionRun = caption(found.options)
        return Run(done.directory, done.captions)
    if isinstance(found.options, GenerateRecipe):
        from captioners.jobs.generate.job import generate

        return Run(generate(found.options, name=found.path.stem).directory)
    raise UserError(f"{recipe} is a recipe of the job '{found.job}'; run it with 'captioners {found.job} {recipe}'")


def measure(
    runs: "str | Path | Run | Sequence[str | Path | Run]",
    *,
    references: str | None = None,
    clip: str | None = None,
    all_metrics: bool = False,
    common: bool = False,
    seed: int = 0,
    workers: int = 1,
) -> "MeasureTable":
    """Lay the caption sets of runs side by side: each member, and all members of a run together.

    Args:
        runs: one or several, by directory, by name under `runs/`, or as `run` returned them.
        references: what people wrote: a path, a source as in a recipe, or `own`, what came with the run's images.
        clip: a frozen judge of pictures and captions, such as `ViT-B-32/openai`.
        all_metrics: every metric, not the short table. common: measure the images that all sets have.
        seed: of subsets and resamples. workers: processes.

    Raises:
        NotFoundError: no such run. UserError: sets of different images; a judge of its own cause.
    """
    from captioners.jobs.measure.quick import measure_runs
    from captioners.jobs.recipes.measure import MeasureOptions

    several = [runs] if isinstance(runs, str | Path | Run) else runs
    names = [str(one.directory if isinstance(one, Run) else one) for one in several]
    options = MeasureOptions(
        references=references, clip=clip, all_metrics=all_metrics, common=common, seed=seed, workers=workers
    )
    return measure_runs(names, options)


def list_captioners() -> list[str]:
    """Return the names that `load` knows besides directories and tags."""
    from captioners.kinds.catalogue import known_captioners

    return [known.name for known in known_captioners()]


def list_decodings() -> list[str]:
    """Return the decoding names: strategies, short forms, presets."""
    return decoding_names()


def list_recipes() -> Sequence[str]:
    """Return the packaged recipes' names."""
    from captioners.core.package_data import recipe_names

    return recipe_names()
