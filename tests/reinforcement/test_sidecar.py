"""captioners/reinforcement/sidecar: shards and sidecars in step give what captioned shards hold."""

import json
import subprocess
import sys
import textwrap

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.core.recipe import options_from
from captioners.jobs.export.job import export_run
from captioners.jobs.recipes.export import ExportRecipe
from captioners.reinforcement import sidecar
from captioners.reinforcement.sidecar import joined, joined_shard
from tests.data.tars import foreign, webdataset_reads, write
from tests.jobs.shards import picture
from tests.reinforcement.tar_runs import tar_run

KEYS = [f"{number:04d}" for number in range(7)]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """(shards, sidecars, captioned shards) of a run: one sample has no picture, the captions of another are refused."""
    folder = tmp_path_factory.mktemp("sidecar")
    for number in range(2):
        samples = {f"{number}{key}": {"jpg": picture(10 * number + int(key)), "txt": b"x"} for key in KEYS}
        del samples[f"{number}0002"]["jpg"]
        samples[f"{number}0005"]["syn.json"] = b'{"syn_text_old": ["a"]}'
        (folder / "in" / f"{number:02d}").mkdir(parents=True)
        write(folder / "in" / f"{number:02d}" / "0.tar", samples)
    run = tar_run(folder, folder / "in", refuse={"00004"})
    for to in ("sidecar", "webdataset"):
        export_run(options_from(ExportRecipe, {"run": run.url, "to": to, "output": str(folder / to)}, []))
    return folder / "in", folder / "sidecar", folder / "webdataset"


def test_the_pair_gives_what_the_captioned_shard_holds(sets):
    shards, sidecars, whole = sets
    found = {(one.shard, one.key): dict(one.members) for one in joined(str(shards), str(sidecars))}
    assert len(found) == 11
    assert ("00/0.tar", "00004") not in found
    for name in ("00/0.tar", "01/0.tar"):
        for key, members in webdataset_reads(whole / name).items():
            mine = found.pop((name, key))
            assert json.loads(mine.pop("syn.json")) == json.loads(members["syn.json"])
            assert mine == {extension: members[extension] for extension in mine}
    assert not found


def snippet(shards, sidecars):
    """What the snippet of the module's docstring gives, [key, captions, picture's size], in a process of its own."""
    text = sidecar.__doc__
    code = textwrap.dedent(text[text.index("    import json") :])
    code += """
import sys
files = sys.argv[1:]
for sample in captioned(files[:len(files) // 2], files[len(files) // 2:]):
    print(json.dumps([sample["__key__"], json.loads(sample["syn.json"]), len(sample["jpg"])]))
assert "captioners" not in sys.modules
"""
    files = [str(one) for one in (*shards, *sidecars)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *files],
        check=False,
        capture_output=True,
        text=True,
        cwd=shards[0].parent,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_the_plain_snippet_gives_the_same_without_this_package(sets):
    shards, sidecars, _ = sets
    theirs, said = snippet(*([folder / name for name in ("00/0.tar", "01/0.tar")] for folder in (shards, sidecars)))
    ours = list(joined(str(shards), str(sidecars)))
    assert len(ours) == 11 and not said
    assert theirs == [[one.key, json.loads(one.members["syn.json"]), len(one.members["jpg"])] for one in ours]


def test_the_plain_snippet_keeps_shards_of_equal_keys_apart(tmp_path):
    shards, sidecars = ([tmp_path / f"{kind}{number}.tar" for number in range(2)] for kind in ("shard", "sidecar"))
    for number, path in enumerate(shards):
        write(path, {f"{key:03d}": {"jpg": b"x" * (3 * number + key + 1)} for key in range(3)})
    for path, keys in zip(sidecars, ((0,), (1, 2)), strict=True):
        write(
            path,
            {f"{key:03d}": {"syn.json": json.dumps({"syn_text": [f"{path.stem}-{key}"]}).encode()} for key in keys},
        )
    assert snippet(shards, sidecars)[0] == [
        ["000", {"syn_text": ["sidecar0-0"]}, 1],
        ["001", {"syn_text": ["sidecar1-1"]}, 5],
        ["002", {"syn_text": ["sidecar1-2"]}, 6],
    ]
    write(shards[1], {"000": {"jpg": b"x"}})
    assert "sidecar1.tar is not of" in snippet(shards, sidecars)[1]


def test_what_does_not_fit_together_is_told(sets, tmp_path):
    shards, sidecars, _ = sets
    with pytest.raises(NotFoundError, match=r"2 sidecars have no shard in .* \(00/0.tar, 01/0.tar\)"):
        list(joined(str(shards / "00"), str(sidecars)))
    with pytest.raises(UserError, match=r"10000 comes in it, and in its shard .* not or earlier"):
        list(joined_shard(shards / "00/0.tar", sidecars / "01/0.tar"))
    with pytest.raises(UserError, match="a damaged sidecar, or none"):
        list(joined_shard(shards / "00/0.tar", shards / "00/0.tar"))
    again = foreign(tmp_path / "again.tar", [("00005.syn.json", b'{"syn_text_old": ["b"]}')])
    with pytest.raises(UserError, match="has syn_text_old already, and so has its sidecar"):
        list(joined_shard(shards / "00/0.tar", again))
    cut = tmp_path / "cut.tar"
    cut.write_bytes((sidecars / "00/0.tar").read_bytes()[:1000])
    with pytest.raises(UserError, match="a damaged sidecar"):
        list(joined_shard(shards / "00/0.tar", cut))
