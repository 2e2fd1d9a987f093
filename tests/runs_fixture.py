"""Runs made by hand, straight from the core modules: what `generate` writes, without a model.

Two members over two shards of pictures: draws, flags, a refused caption, quarantine records, a second part, and a
caption that tries to be HTML. Its source is a folder of the packaged photos and of drawn pictures.
"""

import json
from dataclasses import asdict
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

import captioners
from captioners.core.entry import Counts, Entry
from captioners.core.layers import Layer, claim
from captioners.core.ledger import slug
from captioners.core.records import Row, content_digest, to_bytes
from captioners.core.run_dir import RunDir
from captioners.data.source import Shard

SAMPLES = Path(captioners.__file__).parent / "samples"
HOSTILE = '<script>alert("x")</script> <img src=x onerror=alert(1)> & "quotes" \' {{ 7*7 }}'
COLOURS = ("crimson", "steelblue", "seagreen", "goldenrod", "slateblue", "darkorange")
ALT = {
    "astronaut": "a woman in an orange space suit in front of a flag",
    "cat": "a close up of a cat looking at the camera",
    "coffee": "a cup of coffee on a wooden table with a spoon",
    "galaxies": "a dark sky full of galaxies of all sizes",
    "photographer": "a man in a coat looks through a camera on a tripod",
    "rocket": "a rocket takes off into a cloudy sky",
}
RECIPE = "job: generate\nmembers:\n  - name: broad\n    captioner: random-tiny\nseed: 7\n"


