"""The form `webdataset`: captioned shards, which Apple's reader and trainer, webdataset and open_clip take.

OUT/00/0.tar         the run's shards under their own names: all that a sample had, its bytes untouched, in order,
                     KEY.syn.json with its captions, and in KEY.json below `cap_meta` who wrote them
OUT/00/sizes.json, OUT/00/manifest.jsonl, OUT/info.json, OUT/config.json    see `reinforcement.set_files`
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from captioners.jobs.export.captioned import CaptionedShards, Row, TarFile
from captioners.jobs.export.captions import Whole
from captioners.jobs.export.format import formats
from captioners.jobs.export.originals import Original
from captioners.reinforcement.augmentation import Augmentation, as_config
from captioners.reinforcement.set_files import CONFIG, wrapped_config


@formats.register("webdataset")
class WebdatasetFormat(CaptionedShards):
    """Captioned shards."""

    ending = "tar"

    def sample(self, original: Original, rows: Sequence[Row]) -> Whole:
        """Return the whole sample."""
        return self.composer.whole(original, rows)

    def begin(self, path: Path) -> TarFile:
        """Begin a tar."""
        return TarFile(path)

    def describe(self, manifest: Mapping[str, Any]) -> None:
        """Write what stands beside, and a configuration for training with teachers online."""
        super().describe(manifest)
        (self._folder / CONFIG).write_text(wrapped_config(as_config(Augmentation())), encoding="utf-8")
