"""The card of an exported dataset: the README of its folder, which the Hugging Face Hub shows, from its manifest."""

from collections.abc import Mapping
from typing import Any

from captioners.core.markdown import line, table
from captioners.core.yaml_lines import write_yaml
from captioners.jobs.runs.words import decoding_words

_SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"), (10**12, "1B<n<1T"),
)  # fmt: skip
"""The Hub's words for how many rows there are, below what number."""

_COLUMNS = {
    "shard": "path of the shard that the image lies in, relative to the input root",
    "key": "the sample's key in its shard",
    "index": "the sample's place in its shard, from 0",
    "image_sha256": "digest of the image's bytes",
    "image": "the image, its bytes as they were",
    "captions": "the captions; the lists of a row are of one length and order",
    "members": "who wrote each",
    "draws": "which draw of that member each is",
    "logprobs": "each one's log-probability (natural logarithm, end token included), null where there is none",
    "offset": "where the image's bytes begin in its shard, null where they are a file of their own",
    "size": "bytes of the image",
    "member": "who wrote the caption",
    "draw": "which draw of that member it is",
    "attempt": "how often it was drawn anew because a rule refused it",
    "text": "the caption",
    "raw_text": "the caption as decoded, where that differs",
    "num_tokens": "tokens written",
    "logprob": "its log-probability (natural logarithm, end token included), null where there is none",
    "finish": "why it ended: eos, length or repetition",
    "flags": "what the rules noticed",
}
_SUMS = {
    "taken": "in this dataset",
    "excluded": "left out by name",
    "too_few": "of images with too few captions",
    "quarantined": "could not be read",
    "picture_gone": "picture not there any more",
    "refused": "refused by the run's rules",
    "unmet": "did not meet the condition",
    "spare": "more than were wanted",
}


def dataset_card(manifest: Mapping[str, Any]) -> str:
    """Return the card as Markdown with YAML front matter, the same for the same manifest."""
    title = f"# Synthetic captions of {_number(_images(manifest), 'image')}\n"
    parts = [
        f"---\n{write_yaml(_front_matter(manifest))}---\n{title}",
        _about(manifest),
        _captioners(manifest),
        _selection(manifest),
        _counts(manifest),
        _licences(manifest),
        _columns(manifest),
        _USAGE,
    ]
    return "\n".join(parts)


def _front_matter(manifest: Mapping[str, Any]) -> dict[str, Any]:
    rows = sum(one["rows"] for one in manifest["files"])
    size = next(word for most, word in _SIZES if rows < most)
    return {
        # Several licences hold, of captioners and of pictures, and the Hub knows no word for that.
        "license": "other",
        "license_name": "see-the-card",
        "license_link": "README.md",
        "task_categories": ["image-to-text"],
        "tags": ["synthetic", "image-captioning", "captioners"],
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
    }


def _images(manifest: Mapping[str, Any]) -> int:
    return int(manifest["samples"]["taken"])


def _about(manifest: Mapping[str, Any]) -> str:
    captions, images = manifest["captions"]["taken"], _images(manifest)
    row = "a caption" if manifest["rows"] == "caption" else "an image"
    pictures = (
        "The pictures are in it." if manifest["images"] else "The pictures are not in it; shard and key name them."
    )
    shards = manifest["shards"]
    part = "" if shards["finished"] == shards["all"] else (
        f" It covers part of the data: {shards['finished']:,} of {shards['all']:,} shards were captioned to their end."
    )  # fmt: skip
    made = f"{_number(captions, 'caption')} of {_number(images, 'image')}, written by models and checked by no one"
    return f"{made}; a row is {row}. {pictures}{part}\n"


def _captioners(manifest: Mapping[str, Any]) -> str:
    rows = [
        (
            member["name"],
            member["captioner"] or "unknown",
            str(member["weights"] or "none")[:12],
            decoding_words(member["decoding"]) or "unknown",
            member["draws"],
            f"{member['captions']:,}",
        )
        for member in manifest["members"]
    ]
    head = ("member", "captioner", "weights", "decoding", "draws of an image", "captions here")
    prompts = "".join(
        f"\n{line(member['name'])} began every caption with: {line(member['prompt'])}\n"
        for member in manifest["members"]
        if member["prompt"]
    )
    return f"## Who wrote them\n\n{table(head, rows)}{prompts}"


def _selection(manifest: Mapping[str, Any]) -> str:
    select = manifest["select"]
    count = "All captions" if select["n"] is None else f"Exactly {_number(select['n'], 'caption')} of each image"
    by = {"round_robin": ", one of each member after the other", "score": f", the largest {line(select['score'])}"}
    by |= {"diverse": ", those that differ most"}
    how = by[select["by"]] if select["n"] is not None else ""
    where = f" Every one meets the condition: {line(select['where'])}." if select["where"] else ""
    scores = "".join(
        f"\n- {line(name)}: {line(one['metric'])}, version {one['version']}"
        + (f", by {line(one['scorer'])} (weights {one['digest'][:12]})" if one["scorer"] else "")
        for name, one in manifest["scores"].items()
    )
    told = f"\n\nScores:\n{scores}\n" if scores else "\n"
    return f"## How they were chosen\n\n{count} that the rules of the run kept{how}.{where}{told}"


def _counts(manifest: Mapping[str, Any]) -> str:
    samples, captions = manifest["samples"], manifest["captions"]
    told = [_sum(samples, "read", "image"), _sum(captions, "rows", "caption")]
    flags = "".join(f"\n- {line(flag)}: {count:,}" for flag, count in manifest["flags"].items())
    noted = f"\nCaptions here that the rules only noted:\n{flags}\n" if flags else "\nNo caption here has a flag.\n"
    why = "\nEvery image that is left out stands in `left_out.jsonl` with its reason.\n" if manifest["left_out"] else ""
    return f"## Counts\n\n{''.join(told)}{noted}{why}"


def _sum(sums: Mapping[str, int], whole: str, noun: str) -> str:
    parts = " + ".join(f"{number:,} {_SUMS[name]}" for name, number in sums.items() if name != whole)
    return f"- {_number(sums[whole], noun)} read = {parts}\n"


def _licences(manifest: Mapping[str, Any]) -> str:
    rows = [
        (f"{member['name']}, {what}", licence)
        for member in manifest["members"]
        for what, licence in (member["licences"] or {"weights": "unknown"}).items()
    ]
    data = manifest["data"]
    cards = f" ({', '.join(data['cards'])})" if data.get("cards") else ""
    rows += [(f"images{cards}", data["images_licence"])]
    use = {"no": "not allowed by one of these", "unknown": "unknown; nobody has stated that all of these allow it"}
    return (
        f"## Licences\n\nThese captions come under what their captioners and images are under:\n\n"
        f"{table(('what', 'licence'), rows)}\nCommercial use: {use[manifest['commercial_use']]}.\n"
    )


def _columns(manifest: Mapping[str, Any]) -> str:
    about = {**_COLUMNS, **{name: f"the score {name}, null where it is undefined" for name in manifest["scores"]}}
    rows = [(name, about.get(name, "")) for name in manifest["columns"]]
    made = (
        f"\nMade by captioners {manifest['captioners']} with `captioners export RUN --to huggingface`; `manifest.json` "
        "has the digests of weights, layers and files.\n"
    )
    return f"## Columns\n\n{table(('column', 'what'), rows)}{made}"


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


_USAGE = """## Use it

    from datasets import load_dataset
    captions = load_dataset("THIS_DIRECTORY", split="train")
"""
