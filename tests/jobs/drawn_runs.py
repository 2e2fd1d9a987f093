"""Runs over the drawn world with captions that are known beforehand: what `generate` would write, without a model."""

from dataclasses import asdict
from hashlib import sha256

from captioners.core.entry import Counts, Entry
from captioners.core.layers import Layer, claim
from captioners.core.ledger import slug
from captioners.core.records import Row, content_digest, to_bytes
from captioners.core.run_dir import RunDir
from captioners.data.drawn_render import jpeg
from captioners.data.drawn_scene import scene
from captioners.data.drawn_source import DrawnOptions, key_of
from captioners.data.drawn_voices import captions
from captioners.text.flags import Rules, flags_of

SPLIT, SEED = "eval", 3


def scene_of(key):
    return scene(SEED, SPLIT, int(key))


def voice(name, draws):
    """A member that says what a voice says of a scene."""
    return draws, lambda index: captions(scene(SEED, SPLIT, index), name, draws, 11)


def says(texts):
    """A member that says the same of every scene."""
    return len(texts), lambda _: texts


def drawn_run(folder, members, count=24, part=8, stop=None, tower="0" * 64):
    """Write a run of `count` scenes in parts of `part`; a member is (draws, index -> captions).

    `stop`: before which scene the run was stopped. Called again with a larger one, it goes on.
    """
    options = DrawnOptions(seed=SEED, split=SPLIT, count=count, voice="short", captions=3)
    run = RunDir(folder)
    run.write_recipe("job: generate\n")
    run.begin({"seed": 0, "unit_samples": part, "source": options.model_dump(mode="json")})
    [shard] = options.open().shards()
    if not run.inputs():
        run.freeze([asdict(shard)])
    pictures = [jpeg(scene(SEED, SPLIT, index)) for index in range(count if stop is None else stop)]
    for name, (draws, say) in members.items():
        layer = Layer(name=name, draws=draws, meaning={"said by": name, "draws": draws}, facts={"tower": tower})
        claim(run.place, layer)
        for number, start in enumerate(range(0, len(pictures), part)):
            end = min(start + part, len(pictures))
            if run.ledger.find(name, shard.path, number) is None:
                rows = [
                    _row(shard.path, index, pictures[index], name, draw, text)
                    for index in range(start, end)
                    for draw, text in enumerate(say(index))
                ]
                _commit(run, layer, shard.path, number, start, end, rows, last=end == count)
    return run


def _row(shard, index, picture, member, draw, text):
    flags = flags_of(text)
    return Row(
        shard=shard, key=key_of(index), index=index, image_sha256=sha256(picture).hexdigest(), offset=None,
        size=len(picture), member=member, draw=draw, attempt=0, keep=not Rules().refused(flags), text=text,
        raw_text=None, num_tokens=len(text.split()), logprob=None, finish="eos", flags=flags,
    )  # fmt: skip


def _commit(run, layer, shard, part, start, stop, rows, last):
    name = f"layers/{slug(layer.name)}/{slug(shard)}.{part:05d}.aaaaaaaa.parquet"
    data = to_bytes(rows, {})
    run.place.write(name, data)
    kept = {row["index"] for row in rows if row["keep"]}
    counts = Counts(read=stop - start, captioned=len(kept), filtered=stop - start - len(kept), rows=len(rows))
    entry = Entry(
        layer=layer.name, fingerprint=layer.fingerprint, shard=shard, part=part, start=start, stop=stop, last=last,
        counts=counts, file=name, digest=content_digest(rows), file_sha256=sha256(data).hexdigest(),
    )  # fmt: skip
    assert run.ledger.commit(entry)
