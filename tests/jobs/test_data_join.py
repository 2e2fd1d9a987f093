"""captioners/jobs/data/join.py: two sets of shards joined in any order, against dictionaries read by webdataset."""

import json
import tarfile
from hashlib import sha256

import numpy as np
import pytest
from webdataset.tariterators import group_by_keys, tar_file_expander

from captioners.cli.main import run as command
from captioners.core.errors import NotFoundError, UserError
from captioners.data.tar import TarWriter
from captioners.jobs.data import join_sides
from captioners.jobs.data.join import data_join
from captioners.jobs.data.join_sides import PARTS
from tests.jobs.shards import picture


def uid(number):
    return sha256(str(number).encode()).hexdigest()[:32]


def about(number):
    return json.dumps({"uid": uid(number), "sha256": sha256(picture(number)).hexdigest()}).encode()


def write(folder, shards):
    """Write shards: name -> list of (key, members)."""
    for name, samples in shards.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with TarWriter(folder / name) as tar:
            for key, members in samples:
                tar.add(key, members)
    return folder


@pytest.fixture
def sets(tmp_path):
    """A: pictures 0..39 in four shards. B: what was made of 10..59, without pictures, shuffled over three shards."""
    a = {
        f"0{s}/{s}.tar": [
            (f"k{n:03d}", {"png": picture(n), "txt": f"alt {n}".encode(), "json": about(n)})
            for n in range(10 * s, 10 * s + 10)
        ]
        for s in range(4)
    }
    order = np.random.Generator(np.random.PCG64(3)).permutation(np.arange(10, 60)).tolist()
    made = [
        (f"x{n}", {"syn.json": json.dumps({"syn_text": [f"made {n}"] * 5}).encode(), "json": about(n)}) for n in order
    ]
    b = {f"{s:05d}.tar": made[s::3] for s in range(3)}
    return write(tmp_path / "a", a), write(tmp_path / "b", b)


def read(folder):
    """Shard -> its samples in order, as the webdataset library reads them."""
    found = {}
    for path in sorted(folder.rglob("*.tar")):
        with path.open("rb") as file:
            samples = list(group_by_keys(tar_file_expander([{"url": str(path), "stream": file}])))
        found[path.relative_to(folder).as_posix()] = [
            {name: data for name, data in sample.items() if name not in ("__url__", "__local_path__")}
            for sample in samples
        ]
    return found


def uid_of(sample):
    return json.loads(sample["json"])["uid"]


def balanced(found):
    for side in (found.a, found.b):
        assert side.read == sum(getattr(side, name) for name in PARTS)
    assert found.a.joined == found.b.joined


@pytest.mark.parametrize("by", ["uid", "image"])
def test_each_sample_gets_what_the_other_set_has_of_it(sets, tmp_path, by):
    """The independent answer: both sets in dictionaries, joined by hand."""
    a, b = sets
    found = data_join(str(a), str(b), tmp_path / "out", by)
    theirs = {uid_of(one): one for samples in read(b).values() for one in samples}
    expected = {
        shard: [{**theirs[uid_of(one)], **one} for one in samples if uid_of(one) in theirs]
        for shard, samples in read(a).items()
    }
    expected = {shard: samples for shard, samples in expected.items() if samples}
    assert read(tmp_path / "out") == expected
    assert list(expected) == ["01/1.tar", "02/2.tar", "03/3.tar"]
    assert found.sizes == json.loads((tmp_path / "out/sizes.json").read_text()) == dict.fromkeys(expected, 10)
    balanced(found)
    assert (found.a.read, found.a.joined, found.a.missing) == (40, 30, 10)
    assert (found.b.read, found.b.joined, found.b.missing) == (50, 30, 20)
    assert (found.added, found.differ) == ({"syn.json": 30}, {})
    left = [json.loads(line) for line in (tmp_path / "out/left_out.jsonl").read_text().splitlines()]
    assert {(one["set"], one["key"]) for one in left} == {
        *(("a", f"k{n:03d}") for n in range(10)), *(("b", f"x{n}") for n in range(40, 60))
    }  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "out"]