def draw_picture(number: int) -> bytes:
    """Return the JPEG of a drawn picture: a disc and a square whose place and colour are the number's."""
    image = Image.new("RGB", (320, 200 + 40 * (number % 4)), "#f2efe6")
    pen = ImageDraw.Draw(image)
    x, y = 30 + 37 * number % 180, 25 + 53 * number % 90
    pen.ellipse((x, y, x + 90, y + 90), fill=COLOURS[number % 6])
    pen.rectangle((230 - x // 2, 110, 290 - x // 2, 170), fill=COLOURS[(number + 2) % 6])
    file = BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()


def make_pictures(root: Path, drawn: int = 18) -> dict[str, list[tuple[str, bytes]]]:
    """Write the pictures of both shards and return shard -> (key, bytes): the sample photos, and drawn ones."""
    photos = [(f"photos/{path.stem}", path.read_bytes()) for path in sorted(SAMPLES.glob("*.jpg"))]
    shards = {"photos": photos, "drawn": [(f"drawn/{n:04d}", draw_picture(n)) for n in range(drawn)]}
    for shard, pictures in shards.items():
        (root / shard).mkdir(parents=True, exist_ok=True)
        for key, data in pictures:
            (root / f"{key}.jpg").write_bytes(data)
    return shards


def _frozen(shard: str, pictures: list[tuple[str, bytes]]) -> dict[str, object]:
    """Return a shard as it was frozen, with the picture before all others that nobody could read."""
    files = [[f"{shard}/broken.jpg", 9, 0], *([f"{key}.jpg", len(data), 0] for key, data in pictures)]
    return asdict(Shard(path=shard, size=1, stamp="1", count=len(files), where={"files": files}))


def make_run(folder: Path, *, drawn: int = 18, members: int = 2, draws: int = 2, finish: bool = True) -> RunDir:
    """Write a run under `folder`; without `finish`, the last member has done the first part of its first shard only."""
    pictures = make_pictures(folder / "pictures", drawn)
    run = RunDir(folder / "runs" / "broad-and-brief")
    run.write_recipe(RECIPE)
    root = str(folder / "pictures")
    run.begin({"seed": 7, "unit_samples": 12, "source": {"kind": "folder", "inputs": [root], "root": root}})
    run.freeze([_frozen(name, found) for name, found in sorted(pictures.items())])
    names = ["broad", "brief", "beam"][:members]
    for number, name in enumerate(names):
        layer = _layer(name, draws)
        claim(run.place, layer)
        for shard, found in sorted(pictures.items()):
            for part, start in enumerate(range(0, len(found) + 1, 12)):
                _commit(run, layer, shard, found, part, start)
                if not finish and number == members - 1:
                    return run
    return run


def _layer(name: str, draws: int) -> Layer:
    decoding = {"strategy": "beam", "width": 5} if name == "beam" else {"strategy": "sample", "top_p": 0.9}
    return Layer(
        name=name,
        draws=draws,
        meaning={"weights": sha256(name.encode()).hexdigest(), "decoding": decoding, "seed": 7, "dtype": "float32"},
        facts={
            "captioner": f"random-{name}",
            "licences": {"weights": "Apache-2.0", "training data": "none"},
            "captioners": captioners.__version__,
        },
    )


def _commit(run: RunDir, layer: Layer, shard: str, pictures, part: int, start: int) -> None:
    """Write one unit: sample 0 of a shard is unreadable, sample i > 0 is picture i - 1."""
    stop = min(start + 12, len(pictures) + 1)
    indices = [index for index in range(start, stop) if index]
    rows = [_row(shard, pictures[i - 1], i, layer.name, draw) for i in indices for draw in range(layer.draws)]
    kept = {row["index"] for row in rows if row["keep"]}
    name = f"{slug(layer.name)}/{slug(shard)}.{part:05d}.aaaaaaaa"
    data = to_bytes(rows, {"layer_fingerprint": layer.fingerprint}) if rows else b""
    if rows:
        assert run.place.create(f"layers/{name}.parquet", data)
    bad = [] if start else [_unreadable(shard)]
    if bad:
        text = "".join(json.dumps(record) + "\n" for record in bad)
        assert run.place.create(f"quarantine/{name}.jsonl", text.encode())
    flags = [flag for row in rows for flag in row["flags"]]
    entry = Entry(
        layer=layer.name,
        fingerprint=layer.fingerprint,
        shard=shard,
        part=part,
        start=start,
        stop=stop,
        last=stop == len(pictures) + 1,
        counts=Counts(
            read=stop - start,
            captioned=len(kept),
            filtered=len(indices) - len(kept),
            quarantined=len(bad),
            rows=len(rows),
        ),
        file=f"layers/{name}.parquet" if rows else "",
        digest=content_digest(rows),
        file_sha256=sha256(data).hexdigest() if rows else "",
        quarantine_file=f"quarantine/{name}.jsonl" if bad else "",
        reasons={"truncated": 1} if bad else {},
        flags={flag: flags.count(flag) for flag in sorted(set(flags))},
        seconds={"waiting": 0.1, "encoding": 1.0, "decoding": 2.5, "writing": 0.01},
        environment={"captioners": captioners.__version__, "torch": "2.9.0", "device": "cpu", "dtype": "float32"},
        kept=sum(row["keep"] for row in rows),
        finished=f"2026-01-02T03:{part:02d}:05+00:00",
    )
    assert run.ledger.commit(entry)


def _unreadable(shard: str) -> dict[str, object]:
    error = f"{shard}/broken.jpg: the file ends before the picture does (image file is truncated); copy it again"
    return {"shard": shard, "key": f"{shard}/broken", "index": 0, "reason": "truncated", "error": error, "offset": None}


def _row(shard: str, picture: tuple[str, bytes], index: int, member: str, draw: int) -> Row:
    key, data = picture
    number = index - 1
    disc, square = COLOURS[number % 6], COLOURS[(number + 2) % 6]
    text = ALT.get(key.removeprefix("photos/")) or f"a {disc} disc and a {square} square on a light ground"
    if draw:
        text = f"there is {text}"
    flags: list[str] = []
    keep = True
    if member == "brief":
        text = " ".join(text.split()[:5])
    if shard == "drawn" and number == 3 and draw == 0:
        text = HOSTILE
    # A rule refused all captions of one sample, which filters it, and one caption of another, which does not.
    if shard == "drawn" and member == "broad" and (number == 5 or (number, draw) == (9, 1)):
        text, flags, keep = f"a {disc} {disc} {disc} {disc} {disc} {disc}", ["repetitive"], False
    if number % 7 == 4:
        text, flags = f"{text} and the side of", [*flags, "truncated"]
    tokens = len(text.split())
    return Row(
        shard=shard,
        key=key,
        index=index,
        image_sha256=sha256(data).hexdigest(),
        offset=None,
        size=len(data),
        member=member,
        draw=draw,
        attempt=2 if not keep else 0,
        keep=keep,
        text=text,
        raw_text=None,
        num_tokens=tokens,
        logprob=None if member == "beam" and draw else round(-0.9 * tokens - 0.37 * (number % 5) - draw, 4),
        finish="length" if "truncated" in flags else "eos",
        flags=flags,
    )
