"""Make the ledger of a large run (segments, and the last units as small files) and time `captioners status` on it."""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from captioners.core.layers import Layer, claim
from captioners.core.ledger import Counts, Entry, Ledger
from captioners.core.run_dir import RunDir
from captioners.core.segments import Segments
from captioners.jobs.runs.status import status

ACTIVITIES = ("waiting", "encoding", "decoding", "writing")


def make(folder, shards, members, small, per_segment=5000, samples=1000):
    """Write the run: the last `small` units as files of their own, the last two shards of each member undone."""
    run = RunDir(folder)
    run.begin({"unit_samples": samples, "source": {}, "seed": 0})
    run.write_recipe("job: generate\n")
    run.freeze(
        [{"path": f"{n // 1000:04d}/{n:08d}.tar", "count": samples, "size": 1, "stamp": ""} for n in range(shards)]
    )
    layers = [Layer(name=f"member-{n}", draws=1, meaning={"weights": str(n)}, facts={}) for n in range(members)]
    for layer in layers:
        claim(run.place, layer)
    draw = np.random.Generator(np.random.PCG64(0))
    units = [(layer, shard) for shard in range(shards - 2) for layer in layers]
    segments = Segments(run.place)
    rolled = units[: len(units) - small]
    for start in range(0, len(rolled), per_segment):
        chosen = rolled[start : start + per_segment]
        texts = [
            (Ledger.name(e.layer, e.shard, 0), json.dumps(asdict(e))) for e in entries(chosen, start, samples, draw)
        ]
        segments.refresh()
        assert segments.add(texts)
    for entry in entries(units[len(rolled) :], len(rolled), samples, draw):
        assert run.ledger.commit(entry)


def entries(units, first, samples, draw):
    """Return entries as a run writes them: a sample in a hundred shards unreadable, flags, random digests."""
    spent = draw.random((len(units), 4)) * 60
    found = []
    for number, (layer, shard) in enumerate(units):
        at = first + number
        digest, bad = hashlib.sha256(str(at).encode()).hexdigest(), int(shard % 100 == 0)
        path = f"{shard // 1000:04d}/{shard:08d}.tar"
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(1.7e9 + at // 20))
        found.append(
            Entry(
                layer=layer.name, fingerprint=layer.fingerprint, shard=path, part=0, start=0, stop=samples, last=True,
                counts=Counts(read=samples, captioned=samples - bad, quarantined=bad, rows=samples - bad),
                file=f"layers/{layer.name}/{digest[:8]}.parquet", digest=digest, file_sha256=digest[::-1],
                reasons={"truncated": bad} if bad else {}, flags={"truncated": 7}, kept=samples - bad - 3,
                seconds=dict(zip(ACTIVITIES, spent[number].round(3).tolist(), strict=True)), finished=stamp,
                environment={"torch": "2.9", "device": "a GPU", "dtype": "bfloat16"}, worker=f"node-{at % 64}-0",
            )
        )  # fmt: skip
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=200_000)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--small", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        make(folder, options.shards, options.members, options.small)
        size = sum(path.stat().st_size for path in Path(folder, "segments").iterdir())
        made = time.perf_counter() - began
        print(f"{options.shards * options.members:,} units in {made:.0f} s; segments {size / 1e6:.0f} MB", flush=True)
        began, used = time.perf_counter(), time.process_time()
        found = status(folder)
        took, used = time.perf_counter() - began, time.process_time() - used
        print(f"status: {took:.1f} s ({used:.1f} s of CPU); {found.members[0]}; {found.pace}", flush=True)
        began = time.perf_counter()
        entry = Ledger(RunDir(folder).place).find("member-0", "0000/00000007.tar", 0)
        print(f"the first find of a worker: {time.perf_counter() - began:.1f} s; {entry.file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