def test_neither_the_order_nor_the_shards_of_the_other_set_matter(sets, tmp_path, monkeypatch):
    a, b = sets
    monkeypatch.setattr(join_sides, "_OPEN_FILES", 1)
    data_join(str(a), str(b), tmp_path / "out")
    samples = [sample for shard in read(b).values() for sample in shard][::-1]
    other = write(
        tmp_path / "other",
        {
            f"{n:02d}.tar": [(one["__key__"], {k: v for k, v in one.items() if k != "__key__"})]
            for n, one in enumerate(samples)
        },
    )
    data_join(str(a), str(other), tmp_path / "again")
    tars = {path.relative_to(tmp_path / "out"): path.read_bytes() for path in (tmp_path / "out").rglob("*.tar")}
    assert tars == {
        path.relative_to(tmp_path / "again"): path.read_bytes() for path in (tmp_path / "again").rglob("*.tar")
    }


def test_counts_alone_write_nothing(sets, tmp_path):
    found = data_join(*map(str, sets))
    balanced(found)
    assert (found.a.joined, found.a.missing, found.b.missing) == (30, 10, 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert found.a.examples["missing"] == ["00/0.tar: k000", "00/0.tar: k001", "00/0.tar: k002"]


def test_duplicates_strangers_and_bad_shards_are_named_and_counted(sets, tmp_path):
    a, b = sets
    write(b, {"more.tar": [("x12", {"json": about(12)}), ("nothing", {"txt": b"no json"}), ("list", {"json": b"[1]"})]})
    write(a, {"09.tar": [("twin", {"png": picture(13), "json": about(13)})]})
    with tarfile.open(a / "08.tar", "w") as tar:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    whole = (a / "03/3.tar").read_bytes()
    (a / "03/3.tar").write_bytes(whole[:7000])
    found = data_join(str(a), str(b), tmp_path / "out")
    balanced(found)
    assert (found.b.duplicate, found.b.no_id, found.b.examples["duplicate"]) == (1, 2, ["more.tar: x12"])
    assert (found.a.duplicate, found.a.unfit, found.a.examples["duplicate"]) == (1, 1, ["09.tar: twin"])
    assert found.a.faults == 1
    assert found.a.examples["cut_tar"] == ["03/3.tar"]
    assert 20 < found.a.joined < 30
    assert not (tmp_path / "out/09.tar").exists()


def test_where_both_have_a_member_the_first_stands(sets, tmp_path):
    a, b = sets
    write(b, {"more.tar": [("x1", {"json": about(1), "txt": b"another", "url.txt": b"http://x"})]})
    found = data_join(str(a), str(b), tmp_path / "out")
    assert (found.differ["txt"], found.added["url.txt"]) == (1, 1)
    (sample,) = read(tmp_path / "out")["00/0.tar"]
    assert (sample["txt"], sample["url.txt"]) == (b"alt 1", b"http://x")


def test_a_key_that_cannot_be_written_is_counted_on_both_sides(tmp_path):
    for name, key in (("a", "v1.0/x"), ("b", "x")):
        (tmp_path / name).mkdir()
        with tarfile.open(tmp_path / name / "0.tar", "w") as tar:
            for member in [f"{key}.json"] if name == "a" else [f"{key}.json", "y.json"]:
                path = tmp_path / "bytes"
                path.write_bytes(about(1 if member[0] != "y" else 2))
                tar.add(path, member)
    write(tmp_path / "a", {"1.tar": [("good", {"json": about(2)})]})
    found = data_join(str(tmp_path / "a"), str(tmp_path / "b"), tmp_path / "out")
    balanced(found)
    assert (found.a.unfit, found.b.unfit, found.a.joined) == (1, 1, 1)


def test_what_has_nothing_in_common_is_said(sets, tmp_path):
    a, b = sets
    with pytest.raises(UserError, match=r"not one sample is in both by key: .*a has 40 \(40 missing; 00/0.tar: k000\)"):
        data_join(str(a), str(b), tmp_path / "out", "key")
    assert not (tmp_path / "out").exists()
    with pytest.raises(NotFoundError):
        data_join(str(a), str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="lies inside the input"):
        data_join(str(a), str(b), a / "out")
    (tmp_path / "b.tar.gz").touch()
    with pytest.raises(UserError, match="a compressed tar"):
        data_join(str(a), str(tmp_path / "b.tar.gz"))


def test_the_command(sets, tmp_path, capsys):
    a, b = map(str, sets)
    assert command(["data", "join", a, b, str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "A: 40 read = 30 joined + 10 missing\nB: 50 read = 30 joined + 20 missing\n" in said.out
    assert "added to A: .syn.json 30" in said.out
    assert "missing, such as 00/0.tar: k000" in said.err
    assert command(["data", "join", a, b, "--by", "uuid"]) == 1
    assert "samples are joined by uid, key, image. Did you mean 'uid'?" in capsys.readouterr().err
