"""captioners/jobs/export: captioned shards, sidecars and lines, read by the judge and compared with the originals."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from base64 import b64decode, b64encode

import numpy as np
import pytest

from captioners.cli.main import run as command
from captioners.core.errors import InterruptedRunError, RecipeError, UserError
from captioners.core.recipe import options_from
from captioners.jobs.export.job import export_run
from captioners.jobs.recipes.export import ExportRecipe
from tests.data.real import needs_photos, photos
from tests.data.tars import foreign, webdataset_reads
from tests.jobs.shards import picture
from tests.reinforcement.reference import draw, grouped, read_shard
from tests.reinforcement.samples import npz, reinforced, table
from tests.reinforcement.tar_runs import caption, read_jsonl, tar_run
from tests.runs_fixture import make_run


def original(number, **more):
    """What a sample of a web set has, as (extension, bytes) in an unsorted order."""
    members = {
        "txt": f"größer {number}".encode(),
        "jpg": picture(number),
        "json": json.dumps({"uid": f"{number:032x}", "sha256": "0" * 64}).encode(),
        "url.txt": f"https://example.org/{number}".encode(),
    } | {name.replace("_", "."): data for name, data in more.items()}
    return {name: data for name, data in members.items() if data is not None}


def shards(folder, found):
    """Write shard -> key -> members as others would: members unsorted."""
    for name, samples in found.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        foreign(folder / name, [(f"{key}.{e}", data) for key, one in samples.items() for e, data in one.items()])
    return folder


WEB = {
    f"{folder:02d}/0000.tar": {f"{10 * folder + n:07d}": original(10 * folder + n) for n in range(8)}
    for folder in range(2)
}


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    return shards(tmp_path_factory.mktemp("web") / "in", WEB)


@pytest.fixture(scope="module")
def run(web):
    return tar_run(web.parent, web)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def export(run, out, *changes, to="webdataset"):
    return export_run(options_from(ExportRecipe, {"run": run.url, "to": to, "output": str(out)}, changes)).manifest


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def balanced(manifest):
    for sums, whole in ((manifest["samples"], "read"), (manifest["captions"], "rows")):
        assert sums[whole] == sum(count for name, count in sums.items() if name != whole)
    return manifest


# ------------------------------------------------------------------------------------------------------ whole shards


def test_the_judge_reads_what_was_there_and_the_captions(web, run, out):
    balanced(export(run, out))
    for shard, samples in WEB.items():
        found = read_shard(out / shard)
        assert [one["uid"] for one in found] == list(samples), "order and uid are kept"
        for one, (key, members) in zip(found, samples.items(), strict=True):
            assert one["image"] == members["jpg"]
            assert one["text"].encode() == members["txt"]
            assert one["url"].encode() == members["url.txt"]
            assert one["sha256"] == "0" * 64
            assert one["syn_text"] == [caption(key, "broad", number) for number in range(2)]
            about = one["cap_meta"]
            assert about["syn_text"] == {"members": ["broad", "broad"], "draws": [0, 1]}
            assert about["captioners"]["broad"]["captioner"] == "random-broad"
        # The trainer's loader sees the same, and draws from it with teachers online.
        for key, members in grouped(out / shard).items():
            drawn = {draw(members, np.random.default_rng(seed), online=True)[2] for seed in range(9)}
            assert drawn == {caption(key, "broad", number) for number in range(2)}
        assert webdataset_reads(out / shard).keys() == samples.keys()


def test_members_are_sorted_and_nothing_of_the_time_is_in_a_tar(run, out):
    export(run, out)
    with tarfile.open(out / "00/0000.tar") as tar:
        infos = tar.getmembers()
    assert [one.name.partition(".")[2] for one in infos[:5]] == ["jpg", "json", "syn.json", "txt", "url.txt"]
    assert {(one.mtime, one.uid, one.uname) for one in infos} == {(0, 0, "")}
    export(run, out.parent / "b" / "out")
    assert tree(out) == tree(out.parent / "b" / "out")


def test_the_files_beside_are_what_their_readers_expect(run, out):
    manifest = export(run, out)
    for folder in ("00", "01"):
        assert json.loads((out / folder / "sizes.json").read_text()) == {"0000.tar": 8}
        assert read_jsonl(out / folder / "manifest.jsonl") == [{"shard": "0000", "num_uids": 8}]
    info = json.loads((out / "info.json").read_text())
    assert info == {
        "name": "out",
        "lengths": {"00/0000.tar": "8", "01/0000.tar": "8"},
        "totalLength": "16",
        "date": "2026-01-02T03:04:02",
    }
    config = json.loads((out / "config.json").read_text())
    assert set(config) == {"model_name", "num_samples", "pretrained", "reinforce"}
    assert config["reinforce"]["image_augmentation"]["random_resized_crop"]["size"] == 224
    assert not (out / "left_out.jsonl").exists()
    for one in manifest["files"]:
        data = (out / one["name"]).read_bytes()
        assert (one["rows"], one["sha256"]) == (8, hashlib.sha256(data).hexdigest())


def test_several_captioners_stand_under_several_keys_with_exactly_n(web, tmp_path, out):
    run = tar_run(tmp_path, web, members=("broad", "dfn-docci"), draws=3)
    manifest = export(run, out, "select.n=2")
    assert manifest["keys"] == {"syn_text_broad": ["broad"], "syn_text_dfn_docci": ["dfn-docci"]}
    for one in read_shard(out / "00/0000.tar"):
        assert {key: len(one[key]) for key in one if key.startswith("syn_text")} == {
            "syn_text_broad": 2,
            "syn_text_dfn_docci": 2,
        }
    export(run, out.with_name("one"), "tags={broad: '', dfn-docci: ''}")
    (one, *_) = read_shard(out.with_name("one") / "00/0000.tar")
    expected = [caption(one["uid"], member, number) for member in ("broad", "dfn-docci") for number in range(3)]
    assert one["syn_text"] == expected, "members of one tag share its list"
    assert balanced(manifest)["captions"] == {"rows": 96, "taken": 64, "spare": 32}


def test_a_sample_without_all_its_captions_is_told_and_left_out(web, tmp_path, out):
    keys = list(WEB["00/0000.tar"])
    run = tar_run(tmp_path, web, members=("broad", "brief"), refuse={keys[3]})
    manifest = balanced(export(run, out))
    assert manifest["samples"] == {"read": 16, "taken": 15, "too_few": 1}
    assert [one["uid"] for one in read_shard(out / "00/0000.tar")] == keys[:3] + keys[4:]
    (left,) = read_jsonl(out / "left_out.jsonl")
    assert (left["key"], left["reason"]) == (keys[3], "too_few_captions")
    assert left["error"] == "1 caption of 2 wanted by brief; it has 2, 1 refused by the run's rules"
    assert json.loads((out / "00/sizes.json").read_text()) == {"0000.tar": 7}


def test_a_member_that_kept_nothing_is_named_and_can_be_left_out(web, tmp_path, out):
    run = tar_run(tmp_path, web, members=("broad", "brief"), refuse={"brief"})
    with pytest.raises(UserError, match=r"no caption of brief was kept: tags=\{brief: null\} leaves a member out"):
        export(run, out)
    manifest = balanced(export(run, out, "tags={brief: null}"))
    assert manifest["keys"] == {"syn_text_broad": ["broad"]} and manifest["samples"] == {"read": 16, "taken": 16}
    with pytest.raises(UserError, match="every member is left out"):
        export(run, out.with_name("none"), "tags={brief: null, broad: null}")


def test_what_would_mislead_readers_moves_below_one_key(tmp_path, out):
    about = {"caption": "alt", "member": 1, "their_captions": ["x"], "width": 3, "url": "u", "key": "k"}
    found = {"0.tar": {"a": original(1, json=json.dumps(about).encode(), cls=b"3"), "b": original(2)}}
    run = tar_run(tmp_path, shards(tmp_path / "in", found))
    manifest = export(run, out)
    one = read_shard(out / "0.tar")[0]
    assert (one["width"], one["key"]) == (3, "k")
    assert one["cap_meta"]["moved"] == {"caption": "alt", "member": 1, "their_captions": ["x"]}
    assert not {"caption", "member", "their_captions"} & one.keys()
    assert one["url"] == "https://example.org/1", "what url.txt says stands"
    assert any(".cls were left out" in note for note in manifest["notes"])
    export(run, out.with_name("all"), "members=all")
    assert webdataset_reads(out.with_name("all") / "0.tar")["a"]["cls"] == b"3"
    with pytest.raises(ValueError, match="unsupported"):
        read_shard(out.with_name("all") / "0.tar")


def test_numbers_of_json_stay_as_they_were_written(tmp_path, out):
    about = [
        b'{"p": 0.1000000000000000055511151231257827, "far":1e999, "w": 3.0, "wer": "gr\xc3\xb6\xc3\x9fer" }\n',
        b"{}",
    ]
    found = {"0.tar": {f"{number}": original(number, json=data) for number, data in enumerate(about)}}
    export(tar_run(tmp_path, shards(tmp_path / "in", found)), out)
    members = grouped(out / "0.tar")
    assert members["0"]["json"].startswith(about[0].rstrip(b" }\n") + b',"cap_meta":{')
    assert list(json.loads(members["1"]["json"])) == ["cap_meta"]


def test_pictures_keep_their_name_unless_asked(tmp_path, out):
    found = {"0.tar": {"a": original(1, jpg=None, png=picture(1)), "b": original(2, jpg=None, JPEG=picture(2))}}
    run = tar_run(tmp_path, shards(tmp_path / "in", found))
    manifest = export(run, out)
    assert [set(one) & {"png", "jpeg"} for one in webdataset_reads(out / "0.tar").values()] == [{"png"}, {"jpeg"}]
    assert any("image_names=jpg" in note for note in manifest["notes"])
    manifest = export(run, out.with_name("named"), "image_names=jpg")
    assert [one["image"] for one in read_shard(out.with_name("named") / "0.tar")] == [picture(1), picture(2)]
    assert "notes" not in manifest


def test_captions_of_before_stay_and_embeddings_without_ours_are_told(tmp_path, out):
    before = {name: data for name, data in reinforced().items() if name != "jpg"}
    found = {"0.tar": {"a": before | {"jpg": picture(1)}}}
    run = tar_run(tmp_path, shards(tmp_path / "in", found))
    with pytest.raises(UserError, match="not one caption is left"):
        export(run, out)
    manifest = export(run, out, "tags={broad: ours}")
    (note,) = manifest["notes"]
    assert "captioners reinforce adds them" in note
    assert "--dataset-reinforcement-syn-text-key-regex '^(syn_text)$'" in note
    (one,) = read_shard(out / "0.tar")
    assert one["syn_text"] == ["a dog", "a black dog"]
    assert one["syn_text_ours"] == [caption("a", "broad", 0), caption("a", "broad", 1)]
    assert np.array_equal(one["image_emb"], table(3))


@pytest.mark.parametrize("key", ["syn_text", "syn_text_old"])
def test_legacy_embeddings_without_ours_are_told_with_the_expression_to_train_with(tmp_path, out, key):
    captions = json.dumps({key: ["a dog", "a black dog"]}).encode()
    before = reinforced("legacy", syn_json=captions) | {"jpg": picture(1)}
    run = tar_run(tmp_path, shards(tmp_path / "in", {"0.tar": {"a": before}}))
    (note,) = export(run, out, "tags={broad: ours}")["notes"]
    assert "legacy layout" in note and "captioners reinforce adds" in note
    assert f"--dataset-reinforcement-syn-text-key-regex '^({key})$'" in note


def test_samples_that_cannot_be_written_are_told_with_their_reason(tmp_path, out):
    broken = npz(image_emb=table(3), text_emb=table(1), syn_text_emb=table(2))
    found = {
        "0.tar": {
            "good": original(1),
            "halves": original(2, **{"syn.json": b'{"syn_text_old": []}'}),
            "list": original(3, **{"syn.json": b'["x"]'}),
            "unpaired": original(4, npz=broken),
            "v1_0/x": original(5),
        }
    }
    run = tar_run(tmp_path, shards(tmp_path / "in", found))
    manifest = balanced(export(run, out))
    assert {one["key"]: one["reason"] for one in read_jsonl(out / "left_out.jsonl")} == {
        "halves": "empty_list",
        "list": "not_an_object",
        "unpaired": "no_paug",
    }
    assert manifest["samples"] == {"read": 5, "taken": 2, "unfit": 3}
    assert [one["uid"] for one in read_shard(out / "0.tar")] == ["good", "v1_0/x"]


def test_a_key_in_a_folder_with_a_dot_is_renamed_and_remembered(tmp_path, out):
    run = tar_run(tmp_path, shards(tmp_path / "in", {"0.tar": {"v1.0/x": original(5)}}))
    assert any("dots in their keys" in note for note in export(run, out)["notes"])
    (one,) = read_shard(out / "0.tar")
    assert (one["uid"], one["cap_meta"]["source_key"]) == ("v1_0/x", "v1.0/x")


def test_quarantined_samples_are_passed_over(tmp_path, out):
    found = {"0.tar": {"a": original(1), "b": {"txt": b"no picture"}, "c": original(3, jpg=b""), "d": original(4)}}
    run = tar_run(tmp_path, shards(tmp_path / "in", found), part=2)
    manifest = balanced(export(run, out))
    assert manifest["samples"] == {"read": 4, "taken": 2, "quarantined": 2}
    assert [one["uid"] for one in read_shard(out / "0.tar")] == ["a", "d"]
    assert [one["reason"] for one in read_jsonl(out / "left_out.jsonl")] == ["no_image", "empty"]


def test_an_unfinished_shard_is_not_written_and_its_samples_are_told(web, tmp_path, out):
    run = tar_run(tmp_path, web, members=("a", "b"), stop_before="01/0000.tar")
    with pytest.raises(UserError, match="partial=true"):
        export(run, out)
    balanced(export(run, out, "partial=true"))
    assert sorted(path.name for path in out.iterdir()) == ["00", "config.json", "info.json", "manifest.json"]


def test_shards_that_moved_are_named_and_a_changed_picture_is_told(tmp_path, out):
    folder = shards(tmp_path / "in", {"0.tar": {"a": original(1), "b": original(2)}})
    run = tar_run(tmp_path, folder)
    folder.rename(tmp_path / "moved")
    with pytest.raises(UserError, match=r"0.tar: is not there any more; .* input=FOLDER"):
        export(run, out)
    export(run, out, f"input={tmp_path / 'moved'}")
    assert len(read_shard(out / "0.tar")) == 2
    data = bytearray((tmp_path / "moved/0.tar").read_bytes())
    data[data.find(picture(2)) + 20] ^= 1
    (tmp_path / "moved/0.tar").write_bytes(data)
    manifest = balanced(export(run, out.with_name("changed"), f"input={tmp_path / 'moved'}"))
    assert manifest["samples"] == {"read": 2, "taken": 1, "picture_gone": 1}


def test_a_shard_that_has_changed_since_is_not_exported(tmp_path, out):
    found = {"0.tar": {"a": original(1), "b": original(2)}}
    folder = shards(tmp_path / "in", found)
    run, path = tar_run(tmp_path, folder), tmp_path / "in/0.tar"
    whole, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_bytes(whole + bytes(10240))
    for moved in ([], [f"input={folder}"]):
        with pytest.raises(UserError, match=r"has changed since it was captioned \(.* bytes then, .* now\); bring"):
            export(run, out, *moved)
    path.write_bytes(whole)
    os.utime(path, ns=(times[0], times[1] + 1))
    with pytest.raises(UserError, match=r"another time of change\); .*input=FOLDER"):
        export(run, out)
    export(run, out.with_name("said"), f"input={folder}")
    os.utime(path, ns=times)
    export(run, out)
    assert read_shard(out / "0.tar") == read_shard(out.with_name("said") / "0.tar")


def test_shards_at_an_address_are_read_where_they_are(web, tmp_path, out):
    # fsspec's own local file system stands for a store: streamed in blocks, stamped, never copied.
    export(tar_run(tmp_path / "far", f"local://{web}"), out)
    export(tar_run(tmp_path / "near", web), tmp_path / "b" / "out")
    for shard in WEB:
        assert (out / shard).read_bytes() == (tmp_path / "b" / "out" / shard).read_bytes()
    with pytest.raises(UserError, match=r"gone/00/0000.tar: is not there any more"):
        export(tar_run(tmp_path / "again", web), tmp_path / "c", f"input=local://{tmp_path}/gone")


def test_a_run_over_another_source_becomes_shards_as_well(tmp_path, out):
    run = make_run(tmp_path, drawn=4, members=1)
    balanced(export(run, out))
    found = read_shard(out / "photos.tar")
    assert {one["uid"] for one in found} >= {"photos/cat"}
    for one in found:
        assert one["image"] == (tmp_path / "pictures" / f"{one['uid']}.jpg").read_bytes()
        assert len(one["syn_text"]) == 2


def test_lines_of_the_generator_keep_the_captions_they_had(tmp_path, out):
    fields = [
        {"uid": f"{n}", "text": "x", "url": "u", "syn_text": ["a"], "image": b64encode(picture(n)).decode()}
        for n in range(3)
    ]
    fields[1]["image_emb"] = "H4sIAAAA"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "lines.jsonl").write_text("".join(json.dumps(one) + "\n" for one in fields))
    columns = {"caption_column": "text", "key_column": "uid"}
    run = tar_run(tmp_path, tmp_path / "in", kind="jsonl", **columns)
    balanced(export(run, out, "tags={broad: ours}", "image_names=jpg"))
    found = read_shard(out / "lines_jsonl_00000.tar")
    assert [one["uid"] for one in found] == ["0", "2"]
    assert [one["syn_text"] for one in found] == [["a"], ["a"]]
    assert found[1]["syn_text_ours"] == [caption("2", "broad", n) for n in range(2)]
    assert found[1]["image"] == picture(2)
    (left,) = read_jsonl(out / "left_out.jsonl")
    assert (left["key"], left["reason"]) == ("1", "unfit")
    assert "pickle" in left["error"]


def test_lines_of_ours_keep_both_urls_that_a_sample_had(tmp_path, out):
    fields = {"uid": "0", "text": "x", "url": "a", "syn_text": ["a"], "cap_meta": {"url": "b"}}
    (tmp_path / "in").mkdir()
    line = json.dumps(fields | {"image": b64encode(picture(1)).decode()})
    (tmp_path / "in" / "lines.jsonl").write_text(line + "\n")
    run = tar_run(tmp_path, tmp_path / "in", kind="jsonl", caption_column="text", key_column="uid")
    export(run, out, "tags={broad: ours}")
    (one,) = grouped(out / "lines_jsonl_00000.tar").values()
    assert (one["url.txt"], json.loads(one["json"])["url"]) == (b"a", "b")


# ---------------------------------------------------------------------------------------------------- kill and resume


def test_a_killed_export_goes_on_behind_its_last_shard(run, out, tmp_path):
    arguments = [sys.executable, "-m", "captioners", "export", run.url, "--to", "webdataset", "--out", str(out)]
    environment = {**os.environ, "CAPTIONERS_FAULT": "after_unit:5"}
    killed = subprocess.run(arguments, env=environment, check=False, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    (draft,) = [path for path in out.parent.iterdir() if path.name.startswith(".out")]
    first = draft / "00/0000.tar"
    before = first.stat().st_mtime_ns
    assert not (draft / "01/0000.tar").exists()
    gone = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert gone.returncode == 0, gone.stderr
    assert "going on behind 00/0000.tar" in gone.stdout
    assert (out / "00/0000.tar").stat().st_mtime_ns == before
    export(run, tmp_path / "undisturbed" / "out")
    assert tree(out) == tree(tmp_path / "undisturbed" / "out")


def test_an_export_to_s3_sends_shards_as_they_are_finished_and_goes_on(run, s3, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = options_from(ExportRecipe, {"run": run.url, "to": "webdataset", "output": f"{s3.url}/sets/out"}, [])

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(InterruptedRunError, match="stopped behind 1 file; run the same command again"):
        export_run(recipe, stop)
    there = s3.keys()
    assert "sets/out/00/0000.tar" in there
    assert "sets/out/manifest.json" not in there, "with it, the export is whole"
    s3.proxy.log.clear()
    said = []
    assert export_run(recipe, said.append).folder == f"{s3.url}/sets/out"
    assert said[0] == "going on behind 00/0000.tar, which an earlier start finished"
    assert not s3.proxy.asked("PUT", "00/0000.tar")
    assert s3.proxy.asked("PUT", "")[-1].object.endswith("/manifest.json")
    export(run, tmp_path / "out")
    sent = s3.keys()
    assert {key.removeprefix("sets/out/"): s3.get(key) for key in sent} == tree(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(UserError, match="an export is there"):
        export_run(recipe)


# ---------------------------------------------------------------------------------------------------- other forms


def test_a_sidecar_holds_the_captions_alone(run, out):
    balanced(export(run, out, to="sidecar"))
    for shard, samples in WEB.items():
        found = webdataset_reads(out / shard)
        assert list(found) == list(samples)
        for key, members in found.items():
            assert list(members) == ["syn.json"]
            assert json.loads(members["syn.json"]) == {"syn_text": [caption(key, "broad", n) for n in range(2)]}


def test_lines_hold_what_a_shard_does_and_come_back(run, out, tmp_path):
    export(run, out, "rows=sample", to="jsonl")
    export(run, tmp_path / "tars")
    for shard in WEB:
        lines = read_jsonl(out / shard.replace(".tar", ".jsonl"))
        for line, one in zip(lines, read_shard(tmp_path / "tars" / shard), strict=True):
            assert b64decode(line["image"]) == one["image"]
            assert {name: line[name] for name in ("uid", "text", "url", "syn_text", "sha256")} == {
                name: one[name] for name in ("uid", "text", "url", "syn_text", "sha256")
            }
    assert json.loads((out / "info.json").read_text())["lengths"]["00/0000.jsonl"] == "8"


# ---------------------------------------------------------------------------------------------------- mistakes


def test_all_that_can_be_told_is_told_before_anything_is_written(web, run, tmp_path, out):
    run_of_two = tar_run(tmp_path, web, members=("december", "a b"))
    for one, changes, says in (
        (run, ["tags={brod: x}"], "tags: the run has no member 'brod'. Did you mean 'broad'"),
        (run, ["tags={broad: my tag}"], "has other signs than letters"),
        (run, ["select.n=3"], "select.n: syn_text is to hold 3 captions, and broad drew 2"),
        (run_of_two, [], "syn_text_december, which has 'emb' in it"),
        (run, ["input=x"], "x/00/0000.tar: is not there any more"),
    ):
        with pytest.raises(UserError, match=says):
            export(one, out, *changes)
        assert not out.exists()
    with pytest.raises(RecipeError, match="rows: image is for tables"):
        export(run, out, "rows=image")
    with pytest.raises(RecipeError, match="rows: sample is a way of jsonl"):
        export(run, out, "rows=sample", to="parquet")


def test_the_command_says_what_to_do_next(run, out, capsys):
    assert command(["export", run.url, "--to", "webdataset", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "16 images = 16 taken\n32 captions = 32 taken\n" in said
    assert f"next:    captioners verify {out} --target mobileclip-dr" in said
    assert command(["export", run.url, "--to", "sidecar", "--out", str(out.with_name("side"))]) == 0
    assert f"joined('SHARDS', '{out.with_name('side')}')" in capsys.readouterr().out
    assert command(["export", run.url, "--to", "webdataset", "--out", str(out.with_name("my set"))]) == 0
    assert f"captioners verify '{out.with_name('my set')}' --target" in capsys.readouterr().out


@needs_photos
@pytest.mark.real
def test_real_photos_come_through_untouched(tmp_path, out):
    chosen = photos()[:6]
    found = {
        "0.tar": {path.stem.replace(".", "_"): original(n, jpg=path.read_bytes()) for n, path in enumerate(chosen)}
    }
    run = tar_run(tmp_path, shards(tmp_path / "in", found))
    export(run, out)
    assert [one["image"] for one in read_shard(out / "0.tar")] == [path.read_bytes() for path in chosen]
    shutil.rmtree(tmp_path / "in")
