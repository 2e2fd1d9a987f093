"""What a recipe says of captions that exist already: in which field of a sample they are, or in which Parquet file."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from captioners.core.options import operation
from captioners.decoding.values import Beam, Sample
from captioners.kinds.kind import KindOptions, kinds

if TYPE_CHECKING:
    from captioners.kinds.existing import ExistingCaptioner


@kinds.register("existing")
class ExistingOptions(KindOptions):
    """Captions that are there already become a member: ground truth, `syn_text`, somebody else's."""

    DRAWS: ClassVar[bool] = False

    kind: Literal["existing"] = "existing"
    field: str = Field("captions", min_length=1)
    """Where a caption or a list of them is: `captions` of the source, a field of its meta (`a.b` inside `a`, and
    `syn.json:syn_text` for a field of a JSON member that the source keeps); with `file`, a column of it."""
    file: str | None = None
    """A Parquet file, or a folder of them, to look captions up in; its keys and captions are held in memory."""
    key: str = Field("key", min_length=1)
    """Column of `file` that says whose caption a row is: `key` by the sample's key, any other, such as `uid`, by the
    field of that name in its meta."""
    name: str = operation("", max_length=80)
    """What the captions are called; made of field and file when absent."""

    @property
    def called(self) -> str:
        """Its name, or what its captions are read from."""
        return self.name or (f"{Path(self.file).stem}-{self.field}" if self.file else self.field)

    def accepts(self, decoding: Sample | Beam, draws: int = 1, prompt: str = "") -> str | None:  # noqa: ARG002
        """Refuse whatever would ask for other captions than are there."""
        if decoding not in (Sample(), Sample(top_p=0.9)):  # absent in a recipe is the latter
            return "kind existing decodes nothing: its captions are there already; leave the decoding out"
        if prompt:
            return "kind existing asks nothing of its captions; leave the prompt out"
        return None

    def missing(self) -> str | None:
        """Say whether the file is not there."""
        if self.file is None or "://" in self.file or Path(self.file).expanduser().exists():
            return None
        return f"file: {self.file} does not exist"

    def load(self, device: str, precision: str) -> "ExistingCaptioner":  # noqa: ARG002  # it runs nowhere
        """Return the captioner; its file is read when it is opened."""
        from captioners.kinds.existing import ExistingCaptioner

        return ExistingCaptioner(self)
