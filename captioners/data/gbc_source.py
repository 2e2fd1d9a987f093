"""The source `gbc`: graph-based captions (JSON lines or Parquet), made into one text as the variants of the paper are.

A graph's root is found by its label, `image`: released graphs give it the empty id. What a program wrote (`hardcode`)
is never read.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from captioners.core.errors import UserError
from captioners.core.options import operation
from captioners.data.entries import Entry, Loaded, image_of, samples_of
from captioners.data.image_values import image_bytes
from captioners.data.inputs import find_files, gone
from captioners.data.jsonl_source import json_object
from captioners.data.line_shards import line_shards, lines_of
from captioners.data.parquet import row_group_shards, rows_of
from captioners.data.source import Sample, Shard, SourceOptions, Unreadable, sources
from captioners.data.texts import BadSampleError

Variant = Literal["short", "long", "short_relation"]
_ENDINGS = (".jpg", ".png", ".webp")


@sources.register("gbc")
class GbcOptions(SourceOptions):
    """GBC1M, GBC10M, or graphs of one's own."""

    kind: Literal["gbc"] = "gbc"
    inputs: list[str] = operation()
    """Graphs: .jsonl or .parquet files, folders of them or quoted patterns."""
    images: str = operation()
    """The pictures' folder: `img_path` in it, or its last part; without a path, the sha256 of `img_url` (.jpg ...)."""
    variant: Variant = operation("short")
    """short or long: the root's caption; short_relation: the short one, then relations, breadth first."""
    include_composition: bool = operation(False)
    """With short_relation: captions of compositions, too."""
    loops: Literal["drop", "keep"] = operation("drop")
    """A text that ends going round in circles is left out of what is joined."""
    longest: int = operation(4000, ge=1)
    """Characters of the longest text that is taken; longer ones have run away and are left out."""
    root: str | None = operation(None)
    """The folder that shard names are relative to; default: the folder that all inputs share."""

    def own_card(self) -> str | None:
        """Return GBC1M's card; say `card: gbc10m` for the larger set, which has the same licences."""
        return "gbc1m"

    def open(self) -> "GbcSource":
        """Return the source."""
        return GbcSource(self)


class GbcSource:
    """Reads graphs; see `captioners.data.source.Source`."""

    def __init__(self, options: GbcOptions) -> None:
        self._options = options
        self._files: dict[str, Path] = {}
        self._images = Path(options.images).expanduser()

    def shards(self, frozen: Sequence[Shard] = ()) -> list[Shard]:
        """Return all shards: those frozen first and unchanged, then new ones; runs of lines, or row groups."""
        files = self._find()
        if not self._images.is_dir():
            raise UserError(f"images: {self._images} is not a folder; name the one that holds the pictures")
        lines = {name: path for name, path in files.items() if path.suffix == ".jsonl"}
        groups = {name: path for name, path in files.items() if path.suffix != ".jsonl"}
        old_lines = [shard for shard in frozen if "group" not in shard.where]
        old_groups = [shard for shard in frozen if "group" in shard.where]
        found = [*line_shards(lines, old_lines), *row_group_shards(groups, old_groups)]
        # Frozen shards stay where they were, whichever format was added since.
        return [*frozen, *(shard for shard in found if shard not in frozen)]

    def samples(self, shard: Shard, start: int = 0) -> Iterator[Sample | Unreadable]:
        """Stream a shard from its graph number `start`."""
        return samples_of(shard, start, self._entries(shard))

    def image(self, shard: Shard, key: str, offset: int | None, size: int) -> bytes:  # noqa: ARG002
        """Return the bytes of one picture by its key."""
        return image_of(shard, key, self._entries(shard))

    def _find(self) -> dict[str, Path]:
        self._files = find_files(self._options.inputs, (".jsonl", ".parquet"), "graphs", self._options.root)
        return self._files

    def _entries(self, shard: Shard) -> Iterator[Entry]:
        path = (self._files or self._find()).get(shard.where["file"])
        if path is None or not path.is_file():
            raise gone(shard.where["file"])
        if "group" in shard.where:
            for number, graph in rows_of(path, shard):
                yield Entry(f"{number:08d}", f"{path.name} row {number}", partial(self._load, graph))
            return
        for number, line in lines_of(path, shard):
            yield Entry(f"{number:08d}", f"{path.name} line {number}", partial(self._load_line, line))

    def _load_line(self, line: bytes) -> Loaded:
        return self._load(json_object(line))

    def _load(self, graph: Mapping[str, Any]) -> Loaded:
        pieces = pieces_of(graph, self._options.variant, self._options.include_composition)
        fine = [
            piece
            for piece in pieces
            if len(piece) <= self._options.longest and (self._options.loops == "keep" or not runs_away(piece))
        ]
        # Relations without the image's own caption would be another variant.
        text = " ".join(fine) if fine and fine[0] == pieces[0] else ""
        meta = {name: graph[name] for name in ("img_url", "img_path", "original_caption") if graph.get(name)}
        return self._image(graph), (text,) if text else (), meta

    def _image(self, graph: Mapping[str, Any]) -> bytes:
        path, url = graph.get("img_path"), graph.get("img_url")
        if isinstance(path, str) and path:
            names = dict.fromkeys([path, PurePosixPath(path).name])
        elif isinstance(url, str) and url:
            names = dict.fromkeys(sha256(url.encode()).hexdigest() + ending for ending in _ENDINGS)
        else:
            raise BadSampleError("no_image", f"has neither img_path nor img_url; there are {', '.join(graph)}")
        for name in names:
            try:
                return image_bytes(name, "img_path", self._images)
            except BadSampleError as error:
                if error.reason != "missing":
                    raise
        searched = " or ".join(map(repr, names))
        raise BadSampleError("missing", f"the image is not there: neither {searched} is in {self._images}")


