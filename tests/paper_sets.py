"""The paper's datasets in their exact schemas, a few pictures each, where the packaged recipes look for them.

Pictures are drawn here and captions are written here: nothing of the real sets is in it.
"""

import io
import json
import tarfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.jobs import captioned
from tests.reinforcement import trained

THINGS = ("a red barn", "two grey cats", "a wet street", "an old bicycle", "a bowl of plums", "a blue door", "snow")


def write(root: Path) -> None:
    """Write all sets below `root`/data, captioned shards below `root`/captioned and reinforced ones beside them."""
    captioned.write(root / "captioned", ("00000.tar", "00001.tar"), 3)
    syn = {"syn_text": [f"{thing(at)} and {thing(at + 1)}" for at in range(5)]}
    trained.write(root / "reinforced", {trained.key_of(at): trained.sample(at, syn=syn) for at in range(6)})
    for one in (write_coco, write_docci, write_dci, write_gbc, write_recap_coco, write_dfn):
        one(root / "data")


def photo(number: int) -> bytes:
    """Return a small JPEG; every number has its own colours."""
    colours = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(colours).resize((48, 40)).save(file, "JPEG")
    return file.getvalue()


def thing(number: int) -> str:
    return THINGS[number % len(THINGS)]


def write_coco(data: Path) -> None:
    """Write captions_train2017.json and captions_val2017.json: the eight licences, and an image of six captions."""
    names = (*("by-nc-sa/2.0", "by-nc/2.0", "by-nc-nd/2.0", "by/2.0", "by-sa/2.0", "by-nd/2.0"),)
    urls = [f"http://creativecommons.org/licenses/{name}/" for name in names]
    urls += ["http://flickr.com/commons/usage/", "http://www.usa.gov/copyright.shtml"]
    licences = [{"url": url, "id": id_, "name": f"Licence {id_}"} for id_, url in enumerate(urls, 1)]
    for split, first in (("train2017", 1), ("val2017", 101)):
        images, annotations = [], []
        for number in range(first, first + 8):
            file = f"{number:012d}.jpg"
            _put(data / "coco" / split / file, photo(number))
            images.append(
                {
                    "license": number % 100 % 8 + 1,
                    "file_name": file,
                    "height": 40,
                    "width": 48,
                    "id": number,
                    "coco_url": f"http://images.cocodataset.org/{split}/{file}",
                    "date_captured": "2013-11-14 17:02:52",
                    "flickr_url": "http://farm7.staticflickr.com/0/0_0_z.jpg",
                }
            )
            for nth in range(6 if number == first + 3 else 5):
                text = f"A photo of {thing(number + nth)}.{' ' * (nth == 1)}"
                annotations.append({"image_id": number, "id": number * 10 + nth, "caption": text})
        info = {"description": "COCO 2017 Dataset", "url": "http://cocodataset.org", "version": "1.0", "year": 2017}
        whole = {
            "info": {**info, "contributor": "COCO Consortium", "date_created": "2017/09/01"},
            "licenses": licences,
            "images": images,
            "annotations": annotations,
        }
        _put(data / "coco" / "annotations" / f"captions_{split}.json", json.dumps(whole).encode())


def write_docci(data: Path) -> None:
    """Write docci_descriptions.jsonlines, of all four splits."""
    lines = []
    for split, count in (("train", 8), ("test", 2), ("qual_dev", 1), ("qual_test", 1)):
        for number in range(count):
            name = f"{split}_{number:05d}"
            _put(data / "docci" / "images" / f"{name}.jpg", photo(number))
            seen = " ".join(f"To the side of it is {thing(number + more)}." for more in range(1, 30))
            text = f"A close view of {thing(number)}.\n\n{seen}"
            lines.append({"example_id": name, "split": split, "image_file": f"{name}.jpg", "description": text})
    _put(data / "docci" / "docci_descriptions.jsonlines", "".join(json.dumps(line) + "\n" for line in lines).encode())


def write_dci(data: Path) -> None:
    """Write complete/ and splits.json: masks of every quality, an empty short caption and an empty extra one."""
    root = data / "dci" / "densely_captioned_images"
    splits: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for number in range(10):
        split = "train" if number < 8 else "valid" if number == 8 else "test"
        masks = {}
        for mask in range(3):
            masks[str(mask)] = {
                "idx": mask,
                "outer_mask": "iVBORw0KGgo=",
                "area": 81,
                "requirements": [],
                "parent": -1,
                "bounds": {"topLeft": {"x": 0, "y": 0}, "bottomRight": {"x": 9, "y": 9}},
                "mask_quality": mask,
                "label": thing(mask),
                "caption": f"{thing(mask)} in the light",
            }
        del masks["2"]["label"], masks["2"]["caption"]  # as of masks that are no good
        whole = {
            "image": f"sa_{number}.jpg",
            "height": 40,
            "width": 48,
            "short_caption": "" if number == 1 else f"A picture of {thing(number)}.",
            "extra_caption": "" if number == 2 else f"There is {thing(number + 1)}. Behind it, {thing(number + 2)}.",
            "mask_keys": list(masks),
            "mask_data": masks,
            "summaries": {"base": [thing(number)]},
            "negatives": {"base": {"swaps": [], "layout": [], "basic": []}},
            "clip_scores": {"base": {"sum": 0.3}},
        }
        _put(root / "complete" / f"{number}-data.json", json.dumps(whole).encode())
        _put(root / "photos" / f"sa_{number}.jpg", photo(number))
        splits[split].append(f"{number}-data.json")
    _put(root / "splits.json", json.dumps(splits).encode())


