"""Caption pictures with one captioner: read, decode, write a line per caption, account for every picture."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from PIL import Image

from captioners.core.errors import ImageError, NotFoundError, UserError
from captioners.core.options import meaning_of
from captioners.core.recipe import resolved
from captioners.core.seeds import Stream
from captioners.images.decode import Picture, list_images, read_image
from captioners.jobs.recipes.caption import CaptionRecipe
from captioners.kinds.captioner import Request, Result
from captioners.kinds.catalogue import find

if TYPE_CHECKING:
    from captioners.kinds.coca import CocaCaptioner

_GB = 10**9


@dataclass(frozen=True)
class Captioned:
    """One picture with all its captions."""

    path: str
    sha256: str
    results: tuple[Result, ...]
    """In draw order."""


@dataclass
class CaptionRun:
    """What a run did: sums that balance, and where things lie."""

    directory: Path
    captions: Path
    read: int = 0
    captioned: int = 0
    quarantined: list[dict[str, str]] = field(default_factory=list)
    rows: int = 0
    cut: int = 0
    """Captions the length limit ended."""
    sentences_cut: int = 0
    """Captions of which only the first sentence was kept (the `raygen` preset)."""
    seconds: float = 0.0
    loading_s: float = 0.0
    info: dict[str, Any] = field(default_factory=dict)


def find_pictures(inputs: list[str]) -> list[Path]:
    """Return the pictures under the given files and folders, in order, each once.

    Raises:
        NotFoundError: a path does not exist, or there is no picture at all.
    """
    found: dict[Path, None] = {}
    for given in inputs:
        found.update(dict.fromkeys(list_images(Path(given).expanduser())))
    if not found:
        what = ", ".join(inputs) if inputs else "nothing was given"
        raise NotFoundError(f"no pictures to caption ({what}); give photos, or a folder of them")
    return list(found)


def check_licence(recipe: CaptionRecipe) -> None:
    """Raise UserError if the licence forbids commercial use and the recipe does not allow that (design promise 7)."""
    refused = find(recipe.captioner).refusal(recipe.allow_noncommercial)
    if refused:
        raise UserError(refused)


def load_captioner(recipe: CaptionRecipe) -> "CocaCaptioner":
    """Load and open the recipe's captioner, having asked whether it can do what the recipe wants."""
    check_licence(recipe)
    from captioners.kinds.coca import CocaCaptioner

    captioner = CocaCaptioner(
        recipe.captioner,
        precision=recipe.precision,
        exact=recipe.exact,
        device=recipe.device,
        context_length=recipe.context_length,
    )
    problem = captioner.accepts(recipe.decoding, recipe.draws, recipe.prompt)
    if problem:
        raise UserError(problem)
    captioner.open(int(recipe.memory_gb * _GB) if recipe.memory_gb else None)
    return captioner


def caption(recipe: CaptionRecipe, show: Callable[[Captioned], None] = lambda _: None) -> CaptionRun:
    """Caption the recipe's inputs; `show` is called for each picture as its last caption ends, in input order.

    A picture that cannot be read is quarantined with its reason and does not stop the others. What is written stays.

    Raises:
        UserError: a mistake in the recipe, or not one picture could be read.
    """
    pictures = find_pictures(recipe.inputs)
    run = _new_run(recipe, pictures)
    start = time.perf_counter()
    captioner = load_captioner(recipe)
    run.loading_s = time.perf_counter() - start
    part = run.captions.with_name(run.captions.name + ".part")
    start = time.perf_counter()
    with (
        part.open("w", encoding="utf-8") as out,
        (run.directory / "quarantine.jsonl").open("w", encoding="utf-8") as bad,
    ):
        for done in _in_order(captioner, recipe, pictures, run, bad):
            _write(out, recipe, done, run)
            show(done)
    run.seconds = time.perf_counter() - start
    captioner.close()
    part.replace(run.captions)
    run.info = {
        "captioner": captioner.info.name,
        "weights_digest": captioner.info.weights_digest,
        "grade": captioner.info.grade,
    }
    if captioner.info.warning:
        run.info["warning"] = captioner.info.warning
    _write_summary(recipe, run)
    if not run.captioned:
        first = run.quarantined[0]["error"]
        raise UserError(
            first if len(pictures) == 1 else f"none of {len(pictures)} pictures could be read; the first: {first}"
        )
    return run