def pieces_of(graph: Mapping[str, Any], variant: Variant, include_composition: bool = False) -> list[str]:
    """Return the texts that a variant joins, the image's own first.

    Raises BadSampleError (bad_line) for what is no graph, (bad_caption) where the root has no such text.
    """
    vertices = graph.get("vertices")
    if not isinstance(vertices, list) or not all(isinstance(vertex, dict) for vertex in vertices):
        raise BadSampleError("bad_line", f"no graph: it has no list `vertices`, only {', '.join(graph)}")
    root = next((vertex for vertex in vertices if vertex.get("label") == "image"), None)
    if root is None:
        raise BadSampleError("bad_line", "a graph without a vertex of the label `image`")
    label = "detail" if variant == "long" else "short"
    own = graph.get(f"{label}_caption") or next(iter(_texts(root, (label,))), "")
    if not isinstance(own, str) or not own.strip():
        raise BadSampleError("bad_caption", f"its root has no caption `{label}`")
    if variant != "short_relation":
        return [own.strip()]
    wanted = ("relation", "composition") if include_composition else ("relation",)
    below = [text for vertex in _breadth_first(root, vertices) for text in _texts(vertex, wanted)]
    return [own.strip(), *below]


def runs_away(text: str) -> bool:
    """Whether a text ends in the same words three times over, the last of which may be cut.

    >>> runs_away("a car and a dog and a dog and a do")
    False
    >>> runs_away("a car and a dog and a dog and a dog and a do")
    True
    """
    words = text.lower().split()
    return any(
        whole[-size:] == whole[-2 * size : -size] == whole[-3 * size : -2 * size]
        for whole in (words, words[:-1])
        for size in range(1, len(whole) // 3 + 1)
    )


def _texts(vertex: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    descs = vertex.get("descs") or []
    return [d["text"].strip() for d in descs if d.get("label") in labels and str(d.get("text") or "").strip()]


def _breadth_first(root: Mapping[str, Any], vertices: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield every vertex that edges lead to from the root, nearest first, in the order of the edges."""
    by_id = {vertex.get("vertex_id"): vertex for vertex in vertices}
    waiting, seen = deque([root]), {root.get("vertex_id")}
    while waiting:
        vertex = waiting.popleft()
        yield vertex
        for edge in vertex.get("out_edges") or []:
            target = edge.get("target")
            if target in by_id and target not in seen:
                seen.add(target)
                waiting.append(by_id[target])
