"""captioners/jobs/shards: every trap between samples and beside shards is told; only what is safe is mended."""

import json
import tarfile

import pytest

from captioners.cli.main import run as command
from captioners.core.errors import NotFoundError, UserError
from captioners.jobs.shards.verify import verify_shards
from captioners.reinforcement.augmentation import Augmentation, as_config
from captioners.reinforcement.set_files import set_files, wrapped_config
from tests.data.tars import foreign
from tests.reinforcement.reference import grouped, read_shard
from tests.reinforcement.samples import BOX, captioned, npz, reinforced, table

TARGET = "mobileclip-dr"
JPG = b"\xff\xd8\xff picture"


def entries(**samples):
    """The entries of a tar for key -> members."""
    return [(f"{key}.{name}", data) for key, members in samples.items() for name, data in members.items()]


GOOD = entries(a=captioned(json=b"{}"), b=captioned(json=b"{}"))


def verified(path, fix=False):
    """trap -> (shard, member), and what verify_shards returned."""
    told = {}
    found = verify_shards(
        str(path), TARGET, fix=fix, say=lambda shard, one: told.setdefault(one.trap, (shard, one.member))
    )
    assert found.traps.keys() == told.keys()
    return told, found


def written(folder, entries, name="0.tar", **how):
    folder.mkdir(exist_ok=True)
    return foreign(folder / name, entries, **how)


def link(name):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return info


def renamed(change, listed=GOOD):
    return [(change(name), data) for name, data in listed]


def test_a_good_set_has_no_trap_also_reinforced_and_in_any_tar_format(tmp_path):
    written(tmp_path / "s", GOOD)
    written(tmp_path / "s", entries(c=reinforced(json=None)), "1.tar", format=tarfile.PAX_FORMAT)
    told, found = verified(tmp_path / "s")
    assert (told, found.shards, found.samples) == ({}, 2, 3)