def _in_order(
    captioner: "CocaCaptioner", recipe: CaptionRecipe, pictures: list[Path], run: CaptionRun, bad: TextIO
) -> Iterator[Captioned]:
    """Yield pictures in input order, each when its last caption ended; they are read as the engine asks for them."""
    streams: dict[int, tuple[str, Stream]] = {}
    skipped: set[int] = set()

    def requests() -> Iterator[Request]:
        for index, path in enumerate(pictures):
            run.read += 1
            try:
                picture = read_image(path)
                image = _fitted(captioner, picture)
            except ImageError as error:
                record = {"path": str(path), "reason": error.reason, "error": str(error)}
                run.quarantined.append(record)
                bad.write(json.dumps(record) + "\n")
                bad.flush()
                skipped.add(index)
                continue
            stream = Stream(recipe.seed, picture.sha256, recipe.member)
            streams[index] = (str(path), stream)
            yield Request(
                index=index,
                image=image,
                stream=stream,
                draws=recipe.draws,
                decoding=recipe.decoding,
                prompt=recipe.prompt,
            )

    waiting: dict[int, dict[int, Result]] = {}
    at = 0
    for result in captioner.caption(requests()):
        waiting.setdefault(result.index, {})[result.draw] = result
        while at in skipped or len(waiting.get(at, ())) == recipe.draws:
            if at not in skipped:
                results = waiting.pop(at)
                path, stream = streams.pop(at)
                yield Captioned(path, stream.image_sha256, tuple(results[draw] for draw in sorted(results)))
            at += 1
    if waiting:
        raise AssertionError(f"{len(waiting)} pictures did not get all their captions")


def _fitted(captioner: "CocaCaptioner", picture: Picture) -> Image.Image:
    try:
        return captioner.preprocess.fit(picture.image)
    except ImageError as error:
        raise ImageError(f"{picture.source}: {error}", error.reason) from None


def _write(out: TextIO, recipe: CaptionRecipe, done: Captioned, run: CaptionRun) -> None:
    run.captioned += 1
    for result in done.results:
        run.rows += 1
        run.cut += result.finish == "length"
        if recipe.decoding.cut and result.raw_text is not None:
            run.sentences_cut += "." in result.raw_text
        row = {
            "path": done.path,
            "image_sha256": done.sha256,
            "draw": result.draw,
            "text": result.text,
            "raw_text": result.raw_text,
            "num_tokens": result.num_tokens,
            "logprob": result.logprob,
            "finish": result.finish,
        }
        out.write(json.dumps(row, ensure_ascii=False) + "\n")
    out.flush()


def _new_run(recipe: CaptionRecipe, pictures: list[Path]) -> CaptionRun:
    """Make the run's directory with the resolved recipe in it; the same job over the same inputs has the same name."""
    asked = json.dumps([meaning_of(recipe), [str(path) for path in pictures]], sort_keys=True)
    name = f"caption-{hashlib.sha256(asked.encode()).hexdigest()[:6]}"
    output = Path(recipe.output).expanduser() if recipe.output else None
    to_file = output is not None and output.suffix == ".jsonl"
    directory = Path("runs") / name if output is None or to_file else output
    captions = output if output is not None and to_file else directory / "captions.jsonl"
    for folder in (directory, captions.parent):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise UserError(
                f"output {folder}: a file stands where a folder is needed; choose another output="
            ) from None
        except PermissionError:
            raise UserError(f"output {folder}: may not be written; choose another output=") from None
    (directory / "recipe.yaml").write_text(resolved(recipe), encoding="utf-8")
    if directory.parent.name == "runs":
        latest = directory.parent / "latest"
        with suppress(OSError):  # a convenience; some file systems have no links
            part = directory.parent / f".latest.{os.getpid()}"
            part.symlink_to(directory.name)
            part.replace(latest)
    return CaptionRun(directory, captions)


def _write_summary(recipe: CaptionRecipe, run: CaptionRun) -> None:
    """Write counts and provenance beside the captions."""
    import torch

    from captioners import __version__

    summary = {
        "pictures_read": run.read,
        "captioned": run.captioned,
        "quarantined": len(run.quarantined),
        "rows": run.rows,
        "cut_by_length": run.cut,
        "sentences_cut": run.sentences_cut,
        "seconds": round(run.seconds, 3),
        **run.info,
        "captioners": __version__,
        "torch": torch.__version__,
        "seed": recipe.seed,
    }
    (run.directory / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
