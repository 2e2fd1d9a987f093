"""A run's settings and layers as pairs of name and value for a reader; nothing here is computed, only said."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from captioners.core.entry import Entry
from captioners.core.layers import Layer
from captioners.core.run_dir import RunDir
from captioners.decoding.values import Beam, Sample

_DEFAULTS = {"sample": Sample, "beam": Beam}


def decoding_words(decoding: Any) -> str:
    """Return a decoding in a few words: its strategy and what differs from the default.

    >>> decoding_words({"strategy": "sample", "top_p": 0.9, "temperature": 1.0, "top_k": None})
    'sample, top_p 0.9'
    >>> decoding_words({"strategy": "beam", "width": 5})
    'beam, width 5'
    """
    if not isinstance(decoding, Mapping):
        return ""
    strategy = str(decoding.get("strategy", ""))
    model = _DEFAULTS.get(strategy)
    default = model().model_dump() if model else {}
    said = [
        f"{name} {value}"
        for name, value in decoding.items()
        if name != "strategy" and (value != default.get(name) or name == "width")
    ]
    return ", ".join([strategy, *said])


def captioner_name(layer: Layer) -> str:
    """Return what a layer's captioner calls itself, or what the recipe called it."""
    return str(layer.facts.get("captioner_name") or layer.facts.get("captioner") or "")


def layer_provenance(layer: Layer) -> dict[str, str]:
    """Return what a layer is and what its fingerprint covers."""
    said = {
        "captioner": captioner_name(layer),
        "weights": str(layer.meaning.get("weights") or ""),
        "decoding": decoding_words(layer.meaning.get("decoding")),
        "draws per image": str(layer.draws),
        **{name: value for name, value in _flat(layer.facts) if name not in ("captioner", "captioner_name")},
        "fingerprint": layer.fingerprint,
    }
    meaning = {f"meaning: {name}": value for name, value in _flat(layer.meaning) if name != "weights"}
    return {name: value for name, value in {**said, **meaning}.items() if value}


def run_provenance(run: RunDir, entries: Sequence[Entry]) -> dict[str, str]:
    """Return what holds for the run as a whole: place, inputs, seed, and the environments that made it."""
    shards = run.inputs()
    known = [shard.get("count") for shard in shards]
    samples = f", {sum(known):,} samples" if known and None not in known else ""  # type: ignore[arg-type]
    environments = Counter(", ".join(f"{k} {v}" for k, v in sorted(entry.environment.items())) for entry in entries)
    said = {
        "run": run.url,
        "inputs": f"{len(shards):,} shard{'' if len(shards) == 1 else 's'}{samples}",
        **dict(_flat(run.settled())),
        "units done": f"{len(entries):,}, the last at {max(entry.finished for entry in entries)}" if entries else "0",
    }
    for number, (environment, units) in enumerate(environments.most_common(), start=1):
        name = "environment" if len(environments) == 1 else f"environment {number}"
        said[name] = f"{environment} ({units:,} unit{'' if units == 1 else 's'})"
    return said


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield ("decoding.top_p", "0.9") and the like; empty values are left out."""
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{path}{name}.")
        elif isinstance(inner, list | tuple):
            yield f"{path}{name}", ", ".join(map(str, inner))
        elif inner is not None and inner != "":
            yield f"{path}{name}", str(inner)
