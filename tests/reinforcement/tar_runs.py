"""Runs over tar shards, made by hand from what the source reads, as `generate` would store them, without a model."""

import json
from dataclasses import asdict
from hashlib import sha256

from captioners.core.entry import Counts, Entry
from captioners.core.layers import Layer, claim
from captioners.core.records import Row
from captioners.core.run_dir import RunDir
from captioners.data.source import Sample, sources


def tar_run(folder, shards, members=("broad",), draws=2, part=3, stop_before=None, refuse=(), say=str, **source):
    """A run under `folder/run` over the tars in `shards`, or what other options of a `source` make of them.

    `stop_before`: a shard that the last member has not captioned; `refuse`: keys whose first caption a
    rule refused, and members of whom it refused all.
    """
    run = RunDir(folder / "run")
    options = {"kind": "webdataset", "inputs": [str(shards)]} | source
    source = sources.get(options["kind"]).model_validate(options).open()
    run.begin({"seed": 7, "unit_samples": part, "source": options})
    run.write_recipe("job: generate\n")
    found = source.shards()
    run.freeze([asdict(shard) for shard in found])
    for name in members:
        layer = Layer(
            name=name,
            draws=draws,
            meaning={"weights": sha256(name.encode()).hexdigest(), "decoding": {"strategy": "sample"}},
            facts={"captioner": f"random-{name}", "licences": {"weights": "CC0"}},
        )
        claim(run.place, layer)
        for shard in found:
            if (name, shard.path) != (members[-1], stop_before):
                _commit(run, layer, shard, list(source.samples(shard)), part, refuse, say)
    return run


def caption(key, member, draw):
    """What a member says of a sample."""
    return f"{member} sees {key.rpartition('/')[2]}, draw {draw}"


def _commit(run, layer, shard, samples, size, refuse, say):
    for number, start in enumerate(range(0, len(samples), size)):
        part = samples[start : start + size]
        good = [one for one in part if isinstance(one, Sample)]
        rows = [
            _row(one, layer.name, draw, layer.name in refuse or (one.key in refuse and not draw), say)
            for one in good
            for draw in range(layer.draws)
        ]
        bad = [asdict(one) for one in part if not isinstance(one, Sample)]
        kept = {row["index"] for row in rows if row["keep"]}
        entry = Entry(
            layer=layer.name,
            fingerprint=layer.fingerprint,
            shard=shard.path,
            part=number,
            start=start,
            stop=start + len(part),
            last=start + size >= len(samples),
            counts=Counts(
                read=sum(bool(one.key) for one in part),
                captioned=len(kept),
                filtered=len(good) - len(kept),
                quarantined=sum(bool(one["key"]) for one in bad),
                rows=len(rows),
            ),
            file="",
            digest="",
            finished=f"2026-01-02T03:04:0{number % 10}+00:00",
        )
        assert run.commit(entry, rows, {}, bad) is not None


def _row(sample, member, draw, refused, say):
    text = caption(sample.key, member, draw)
    return Row(
        shard=sample.shard,
        key=sample.key,
        index=sample.index,
        image_sha256=sha256(sample.image).hexdigest(),
        offset=sample.offset,
        size=len(sample.image),
        member=member,
        draw=draw,
        attempt=0,
        keep=not refused,
        text=say(text),
        raw_text=None,
        num_tokens=len(text.split()),
        logprob=-1.0,
        finish="eos",
        flags=["repetitive"] if refused else [],
    )


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
