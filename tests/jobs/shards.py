"""Small tar shards for the tests of `generate`, and what a run over them holds."""

import io
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from captioners.core.run_dir import RunDir
from captioners.data.tar import TarWriter


def picture(number, size=16):
    """The bytes of a small PNG that is another for each number."""
    pixels = np.random.Generator(np.random.PCG64(number)).integers(0, 256, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_shards(folder, shards=3, samples=5, first=0, broken=()):
    """Write `shards` tars of `samples` pictures; the samples numbered in `broken` are no pictures."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(first, first + shards):
        with TarWriter(folder / f"{shard:05d}.tar") as tar:
            for index in range(samples):
                number = shard * samples + index
                data = b"not a picture" if number in broken else picture(number)
                tar.add(f"{number:06d}", {"png": data, "txt": b"alt text"})
    return folder


def content(run):
    """(layer, shard, part) -> content digest and the hash of the file's bytes, which is computed anew."""
    run = RunDir(run)
    found = {}
    for entry in run.entries():
        data = run.place.read(entry.file) if entry.file else b""
        assert not entry.file or sha256(data).hexdigest() == entry.file_sha256
        found[entry.layer, entry.shard, entry.part] = entry.digest, sha256(data).hexdigest()
    return found


def sums(run):
    """Check both sums of every unit; return layer -> Counts."""
    run = RunDir(run)
    draws = {layer.name: layer.draws for layer in run.layers()}
    total = {}
    for entry in run.entries():
        assert entry.counts.problem(draws[entry.layer]) is None
        rows = run.rows(entry).to_pylist()
        assert len(rows) == entry.counts.rows
        assert len({(row["index"], row["draw"]) for row in rows}) == len(rows)
        total[entry.layer] = total[entry.layer] + entry.counts if entry.layer in total else entry.counts
    return total


def orphans(run):
    """Files of a run that no entry names."""
    run = RunDir(run)
    named = {name for entry in run.ledger.entries() for name in (entry.file, entry.quarantine_file)}
    files = [*run.place.names("layers"), *run.place.names("quarantine")]
    return [name for name in files if name not in named and not name.endswith("layer.json")]
