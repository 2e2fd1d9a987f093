"""A captioner's card for people: the README of its directory, which the Hugging Face Hub shows as the model card.

What stands on it comes from the card for machines (`captioner.json`). Training may add to that: `data` (images,
captions, digest), `recipe`, `init`, `comparison` (`sentence`, `scores`, `style`, as a comparison gives them out) and
`sample_captions` (pairs of `key` and `caption`). What is not there is not spoken of.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from captioners.core.yaml_lines import write_yaml

_LICENCES = {
    "mit": "mit",
    "apache-2.0": "apache-2.0",
    "cc0": "cc0-1.0",
    "cc0-1.0": "cc0-1.0",
    "cc-by-4.0": "cc-by-4.0",
    "cc-by-sa-4.0": "cc-by-sa-4.0",
    "cc-by-nc-4.0": "cc-by-nc-4.0",
    "bsd-3-clause": "bsd-3-clause",
    "apple-machine-learning-research-model-license-(research-only)": "apple-amlr",
    "unknown": "unknown",
    "unspecified": "unknown",
    "none": "unknown",
    "": "unknown",
}
"""Licence as our cards say it, in lower case with hyphens -> the Hub's name of it."""
_FILES = {"folder", "jsonl", "webdataset", "table", "huggingface", "mixture", "run"}
"""Kinds of sources that say how data lies, not which data it is."""
_MOST_SAMPLES = 12


def model_card(card: Mapping[str, Any], *, repository: str | None = None, own_tokenizer: bool = False) -> str:
    """Return the card as Markdown with YAML front matter, the same for the same card.

    Args:
        card: what `captioner.json` holds. repository: ORG/NAME on the Hub, if it is known.
        own_tokenizer: whether its tokenizer is its own, and not the one that open_clip bundles.
    """
    parts = [
        f"---\n{write_yaml(_front_matter(card))}---\n# {_line(card['name'])}\n",
        _about(card),
        _licences(card),
        *_scores(card),
        *_samples(card),
        *_training(card),
        _usage(repository),
        *([_TOKENIZER] if own_tokenizer and not repository else []),
    ]
    return "\n".join(parts)


def _front_matter(card: Mapping[str, Any]) -> dict[str, Any]:
    licence = str(card.get("licences", {}).get("weights", ""))
    known = _LICENCES.get("-".join(licence.lower().split()))
    named = {"license": known} if known else {"license": "other", "license_name": _slug(licence)}
    found: dict[str, Any] = {
        **named,
        "library_name": "open_clip",
        "pipeline_tag": "image-to-text",
        "tags": ["coca", "image-captioning", "captioners"],
    }
    if datasets := _datasets(card):
        found["datasets"] = datasets
    return found


def _datasets(card: Mapping[str, Any]) -> list[str]:
    named = (card.get("data") or {}).get("name")
    source = (card.get("recipe") or {}).get("source") or {}
    name = named or source.get("card") or source.get("kind")
    return [str(name)] if name and name not in _FILES else []


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-") or "other"


def _about(card: Mapping[str, Any]) -> str:
    only = card.get("knows_only")
    knows = f" It knows only {_line(only)}: of other pictures its words mean nothing." if only else ""
    recommended = card.get("recommended_decoding")
    decoding = _settings(recommended) if recommended else "the default"
    return (
        f"A CoCa captioner (arXiv 2205.01917) of {card['num_parameters'] / 1e6:.1f} million parameters. It writes "
        f"captions of up to {card['max_tokens']} tokens\n(context length {card['context_length']}; tokenizer: "
        f"{card['tokenizer']}).{knows}\n\nRecommended decoding: {decoding}.\n\n"
        f"Weights digest: `{card['weights_digest']}`.\n"
    )


def _licences(card: Mapping[str, Any]) -> str:
    rows = [(what, licence) for what, licence in card.get("licences", {}).items()]
    note = "A licence that is unknown or unspecified is just that; licences further upstream still hold.\n"
    return f"## Licences\n\n{_table(('what', 'licence'), rows)}\n{note}"


def _scores(card: Mapping[str, Any]) -> Iterator[str]:
    found = card.get("comparison")
    if not found:
        return
    rows = [
        (
            str(one["metric"]),
            _number(one["before"]),
            _number(one["after"]),
            _number(one["change"], signed=True),
            "–" if one["low"] is None else f"{_number(one['low'], signed=True)} to {_number(one['high'], signed=True)}",
        )
        for one in found.get("scores", [])
        if one["before"] is not None
    ]
    before = (found.get("before") or {}).get("name") or "before"
    table = _table(("measure", str(before), str(card["name"]), "change", "95 % interval"), rows) if rows else ""
    said = "\n\n".join(_line(found[key]) for key in ("sentence", "style", "scorer_note") if found.get(key))
    yield f"## Scores\n\n{said}\n\n{table}"


def _samples(card: Mapping[str, Any]) -> Iterator[str]:
    samples = list(card.get("sample_captions") or [])[:_MOST_SAMPLES]
    if samples:
        yield f"## Sample captions\n\n{_table(('image', 'caption'), [(s['key'], s['caption']) for s in samples])}"


def _training(card: Mapping[str, Any]) -> Iterator[str]:
    data, recipe, init = (card.get(name) or {} for name in ("data", "recipe", "init"))
    if not data and not recipe:
        return
    said = []
    if data.get("images"):
        told = f"Trained here on {data['images']:,} images"
        said.append(f"{told} with {data['captions']:,} captions." if data.get("captions") else f"{told}.")
    said.append(f"It began as {_line(_origin(init))}." if init else "It began from random weights.")
    # Four spaces make a block of code of it, whatever stands inside.
    block = "".join(f"    {line}\n" for line in write_yaml(dict(recipe)).splitlines()) if recipe else ""
    yield f"## Training\n\n{' '.join(said)}\n" + (f"\nRecipe:\n\n{block}" if block else "")


def _origin(init: Any) -> str:
    return (
        str(init.get("name") or init.get("digest") or "another captioner") if isinstance(init, Mapping) else str(init)
    )


def _usage(repository: str | None) -> str:
    hub = _HUB.format(repository=repository) if repository else ""
    return f"{_USAGE}{hub}"


def _settings(values: Mapping[str, Any]) -> str:
    """Return `beam, width 5, length_penalty 1.0 ...`."""
    return ", ".join([str(values.get("strategy", "")), *(f"{k} {v}" for k, v in values.items() if k != "strategy")])


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(_cell(cell) for cell in line) + " |\n" for line in lines)


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _line(text: Any) -> str:
    """Return text of anyone's as one line that is no markup: captions and names are data here, too."""
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", " ".join(str(text).split()))


def _number(value: float | None, *, signed: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if signed else ''}.3f}"


_USAGE = """## Use it

Offline, from a folder that holds these files. With captioners, which decodes fast and exactly:

    captioners caption PHOTO.jpg --captioner THIS_DIRECTORY

With plain open_clip (3.3 or newer), for features, logits or further training:

    import open_clip
    model, _, preprocess = open_clip.create_model_and_transforms("local-dir:THIS_DIRECTORY")
    tokenizer = open_clip.get_tokenizer("local-dir:THIS_DIRECTORY")
"""

_HUB = """
From the Hub, write `hf-hub:{repository}` in place of the folder.
"""

_TOKENIZER = """On the Hugging Face Hub, set `text_cfg.hf_tokenizer_name` in `open_clip_config.json` to the repository's
own name, as `captioners export ... --to huggingface:ORG/NAME` does: there open_clip fetches the tokenizer by that name,
not from beside the configuration.
"""
