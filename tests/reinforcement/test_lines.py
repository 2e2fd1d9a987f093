"""captioners/reinforcement/lines: samples to lines and back, as the generator writes them, without its pickles."""

import gzip
import json
import pickle
from base64 import b64encode

import numpy as np
import pytest

from captioners.core.errors import UserError
from captioners.data.texts import BadSampleError
from captioners.jobs.data.pack import data_pack
from captioners.jobs.shards.verify import verify_shards
from captioners.reinforcement.lines import members_of, to_line
from tests.data.tars import webdataset_reads
from tests.jobs.shards import picture
from tests.reinforcement.reference import read_shard
from tests.reinforcement.samples import BOX, captioned, table


def packed_as_theirs(array):
    """What the generator writes for embeddings."""
    return b64encode(gzip.compress(pickle.dumps(np.array(array, dtype="float32")))).decode()


def line(number, **more):
    """A line as the generator writes it."""
    return {
        "uid": f"{number:04d}",
        "url": f"https://example.org/{number}",
        "text": f"größer {number}",
        "image": b64encode(picture(number)).decode(),
        "syn_text": ["a dog", "a black dog"],
        "width": 16,
    } | more


def written(path, *lines):
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return path


def test_lines_of_the_generator_become_shards(tmp_path):
    embeddings = {
        "image_embedding": table(3).tolist(),
        "text_emb": table(1).tolist(),
        "syn_text_emb": table(2).tolist(),
    }
    file = written(tmp_path / "in.jsonl", line(1), line(2, param_aug=[BOX] * 3, **embeddings))
    data_pack(str(file), tmp_path / "out")
    # Pictures are named by what they are; naming them as the reader wants is `verify --fix`.
    found = verify_shards(str(tmp_path / "out"), "mobileclip-dr", fix=True)
    assert not found.traps
    one, two = read_shard(tmp_path / "out/00000.tar")
    expected = line(1)
    assert one.pop("image") == picture(1)
    del expected["image"]
    assert one == expected
    assert two["param_aug"] == [BOX] * 3
    assert np.array_equal(two["image_emb"], table(3))
    assert np.array_equal(two["syn_text_emb"], table(2))


def test_a_sample_comes_back_from_its_line():
    members = captioned(json=json.dumps({"uid": "other", "width": 3, "cap_meta": {"source_key": "x"}}).encode())
    fields = json.loads(to_line("0001", members))
    assert fields["uid"] == "0001"
    again, left = members_of({name: one for name, one in fields.items() if name not in ("uid", "text", "image")})
    assert left == {"uid": "other", "width": 3, "cap_meta": {"source_key": "x"}}
    assert json.loads(again["syn.json"]) == json.loads(members["syn.json"])
    assert again["url.txt"] == members["url.txt"]


def test_a_url_comes_through_wherever_it_stands():
    """img2dataset has it in the json alone; where url.txt says another, both come back."""
    about = json.dumps({"url": "https://a.org/1", "width": 3}).encode()
    line = json.loads(to_line("0001", captioned(json=about, url_txt=None)))
    assert (line["url"], line["width"]) == ("https://a.org/1", 3) and "cap_meta" not in line
    line = json.loads(to_line("0001", captioned(json=about)))
    assert line["url"] == "https://example.org/1.jpg" and line["cap_meta"] == {"url": "https://a.org/1"}
    again, left = members_of({name: one for name, one in line.items() if name not in ("uid", "text", "image")})
    assert again["url.txt"] == b"https://example.org/1.jpg"
    assert left == {"url": "https://a.org/1", "width": 3}
    same = json.dumps({"url": "https://example.org/1.jpg"}).encode()
    assert "cap_meta" not in json.loads(to_line("0001", captioned(json=same)))


def test_pickles_are_refused_in_one_line(tmp_path):
    file = written(tmp_path / "in.jsonl", line(1, image_emb=packed_as_theirs(table(3))), line(2))
    packed = data_pack(str(file), tmp_path / "out")
    assert packed.reasons == {"pickled": 1}
    assert list(webdataset_reads(tmp_path / "out/00000.tar")) == ["0002"]
    written(file, line(1, image_emb=packed_as_theirs(table(3))))
    with pytest.raises(UserError, match=r"the first: .*image_emb is a pickle in base64, which runs code"):
        data_pack(str(file), tmp_path / "none")


def test_what_only_sounds_like_embeddings_stays_a_field(tmp_path):
    assert members_of({"member": 3, "remember": "x"}) == ({}, {"member": 3, "remember": "x"})
    with pytest.raises(BadSampleError, match="no table of numbers"):
        members_of({"image_emb": [["a"]]})


def test_what_is_no_text_is_told():
    with pytest.raises(BadSampleError, match="not UTF-8"):
        to_line("1", captioned(txt=b"\xe9"))
    with pytest.raises(BadSampleError, match="no object"):
        to_line("1", captioned(json=b"[1]"))