# What is between samples: (trap, entries, member told, whether --fix takes it out).
BETWEEN = [
    ("leading_dot", renamed(lambda name: f"./{name}"), "./a.jpg", True),
    ("dotted_name", renamed(lambda name: f"v1.0/{name}"), "v1.0/a.jpg", True),
    ("dotted_name", renamed(lambda name: name.replace(".", ".x.", 1)), "a.x.jpg", True),
    ("upper_case", renamed(lambda name: name.replace("jpg", "JPG")), "a.JPG", True),
    ("image_name", renamed(lambda name: name.replace("jpg", "png")), "a.png", True),
    ("image_name", renamed(lambda name: name.replace("jpg", "jpeg")), "a.jpeg", True),
    ("not_contiguous", [*GOOD[1:], GOOD[0]], "a.jpg", True),
    ("not_contiguous", sorted(GOOD, key=lambda one: one[0].partition(".")[2]), "a.json", True),
    ("duplicate_member", [GOOD[0], *GOOD], "a.jpg", True),
    ("duplicate_member", [("a.jpg", b"other"), *GOOD], "a.jpg", False),
    ("duplicate_key", [*GOOD, *GOOD[: len(GOOD) // 2]], "a.jpg", True),
    ("duplicate_key", [*GOOD, ("a.jpg", b"other")], "a.jpg", False),
    ("unsafe_name", [*GOOD, link("c.jpg")], "c.jpg", False),
    ("no_extension", [*GOOD, ("README", b"x")], "README", False),
    ("extension", [*GOOD, ("b.cls", b"3")], "b.cls", False),
    ("caption_key", entries(a=captioned(json=b'{"caption": "x"}')), "a.json", True),
    ("emb_key", entries(a=captioned(json=b'{"member": 1}')), "a.json", True),
    ("not_an_object", entries(a=captioned(json=b"[1]")), "a.json", True),
    (
        "paug",
        entries(a=reinforced(json=None, paug_json=json.dumps({"param_aug": str([BOX] * 3)}).encode())),
        "a.paug.json",
        True,
    ),
    ("paug", entries(a=reinforced(json=None, paug_json=b'{"param_aug": "x"}')), "a.paug.json", False),
    (
        "paug_key",
        entries(a=reinforced(json=None, paug_json=json.dumps({"param_aug": [BOX] * 3, "uid": "x"}).encode())),
        "a.paug.json",
        True,
    ),
    ("no_image", [*GOOD, ("syn.json", b"{}")], "syn.jpg", False),
    ("no_image", [("url.txt", b"x"), *GOOD], "url.jpg", False),
    ("no_image", [*GOOD, ("paug.json", b'{"param_aug": []}')], "paug.jpg", False),
    ("not_json", entries(a=captioned(json=b"{")), "a.json", False),
    ("not_utf8", entries(a=captioned(txt=b"\xe9", json=None)), "a.txt", False),
    ("unstripped", entries(a=captioned(syn_json=b'{"syn_text": [" a dog"]}', json=None)), "a.syn.json", True),
    ("not_a_list", entries(a=captioned(syn_json=b'{"syn_text": "a dog"}', json=None)), "a.syn.json", True),
    ("syn_key", entries(a=captioned(syn_json=b'{"syn_text": ["x"], "model": "m"}', json=None)), "a.syn.json", True),
    ("syn_key", entries(a=captioned(syn_json=b'{"syn_text_emb": ["x"]}', json=None)), "a.syn.json", False),
    ("overrides", list(reversed(entries(a=captioned(json=b'{"url": "u"}')))), "a.json", True),
    ("empty_caption", entries(a=captioned(syn_json=b'{"syn_text": [""]}', json=None)), "a.syn.json", False),
    ("empty_list", entries(a=captioned(syn_json=b'{"syn_text": []}', json=None)), "a.syn.json", False),
    ("no_syn", entries(a=captioned(syn_json=None, json=None)), "a.syn.json", False),
    (
        "emb_rows",
        entries(a=reinforced(json=None, npz=npz(image_emb=table(2), text_emb=table(1), syn_text_emb=table(2)))),
        "a.npz",
        False,
    ),
]


@pytest.mark.parametrize(
    ("trap", "listed", "member", "mends"), BETWEEN, ids=[f"{one[0]}-{n}" for n, one in enumerate(BETWEEN)]
)
def test_a_trap_is_told_and_mended_only_where_it_is_safe(trap, listed, member, mends, tmp_path):
    path = written(tmp_path / "s", listed)
    told, _ = verified(path)
    assert told[trap] == ("0.tar", member)
    before = path.read_bytes()
    told, found = verified(path, fix=True)
    assert (trap not in told) == mends
    assert [one.name for one in path.parent.iterdir()] == ["0.tar"]
    if not mends:
        if "not_mended" in told:
            assert path.read_bytes() == before
        return
    assert told == {}
    assert found.mended["0.tar"]
    pictures = sorted(
        data for one in listed if not isinstance(one, tarfile.TarInfo) for name, data in [one] if data == JPG
    )
    samples = read_shard(path)
    assert {one["image"] for one in samples} == set(pictures), "no byte of a picture changes"
    assert len(samples) == found.samples
    again = path.read_bytes()
    assert verified(path, fix=True)[1].mended == {}
    assert path.read_bytes() == again


def test_what_is_moved_or_renamed_is_not_lost(tmp_path):
    about = {"uid": "x", "caption": "alt", "member": [1], "width": 5}
    path = written(
        tmp_path / "s", renamed(lambda name: f"v1.0/{name}", entries(a=captioned(json=json.dumps(about).encode())))
    )
    verified(path, fix=True)
    (one,) = read_shard(path)
    assert one["uid"] == "v1_0/a"
    assert one["width"] == 5
    assert one["cap_meta"] == {"moved": {"caption": "alt", "member": [1]}, "source_key": "v1.0/a"}


def test_fields_of_two_members_that_have_one_name_are_both_kept(tmp_path):
    about = {"uid": "abc", "width": 640, "caption": "A"}
    beside = {"uid": "zz", "width": 1, "caption": "B"}
    sample = captioned(json=json.dumps(about).encode(), syn_json=json.dumps({"syn_text": ["x"], **beside}).encode())
    path = written(tmp_path / "s", entries(a=sample))
    told, found = verified(path, fix=True)
    assert told == {}
    assert found.mended["0.tar"] == ["caption, caption, uid, width moved below cap_meta (1x)"]
    kept = json.loads(grouped(path)["a"]["json"])
    assert kept == {"uid": "abc", "width": 640, "cap_meta": {"moved": {"caption": "A", "syn.json": beside}}}


@pytest.mark.parametrize("before", [{"caption": "older"}, "a text"])
def test_what_was_moved_earlier_is_not_overwritten(before, tmp_path):
    about = {"caption": "newer", "cap_meta": {"moved": before}}
    path = written(tmp_path / "s", entries(a=captioned(json=json.dumps(about).encode())))
    whole = path.read_bytes()
    told, _ = verified(path, fix=True)
    assert {"caption_key", "not_mended"} <= told.keys()
    assert path.read_bytes() == whole
    same = {"caption": "newer", "cap_meta": {"moved": {"caption": "newer", "text": "t"}}}
    written(tmp_path / "s", entries(a=captioned(json=json.dumps(same).encode())))
    assert verified(path, fix=True)[0] == {}
    assert json.loads(grouped(path)["a"]["json"]) == {"cap_meta": same["cap_meta"]}


def test_a_sample_that_is_only_renamed_keeps_the_bytes_of_its_json(tmp_path):
    about = b'{"p": 0.1000000000000000055511151231257827, "far": 1e999}'
    path = written(tmp_path / "s", entries(**{"a.b": captioned(json=about)}))
    assert verified(path, fix=True)[0] == {}
    assert grouped(path)["a_b"]["json"] == about[:-1] + b',"cap_meta":{"source_key":"a.b"}}'


def test_a_link_stays_one_and_the_shard_keeps_its_mode(tmp_path):
    shard = written(tmp_path / "elsewhere", renamed(lambda name: f"./{name}"))
    shard.chmod(0o640)
    (tmp_path / "s").mkdir()
    (tmp_path / "s/0.tar").symlink_to(shard)
    assert verified(tmp_path / "s", fix=True)[0] == {}
    assert (tmp_path / "s/0.tar").is_symlink() and shard.stat().st_mode & 0o777 == 0o640
    assert verified(shard)[0] == {}


def test_keys_that_renaming_would_mix_up_stay(tmp_path):
    path = written(tmp_path / "s", entries(**{"a.x": captioned(json=None), "a_x": captioned(json=None)}))
    before = path.read_bytes()
    told, found = verified(path, fix=True)
    assert {"dotted_name", "not_mended"} <= told.keys()
    assert (path.read_bytes(), found.mended) == (before, {})


def test_nothing_moves_into_a_json_that_cannot_be_read(tmp_path):
    junk = captioned(json=b"{", syn_json=b'{"syn_text": ["x"], "model": "m"}')
    path = written(tmp_path / "s", entries(a=junk))
    before = path.read_bytes()
    told, _ = verified(path, fix=True)
    assert {"not_json", "syn_key", "not_mended"} <= told.keys()
    assert path.read_bytes() == before


@pytest.mark.parametrize(("data", "trap"), [(b"", "empty"), (b"no tar at all" * 60, "not_a_tar")])
def test_what_is_no_shard(data, trap, tmp_path):
    (tmp_path / "0.tar").write_bytes(data)
    assert trap in verified(tmp_path)[0]


def test_a_cut_tar_is_told_and_not_mended(tmp_path):
    path = written(tmp_path / "s", renamed(lambda name: f"./{name}"))
    path.write_bytes(path.read_bytes()[:2000])
    told, _ = verified(path, fix=True)
    assert {"cut_tar", "not_mended"} <= told.keys()
    assert path.stat().st_size == 2000


# ------------------------------------------------------------------------------------------------ beside the shards


@pytest.fixture
def pair(tmp_path):
    """Two shards in two folders, with all that belongs beside them."""
    for folder in ("00", "01"):
        written(tmp_path / folder, GOOD)
    files = set_files({"00/0.tar": 2, "01/0.tar": 2}, "pair", "2026-01-02T03:04:05") | {
        "config.json": wrapped_config(as_config(Augmentation()))
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_files_beside_that_are_right(pair):
    assert verified(pair)[0] == {}


@pytest.mark.parametrize(
    ("name", "text", "trap"),
    [
        ("00/sizes.json", '{"0.tar": 3}', "sizes"),
        ("01/sizes.json", "{}", "sizes"),
        ("00/sizes.json", "{", "sizes"),
        ("01/manifest.jsonl", '{"shard": "0", "num_uids": 9}', "manifest"),
        ("01/manifest.jsonl", '{"shard": "1", "num_uids": 2}\n\n', "manifest"),
        ("info.json", '"name"\n"lengths"\n"totalLength"\n"date"', "info"),
        ("info.json", '{"lengths": {"00/0.tar": "7"}}', "info"),
        ("info.json", '{"lengths": {"00/0.tar": null}}', "info"),
        ("info.json", '{"lengths": {"00/0.tar": [2]}}', "info"),
        ("info.json", '{"lengths": {"00/0.tar": "2", "01/0.tar": "2"}, "totalLength": null}', "info"),
        ("info.json", '{"lengths": {"00/0.tar": Infinity}}', "info"),
        ("info.json", '["00/0.tar"]', "info"),
        ("info.json", '{"lengths": {"00/0.tar": "2"}, "totalLength": "4"}', "info"),
        ("config.json", json.dumps(as_config(Augmentation())), "config"),
    ],
)
def test_files_beside_that_are_wrong_are_told_and_written_again(pair, name, text, trap):
    right = (pair / name).read_text()
    (pair / name).write_text(text)
    told, _ = verified(pair)
    assert told == {trap: (name.rpartition("/")[0] or ".", name.rpartition("/")[2])}
    told, found = verified(pair, fix=True)
    assert told == {}
    assert found.mended == {name: ["written again"]}
    if name == "config.json":
        assert json.loads(right)["reinforce"] == json.loads((pair / name).read_text())["reinforce"]
    elif name != "info.json":
        assert (pair / name).read_text() == right


def test_the_empty_last_line_of_others_is_no_trap(pair):
    with (pair / "00/manifest.jsonl").open("a") as file:
        file.write("\n")
    assert verified(pair)[0] == {}


def test_a_part_of_a_folder_writes_no_list_anew(pair):
    written(pair / "00", GOOD, "1.tar")
    (pair / "00/sizes.json").write_text('{"0.tar": 5}')
    told, _ = verified(pair / "00/0.tar", fix=True)
    assert "sizes" in told
    assert json.loads((pair / "00/sizes.json").read_text()) == {"0.tar": 5}


def test_shards_at_an_address_are_checked_and_not_mended(pair):
    assert verified(f"local://{pair}")[0] == {}
    (pair / "00/sizes.json").write_text("{}")
    assert verified(f"local://{pair}")[0] == {"sizes": ("00", "sizes.json")}
    with pytest.raises(UserError, match="copy them here to mend them"):
        verified(f"local://{pair}", fix=True)


# ------------------------------------------------------------------------------------------------------ the command


def test_the_command_names_shard_member_and_remedy(tmp_path, capsys):
    many = [
        (f"{n:04d}.{name}", data) for n in range(26) for name, data in captioned(jpg=None, png=JPG, json=None).items()
    ]
    written(tmp_path / "s", many)
    assert command(["verify", str(tmp_path / "s"), "--target", TARGET]) == 1
    said = capsys.readouterr()
    assert "image_name: 0.tar: 0000.png: " in said.err
    assert "rename it to .jpg" in said.err
    assert "image_name: 6 more" in said.err
    assert "1 shards, 26 samples: 26 traps" in said.out
    assert "--fix" in said.out
    assert command(["verify", str(tmp_path / "s"), "--target", TARGET, "--fix"]) == 0
    assert "mended: 0.tar: .png named .jpg (26x)" in capsys.readouterr().out
    assert command(["verify", str(tmp_path / "s"), "--target", TARGET]) == 0


def test_the_next_command_is_quoted(tmp_path, capsys):
    written(tmp_path / "my set", renamed(lambda name: f"./{name}"))
    command(["verify", str(tmp_path / "my set"), "--target", TARGET])
    assert f"captioners verify '{tmp_path}/my set' --target" in capsys.readouterr().out


def test_mistakes_of_the_call(tmp_path, capsys):
    with pytest.raises(NotFoundError, match=r"no target is named 'mobileclip'. Did you mean 'mobileclip-dr'"):
        verify_shards(str(tmp_path), "mobileclip")
    with pytest.raises(NotFoundError, match="no tar shards found"):
        verify_shards(str(tmp_path), TARGET)
    assert command(["verify", "latest", "--fix"]) == 1
    assert "--target mobileclip-dr" in capsys.readouterr().err
