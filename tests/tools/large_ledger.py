"""Make the ledger of a large run (segments, and the last units as small files) and time `captioners status` on it."""

import argparse
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[2]))

from captioners.core.entry import Counts, Entry
from captioners.core.layers import Layer, claim
from captioners.core.ledger import Ledger
from captioners.core.run_dir import RunDir
from captioners.core.segments import table_of, unit_of
from captioners.jobs.runs.status import status

ACTIVITIES = ("waiting", "encoding", "decoding", "writing")
SAMPLES = 1000
PER_SEGMENT = 5000
UNIT = Entry(
    layer="LAYER", fingerprint="FINGERPRINT", shard="SHARD", part=0, start=0, stop=SAMPLES, last=True,
    counts=Counts(read=SAMPLES, captioned=SAMPLES - 1, quarantined=1, rows=SAMPLES - 1), digest="DIGEST",
    file="layers/LAYER/DIGEST.parquet", file_sha256="DIGEST", reasons={"truncated": 1},
    flags={"truncated": 7, "repetitive": 2}, kept=SAMPLES - 3, seconds=dict.fromkeys(ACTIVITIES, 15.0), worker="WORKER",
    environment={"torch": "2.9", "device": "a GPU", "dtype": "bfloat16"}, finished="FINISHED",
)  # fmt: skip
"""One unit; what stands in capitals is another in each."""


def make(folder, shards, members):
    """Write the run: all in segments but the last units, which are small files, and two shards that are not done."""
    run = RunDir(folder)
    run.begin({"unit_samples": SAMPLES, "source": {}, "seed": 0})
    run.write_recipe("job: generate\n")
    run.freeze([{"path": path_of(shard), "count": SAMPLES, "size": 1, "stamp": ""} for shard in range(shards)])
    layers = [Layer(name=f"member-{n}", draws=1, meaning={"weights": str(n)}, facts={}) for n in range(members)]
    for layer in layers:
        claim(run.place, layer)
    units = [(layer, shard) for shard in range(shards - 2) for layer in layers]
    small = min(len(units) % PER_SEGMENT + PER_SEGMENT // 5, len(units))
    template = json.dumps(asdict(UNIT))
    for number, start in enumerate(range(0, len(units) - small, PER_SEGMENT)):
        chosen = units[start : min(start + PER_SEGMENT, len(units) - small)]
        run.place.write(f"segments/{number:06d}.parquet", segment(template, chosen, start))
    for at, (layer, shard) in enumerate(units[len(units) - small :], len(units) - small):
        text = filled(template, layer, shard, at)
        run.place.write(Ledger.name(layer.name, path_of(shard), 0), text.encode())


def path_of(shard):
    return f"{shard // 1000:04d}/{shard:08d}.tar"


def filled(template, layer, shard, at):
    """Return a unit's text."""
    for word, value in {
        "LAYER": layer.name, "FINGERPRINT": layer.fingerprint, "SHARD": path_of(shard), "WORKER": f"node-{at % 64}-0",
        "DIGEST": hashlib.sha256(str(at).encode()).hexdigest(), "FINISHED": finished(at),
    }.items():  # fmt: skip
        template = template.replace(word, value)
    return template


def finished(at):
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(1.7e9 + at // 20))


def segment(template, units, start):
    """Return a segment's bytes, as `Segments.add` writes it, without making each entry an object first."""
    named = [(Ledger.name(one.name, path_of(shard), 0), at, one, shard) for at, (one, shard) in enumerate(units, start)]
    named.sort(key=lambda unit: unit[0])
    one = table_of([(named[0][0], asdict(UNIT))])
    table = pa.concat_tables([one] * len(named)).combine_chunks()
    words = {
        "layer": [layer.name for _, _, layer, _ in named],
        "shard": [path_of(shard) for _, _, _, shard in named],
        "fingerprint": [layer.fingerprint for _, _, layer, _ in named],
        "worker": [f"node-{at % 64}-0" for _, at, _, _ in named],
    }
    for name, values in words.items():
        column = pa.array(values, pa.string()).dictionary_encode()
        table = table.set_column(table.schema.get_field_index(name), name, column)
    units = pa.array([unit_of(name) for name, *_ in named], pa.uint64())
    table = table.set_column(table.schema.get_field_index("unit"), "unit", units)
    ends = pa.array([finished(at) for _, at, _, _ in named])
    table = table.set_column(table.schema.get_field_index("finished"), "finished", ends)
    table = table.append_column("name", pa.array([name for name, *_ in named]))
    table = table.append_column(
        "entry", pa.array([filled(template, layer, shard, at) for _, at, layer, shard in named])
    )
    table = table.append_column("removed", pa.array([False] * len(named)))
    file = BytesIO()
    pq.write_table(table, file, compression="zstd", row_group_size=8192)
    return file.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=200_000)
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--keep", help="A folder for the run, to look at it again.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        began, folder = time.perf_counter(), options.keep or temporary
        if not Path(folder, "run.json").exists():
            make(folder, options.shards, options.members)
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