def write_gbc(data: Path) -> None:
    """Write graphs as JSON lines (gbc1m) and as Parquet (gbc10m), images by the sha256 of their address."""
    graphs = [_graph(number) for number in range(8)]
    for number, graph in enumerate(graphs):
        name = sha256(graph["img_url"].encode()).hexdigest()
        _put(data / "cc12m" / "images" / f"{name}.jpg", photo(number))
    lines = "".join(json.dumps(graph) + "\n" for graph in graphs)
    _put(data / "gbc1m" / "graphs" / "gbc1m_train_0.jsonl", lines.encode())
    (data / "gbc10m" / "train").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(graphs), data / "gbc10m" / "train" / "gbc10m_train_0.parquet")


def _graph(number: int) -> dict:
    box = {"left": 0.0, "top": 0.0, "right": 1.0, "bottom": 1.0, "confidence": None}
    one, two = thing(number), thing(number + 1)
    short, detail = f"This shows {one} and {two}.", f"This shows {one}. " + " ".join(f"Also {t}." for t in THINGS)
    edges = [{"source": "", "text": name, "target": name} for name in (one, two)]
    relation = f"[{one}|{two}]"
    between = {"source": "", "text": f"{one}, {two}", "target": relation}

    def vertex(id_: str, label: str, descs: list[dict[str, str]], into: list, out: list) -> dict:
        return {"vertex_id": id_, "bbox": box, "label": label, "descs": descs, "in_edges": into, "out_edges": out}

    root = [{"text": detail, "label": "detail"}, {"text": short, "label": "short"}]
    parts = [
        vertex(name, "entity", [{"text": f"{name}, seen from near", "label": "detail"}], [edge], [])
        for name, edge in zip((one, two), edges, strict=True)
    ]
    said = [{"text": f"{one} is beside {two}.", "label": "relation"}, {"text": "hint", "label": "hardcode"}]
    return {
        "vertices": [
            vertex("", "image", root, [], [*edges, between]),
            *parts,
            vertex(relation, "relation", said, [between], []),
        ],
        "img_url": f"https://example.org/{number}.jpg",
        "img_path": None,
        "original_caption": f"buy {one} now",
        "short_caption": None if number == 0 else short,
        "detail_caption": None if number == 0 else detail,
    }


def write_recap_coco(data: Path) -> None:
    """Write new_data.parquet."""
    rows = [
        {
            "image_id": 1000 + number,
            "coco_url": f"http://images.cocodataset.org/val2014/{number}.jpg",
            "image": {"bytes": photo(number), "path": None},
            "caption": f"{thing(number)}.",
            "recaption": f"The image shows {thing(number)} beside {thing(number + 1)}.",
        }
        for number in range(8)
    ]
    (data / "recap_coco_30k").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), data / "recap_coco_30k" / "new_data.parquet")


def write_dfn(data: Path) -> None:
    """Write two shards as img2dataset makes them of DataComp's pool, and an index that keeps eight of ten samples."""
    folder = data / "dfn2b" / "shards"
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for shard in range(2):
        with tarfile.open(folder / f"{shard:08d}.tar", "w") as tar:
            for number in range(10):
                key, uid = f"{shard:08d}{number:04d}", sha256(f"{shard} {number}".encode()).hexdigest()[:32]
                if number < 8:
                    kept.append((int(uid[:16], 16), int(uid[16:], 16)))
                about = {"uid": uid, "face_bboxes": [], "caption": thing(number), "url": "http://x", "key": key}
                about |= {"status": "success", "error_message": None, "width": 48, "height": 40, "exif": "{}"}
                about |= {"original_width": 48, "original_height": 40, "sha256": sha256(photo(number)).hexdigest()}
                _member(tar, f"{key}.jpg", photo(10 * shard + number))
                _member(tar, f"{key}.txt", f"{thing(number)} - buy now, 20% off".encode())
                _member(tar, f"{key}.json", json.dumps(about).encode())
    np.save(data / "dfn2b" / "dfn_2b_inds.npy", np.sort(np.array(kept, dtype=np.dtype("u8,u8"))))


def _member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
