"""A job's run in Python: where it is, what it wrote, and how it came out."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioners.api.looks import Gallery, Report
from captioners.core.errors import NotFoundError, UserError

if TYPE_CHECKING:
    import pyarrow

_TRAININGS = ("pretrain", "finetune")
_SUMS = ("member", "read", "captioned", "filtered", "quarantined", "captions")


@dataclass(frozen=True)
class Run:
    """What one job wrote; made by `run` and `open_run`."""

    directory: str | Path
    captions_file: Path | None = None
    """What `caption` wrote; a run of `generate` has layers instead."""
    job: str = "generate"

    @property
    def captioner(self) -> Path:
        """The captioner that a training made, for `load`.

        Raises:
            NotFoundError: it makes none, or has not made it yet.
        """
        folder = Path(self.directory) / "captioner"
        if not folder.is_dir():
            why = "the training is not finished" if self.job in _TRAININGS else f"a run of {self.job} makes none"
            raise NotFoundError(f"{self.directory}: holds no captioner, for {why}")
        return folder

    @property
    def verdict(self) -> str:
        """Whether a fine-tuning made it better, in a sentence; empty where no images were held out to tell."""
        return str(self.result().get("sentence", ""))

    def result(self) -> dict[str, Any]:
        """Return what `verdict` rests on: scores before and after with intervals, and `rows`, the test images."""
        file = Path(self.directory) / "result.json"
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else {}

    def losses(self) -> "pyarrow.Table":
        """Return a training's record: step, caption, contrastive, total, lr, grad_norm, samples_per_s."""
        return self._log("metrics.jsonl")

    def looks(self) -> "pyarrow.Table":
        """Return a training's looks at val: step, cider_d, loss, distinct, commonest, length, captions."""
        return self._log("evaluations.jsonl")

    def results(self) -> "pyarrow.Table":
        """Return what students of `probe` and `ablate` reached: arm, seed, task, value, distillation.

        Raises:
            UserError: it is a run of another job, or damaged.
        """
        import pyarrow as pa

        from captioners.jobs.ablate.folder import PROBE
        from captioners.jobs.probe.results import read

        self._only("results", "probe", "ablate")
        folder = Path(self.directory) / (PROBE if self.job == "ablate" else "")
        return pa.Table.from_pylist([vars(result) for trained in read(folder) for result in trained.results])

    def captions(self) -> "pyarrow.Table":
        """Return the captions as a table: image_sha256, draw, text, raw_text, num_tokens, logprob, finish and more.

        Of `caption` they have a path; of `generate` a shard, key, index, offset, size, member, attempt, keep and flags.

        Raises:
            UserError: it is a run of another job, or damaged.
        """
        import pyarrow as pa

        from captioners.core.run_dir import RunDir

        self._only("captions", "caption", "generate")
        if self.captions_file is None:
            return RunDir(self.directory).captions()
        names = ("path", "image_sha256", "draw", "text", "raw_text", "num_tokens", "logprob", "finish")
        types = (pa.string(), pa.string(), pa.int64(), pa.string(), pa.string(), pa.int64(), pa.float64(), pa.string())
        return pa.Table.from_pylist(_lines(self.captions_file), schema=pa.schema(list(zip(names, types, strict=True))))

    def counts(self) -> "pyarrow.Table":
        """Return for each member: samples read = captioned + filtered + quarantined; and captions, refused ones too.

        Raises:
            UserError: it is no run of `generate`, or damaged.
        """
        import pyarrow as pa

        from captioners.jobs.runs.status import status

        self._only("counts", "generate")
        members = status(str(self.directory)).members
        found = [(m.name, m.counts) for m in members]
        rows = [(name, c.read, c.captioned, c.filtered, c.quarantined, c.rows) for name, c in found]
        return pa.Table.from_pylist([dict(zip(_SUMS, row, strict=True)) for row in rows])

    def quarantine(self) -> list[dict[str, Any]]:
        """Return what could not be read: path (of `generate` shard, key, index and offset), reason, error."""
        from captioners.core.run_dir import RunDir

        if self.captions_file is not None:
            return _lines(Path(self.directory) / "quarantine.jsonl")
        if self.job in _TRAININGS:
            return _lines(Path(self.directory) / "skipped.jsonl")
        return RunDir(self.directory).quarantine()

    def report(
        self, out: str | Path | None = None, *, images: int = 200, pictures: bool = True, seed: int = 0
    ) -> Report:
        """Write the page to look at this run and return it; a notebook shows its first pictures.

        By default it is `report.html` in the run; of a training `training.html`, which is there since it was trained;
        of an ablation `ablation.html`, with all of its arms.

        Args:
            images: how many, chosen by a hash with `seed`; pictures: whether to show them beside their captions.

        Raises:
            UserError: the run has no layers (what `caption` writes has none), or `out` cannot be written.
        """
        from captioners.jobs.runs.report import report

        if self.job in _TRAININGS:
            page = Path(self.directory) / "training.html"
            return Report(str(page if out is None else shutil.copy(page, out)))
        if self.job == "ablate":
            from captioners.jobs.publish.job import publish

            return Report(str(publish(self.directory, "html", out).path))
        written = report(self.directory, out, images=images, pictures=pictures, seed=seed)
        return Report(written.path, Gallery(written.first))

    def _repr_html_(self) -> str:
        from captioners.report.gallery import table_html

        title, rows = f"{self.job}: {self.directory}", []
        if self.job == "generate" and self.captions_file is None:
            rows = [[str(value) for value in row.values()] for row in self.counts().to_pylist()]
        return table_html(title, self.verdict, _SUMS, rows)

    def _only(self, what: str, *jobs: str) -> None:
        if self.job not in jobs:
            raise UserError(f"{self.directory}: a run of {self.job} has no {what}; runs of {' and '.join(jobs)} do")

    def _log(self, name: str) -> "pyarrow.Table":
        import pyarrow as pa

        self._only(name, *_TRAININGS)
        return pa.Table.from_pylist(_lines(Path(self.directory) / name))


def open_run(directory: str | Path) -> Run:
    """Return the run that lies in a directory, by whatever command it was made; `latest` is the newest below `runs/`.

    Raises:
        NotFoundError: no run is there; near names are given.
    """
    from captioners.core import run_dir

    folder = Path(directory).expanduser()
    job = run_dir.RunDir(str(directory)).job
    if job in (*_TRAININGS, "probe", "ablate"):
        return Run(folder, job=job)
    if (folder / "captions.jsonl").is_file():
        return Run(folder, folder / "captions.jsonl", "caption")
    found = run_dir.open_run(directory)
    return Run(found.url, job=found.job)


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
