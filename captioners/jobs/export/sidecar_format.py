"""The form `sidecar`: for each shard of the run a small tar with KEY.syn.json alone, for sets too large to copy.

`captioners.reinforcement.sidecar` reads a shard and its sidecar in step, and shows how plain webdataset does.
"""

from collections.abc import Sequence
from pathlib import Path

from captioners.jobs.export.captioned import CaptionedShards, Row, TarFile
from captioners.jobs.export.captions import Whole
from captioners.jobs.export.format import formats
from captioners.jobs.export.originals import Original


@formats.register("sidecar")
class SidecarFormat(CaptionedShards):
    """Captions beside the shards."""

    ending = "tar"

    def sample(self, original: Original, rows: Sequence[Row]) -> Whole:
        """Return the captions under the sample's own key."""
        return self.composer.beside(original, rows)

    def begin(self, path: Path) -> TarFile:
        """Begin a tar."""
        return TarFile(path)
