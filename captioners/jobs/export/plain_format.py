"""The forms `parquet` and `jsonl`: OUT/captions-00000.parquet (or .jsonl) and so on, for DuckDB, pandas, Spark, jq."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from captioners.data.run_captions import SelectedUnit
from captioners.jobs.export.files import Files, JsonLines, ParquetFiles
from captioners.jobs.export.format import Added, Format, Task, formats
from captioners.jobs.export.sample_lines import SampleLines

if TYPE_CHECKING:
    import pyarrow


class _Plain:
    """Files of about one size and nothing beside them; each says of itself what its columns are."""

    files: ClassVar[type[Files]]

    def __init__(self, task: Task) -> None:
        self._files = self.files(task.folder, "captions", task.recipe.file_mb, len(task.resumed))

    def add(self, unit: SelectedUnit, table: "pyarrow.Table") -> Added:  # noqa: ARG002
        """Take a unit's rows."""
        return Added(finished=self._files.add(table))

    def close(self) -> dict[str, int]:
        """Finish the last file."""
        return self._files.close()

    def drop(self) -> None:
        """Let go of the last file."""
        self._files.drop()

    def describe(self, manifest: Mapping[str, Any]) -> None:
        """Write nothing: the manifest says it all."""


@formats.register("parquet")
class ParquetFormat(_Plain):
    """Parquet files."""

    files = ParquetFiles


class JsonlFormat(_Plain):
    """Files of JSON, an object a line for each caption or image."""

    files = JsonLines


@formats.register("jsonl")
def jsonl(task: Task) -> Format:
    """Return the form of rows, or of whole samples, as the recipe's `rows` says."""
    return SampleLines(task) if task.recipe.captioned else JsonlFormat(task)
