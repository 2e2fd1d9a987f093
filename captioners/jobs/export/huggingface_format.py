"""The form `huggingface`: a dataset directory of Parquet with its card, which `datasets.load_dataset(OUT)` reads.

Nothing is uploaded. `hf upload ORG/NAME OUT --repo-type dataset` would.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from captioners.data.run_captions import SelectedUnit
from captioners.jobs.export.card import dataset_card
from captioners.jobs.export.files import ParquetFiles
from captioners.jobs.export.format import Added, Task, formats

if TYPE_CHECKING:
    import pyarrow


@formats.register("huggingface")
class HuggingfaceFormat:
    """Parquet below data/, and README.md."""

    def __init__(self, task: Task) -> None:
        from datasets import Features, Image

        self._folder = task.folder
        self._files = ParquetFiles(task.folder / "data", "train", task.recipe.file_mb, len(task.resumed))
        features = Features.from_arrow_schema(task.schema)
        if "image" in features:
            features["image"] = Image()
        # The schema that tells `datasets` of pictures; for other readers it changes nothing.
        self._schema = features.arrow_schema

    def add(self, unit: SelectedUnit, table: "pyarrow.Table") -> Added:  # noqa: ARG002
        """Take a unit's rows."""
        return Added(finished=_below_data(self._files.add(table.cast(self._schema))))

    def close(self) -> dict[str, int]:
        """Finish the last file."""
        return _below_data(self._files.close())

    def drop(self) -> None:
        """Let go of the last file."""
        self._files.drop()

    def describe(self, manifest: Mapping[str, Any]) -> None:
        """Write the card."""
        (self._folder / "README.md").write_text(dataset_card(manifest), encoding="utf-8")


def _below_data(files: dict[str, int]) -> dict[str, int]:
    return {f"data/{name}": rows for name, rows in files.items()}
