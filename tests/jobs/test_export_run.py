"""captioners/jobs/export: a run's captions to Parquet, JSONL and a dataset directory, read back by other libraries."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import captioners
from captioners.cli.main import run as command
from captioners.core.errors import NotFoundError, RecipeError, UserError
from captioners.core.ledger import Ledger
from captioners.core.recipe import options_from, read_recipe
from captioners.core.run_dir import open_run
from captioners.jobs.export import files
from captioners.jobs.export.draft import Draft
from captioners.jobs.export.job import export_run
from captioners.jobs.export.quick import asked
from captioners.jobs.recipes.export import ExportRecipe
from tests.runs_fixture import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("export"), drawn=40)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def export(run, out, *changes, to="parquet"):
    return export_run(options_from(ExportRecipe, {"run": run.url, "to": to, "output": str(out)}, changes))


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


def stored(run):
    """The independent answer: every layer file that lies in the run, read by pandas, without the ledger."""
    found = pd.concat(pd.read_parquet(path) for path in Path(run.url, "layers").rglob("*.parquet"))
    return found.sort_values(["shard", "index", "member", "draw"]).reset_index(drop=True)


def test_parquet_holds_every_kept_caption_sorted(run, out):
    exported = export(run, out)
    found = pd.read_parquet(out / "captions-00000.parquet")
    expected = stored(run).query("keep").drop(columns="keep").reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected)
    assert exported.manifest["captions"]["taken"] == len(found)
    assert sorted(path.name for path in out.iterdir()) == ["captions-00000.parquet", "left_out.jsonl", "manifest.json"]


def test_every_sample_is_accounted_for(run, out):
    manifest = export(run, out, "select.n=4", "select.where=not truncated").manifest
    for sums, whole in ((manifest["samples"], "read"), (manifest["captions"], "rows")):
        assert sums[whole] == sum(number for name, number in sums.items() if name != whole)
    assert manifest["samples"]["read"] == 48
    found = pd.read_parquet(out / "captions-00000.parquet")
    left = [json.loads(line) for line in (out / "left_out.jsonl").read_text().splitlines()]
    there = {*zip(found["shard"], found["index"], strict=True), *((one["shard"], one["index"]) for one in left)}
    assert len(there) == 48
    assert manifest["samples"]["taken"] + len(left) == 48
    assert set(found.groupby(["shard", "index"]).size()) == {4}
    assert {one["reason"] for one in left} == {"truncated", "too_few_captions"} == set(manifest["left_out"])
    assert not found["flags"].map(lambda flags: "truncated" in flags).any()


def test_jsonl_says_the_same(run, out):
    export(run, out, "select.n=1", to="jsonl")
    export(run, out.with_name("parquet"), "select.n=1")
    lines = [json.loads(line) for line in (out / "captions-00000.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines == pq.read_table(out.with_name("parquet") / "captions-00000.parquet").to_pylist()


def test_the_same_captions_give_the_same_bytes_and_no_path_is_in_them(run, out, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(run.url, moved)
    export(run, out, to="huggingface")
    export(open_run(moved), out.with_name("again"), to="huggingface")
    assert tree(out) == tree(out.with_name("again"))
    told = b"".join(data for name, data in tree(out).items())
    for secret in (str(tmp_path), run.url, os.uname().nodename):
        assert secret.encode() not in told


def test_files_are_cut_when_they_are_large_enough(run, out, monkeypatch):
    export(run, out)
    monkeypatch.setattr(files, "_MB", 1)
    monkeypatch.setattr(files, "_GROUP_ROWS", 20)
    many = export(run, out.with_name("many"))
    names = [one["name"] for one in many.manifest["files"]]
    assert names == [f"captions-{number:05d}.parquet" for number in range(5)], "a file for each unit"
    pieces = pd.concat([pd.read_parquet(out.with_name("many") / name) for name in names], ignore_index=True)
    pd.testing.assert_frame_equal(pieces, pd.read_parquet(out / "captions-00000.parquet"))
    for one in many.manifest["files"]:
        data = (out.with_name("many") / one["name"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (one["size"], one["sha256"])
        assert pq.read_metadata(out.with_name("many") / one["name"]).num_rows == one["rows"]
        assert pq.ParquetFile(out.with_name("many") / one["name"]).metadata.num_row_groups <= 3


def test_a_dataset_opens_offline_and_its_card_is_true(run, out, tmp_path):
    import datasets
    from huggingface_hub import DatasetCard

    manifest = export(run, out, "select.n=2", to="huggingface").manifest
    read = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    text = (out / "README.md").read_text(encoding="utf-8")
    images = len({(row["shard"], row["index"]) for row in read})
    assert f"{len(read)} captions of {images} images" in text
    members = pd.Series(read["member"]).value_counts()
    for name in ("broad", "brief"):
        assert re.search(
            rf"\| {name} \| random-{name} \| \w{{12}} \| sample, top\\_p 0.9 \| 2 \| {members[name]} \|", text
        )
    for flag, count in manifest["flags"].items():
        assert f"- {flag}: {count}\n" in text
        assert count == sum(flag in flags for flags in read["flags"])
    assert manifest["flags"]["truncated"] > 0
    for column in read.column_names:
        assert f"| {column.replace('_', chr(92) + '_')} | " in text
    card = DatasetCard(text).data
    assert (card.license, card.size_categories) == ("other", ["n<1K"])
    assert "| broad, weights | Apache-2.0 |" in text
    assert "| images | unspecified |" in text
    assert "Commercial use: unknown" in text


def test_pictures_come_with_their_own_bytes_and_open(run, out, tmp_path):
    import datasets

    export(run, out, "select.n=3", "rows=image", "images=true", to="huggingface")
    read = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(read.features["image"], datasets.Image)
    raw = read.cast_column("image", datasets.Image(decode=False))
    pictures = Path(run.url).parent.parent / "pictures"
    for row in raw:
        data = (pictures / f"{row['key']}.jpg").read_bytes()
        assert row["image"]["bytes"] == data
        assert hashlib.sha256(data).hexdigest() == row["image_sha256"]
        assert [len(row[name]) for name in ("captions", "members", "draws", "num_tokens", "logprobs")] == [3] * 5
    assert read[0]["image"].width == 320
    by_key = {row["key"]: row for row in raw}
    rows = stored(run).query("keep and key == 'drawn/0000'")
    said = set(zip(rows["member"], rows["draw"], rows["text"], strict=True))
    row = by_key["drawn/0000"]
    assert set(zip(row["members"], row["draws"], row["captions"], strict=True)) < said


def test_a_picture_that_is_gone_or_changed_is_left_out_with_the_reason(tmp_path, out):
    run = make_run(tmp_path, drawn=6)
    (tmp_path / "pictures/drawn/0002.jpg").write_bytes(b"another")
    manifest = export(run, out, "rows=image", "images=true").manifest
    assert manifest["samples"]["picture_gone"] == 1
    for sums, whole in ((manifest["samples"], "read"), (manifest["captions"], "rows")):
        assert sums[whole] == sum(number for name, number in sums.items() if name != whole)
    left = [json.loads(line) for line in (out / "left_out.jsonl").read_text().splitlines()]
    (gone,) = [one for one in left if one["reason"] == "picture_gone"]
    assert gone["key"] == "drawn/0002"
    assert "drawn/0002" not in pd.read_parquet(out / "captions-00000.parquet")["key"].tolist()


def start(run, out, fault=""):
    """Export in a process of its own, a file for each unit, killed at a fault point if one is named."""
    code = (
        "import sys; from captioners.jobs.export import files; files._MB = 1; files._GROUP_ROWS = 5\n"
        "from captioners.cli.main import main; main(sys.argv[1:])"
    )
    arguments = ["export", run.url, "rows=image", "--to", "parquet", "--out", str(out)]
    environment = {**os.environ, "CAPTIONERS_FAULT": fault, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, check=False, capture_output=True, text=True
    )


def test_a_killed_export_leaves_nothing_that_looks_finished_and_goes_on(run, out, monkeypatch):
    killed = start(run, out, "after_unit:3")
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    (draft,) = [path for path in out.parent.iterdir() if path.name.startswith(".out")]
    finished = {
        name: (draft / name).stat().st_mtime_ns for name in ("captions-00000.parquet", "captions-00001.parquet")
    }
    (draft / "captions-00007.parquet").write_bytes(b"half")
    killed = start(run, out, "before_publish")
    assert killed.returncode == -signal.SIGKILL
    assert "going on behind captions-00002.parquet" in killed.stdout
    assert not out.exists()
    assert {name: (draft / name).stat().st_mtime_ns for name in finished} == finished, (
        "what is finished is not made anew"
    )
    monkeypatch.setattr(files, "_MB", 1)
    monkeypatch.setattr(files, "_GROUP_ROWS", 5)
    export(run, out, "rows=image")
    export(run, out.with_name("undisturbed"), "rows=image")
    assert tree(out) == tree(out.with_name("undisturbed"))
    assert len(tree(out)) == 7
    assert not draft.exists()


def test_an_unfinished_export_of_another_selection_is_begun_anew(run, out, monkeypatch):
    monkeypatch.setattr(files, "_MB", 1)

    def stop(_):
        raise KeyboardInterrupt

    recipe = options_from(ExportRecipe, {"run": run.url, "to": "parquet", "output": str(out)})
    with pytest.raises(BaseException, match="stopped behind 1 file; run the same command again"):
        export_run(recipe, stop)
    other = export(run, out, "select.n=1")
    alone = export(run, out.with_name("alone"), "select.n=1")
    assert tree(out) == tree(out.with_name("alone"))
    assert other.manifest == alone.manifest


def test_an_output_that_is_not_free_is_refused(run, out):
    out.mkdir()
    export(run, out)  # an empty folder is free
    before = tree(out)
    with pytest.raises(UserError, match="out: the folder is not empty; name a new output"):
        export(run, out)
    assert tree(out) == before
    out.with_name("file").touch()
    with pytest.raises(UserError, match="a file of that name exists"):
        export(run, out.with_name("file"))


def test_an_unfinished_run_is_refused_unless_asked_for(tmp_path, out):
    run = make_run(tmp_path, finish=False)
    with pytest.raises(UserError, match=r"0 of 2 shards are finished by all 2 members; finish the run .* partial=true"):
        export(run, out)
    manifest = export(run, out, "partial=true", to="huggingface").manifest
    assert manifest["shards"] == {"finished": 0, "all": 2}
    assert "It covers part of the data: 0 of 2 shards" in (out / "README.md").read_text()


def test_nothing_left_is_an_error_and_leaves_nothing(run, out):
    with pytest.raises(UserError, match=r"not one caption is left to export \(184 rows = 3 refused \+ 181 unmet\)"):
        export(run, out, "select.where=num_tokens > 900")
    assert list(out.parent.iterdir()) == []


def test_a_damaged_layer_file_is_named(tmp_path, out):
    run = make_run(tmp_path)
    entry = next(run.entries())
    Path(run.place.at(entry.file)).write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="a damaged layer file"):
        export(run, out)
    assert not out.exists()


def test_sums_that_do_not_balance_are_an_error(tmp_path, out):
    """The negative control of the sums: a ledger that says one sample more than the files hold."""
    run = make_run(tmp_path)
    name = Ledger.name("broad", "photos", 0)
    entry = json.loads(run.place.read(name))
    entry["counts"]["read"] += 1
    run.place.write(name, json.dumps(entry).encode())
    with pytest.raises(UserError, match=r"shard photos, part 0: read 8 is not taken 6 .*quarantined 1"):
        export(run, out)


def test_all_mistakes_are_told_at_once(run, out):
    with pytest.raises(RecipeError) as caught:
        export(run, out, "select.n=0", "selekt.by=score", "rows=picture", "select.where=1 +")
    said = str(caught.value)
    assert "has 4 mistakes" in said
    for part in (
        "select.n",
        "selekt: unknown key. Did you mean 'select'?",
        "rows: must be",
        "select.where: '1 +', char",
    ):
        assert part in said
    with pytest.raises(RecipeError, match="say rows: image"):
        export(run, out, "images=true")
    with pytest.raises(NotFoundError, match=r"no export form of captions is named 'parket'. Did you mean 'parquet'"):
        export(run, out, to="parket")


def test_a_score_that_was_not_computed_names_the_command(run, out):
    with pytest.raises(UserError) as caught:
        export(run, out, "select.where=clipscore > 0.2", "scores=[words, wrds]")
    assert f"score 'clipscore' is not computed for member 'brief', 'broad'; run: captioners measure {run.url} " in str(
        caught.value
    )
    with pytest.raises(UserError, match=r"scores: .*'wrds'. Did you mean 'words'\?; scores are computed by: capt"):
        export(run, out, "scores=[wrds]")


def test_one_verb_tells_a_captioner_from_a_run(run, out, tmp_path):
    recipe, said = asked([run.url, "select.n=2"], "jsonl", str(out))
    assert (recipe.to, recipe.select.n, said) == ("jsonl", 2, f"{run.url}: a run; its captions to jsonl")
    captioner, said = asked(["random-tiny"], None, str(out))
    assert (captioner.form, said) == ("open_clip", "random-tiny: a captioner")
    saved = tmp_path / "export.yaml"
    saved.write_text(f"job: export\nrun: {run.url}\nto: parquet\noutput: x\nselect: {{n: 5, where: not truncated}}\n")
    assert asked([str(saved), "select.n=3"], None, str(out))[0].select.n == 3
    assert read_recipe(saved).options.output == "x"
    for what, to, says in (
        (
            [run.url],
            "open_clip",
            "captions export to huggingface, jsonl, parquet, sidecar, webdataset; open_clip is for a captioner",
        ),
        ([run.url], None, "say what its captions become: --to huggingface, jsonl, parquet, sidecar, webdataset"),
        ([run.url], "sidecat", "no export form is named 'sidecat'"),
        (["random-tiny"], "parquet", "a captioner, which exports to open_clip, huggingface; parquet is for a run's"),
        (["random-tiny", "select.n=1"], None, "options are for a run's captions"),
        (["randm-tiny"], None, "neither a captioner nor a run is there. Did you mean 'random-tiny'"),
        ([str(tmp_path)], None, "a folder, but neither a run nor a captioner's directory"),
    ):
        with pytest.raises(UserError, match=re.escape(says)):
            asked(what, to, str(out))


def test_the_command(run, out, capsys):
    assert command(["export", run.url, "select.n=1", "--to", "jsonl", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "48 images = 46 taken + 2 quarantined\n184 captions = 46 taken + 3 refused + 135 spare\n" in said
    assert f"written: {out}" in said
    assert command(["export", run.url, "--to", "jsonl", "--out", str(out)]) == 1
    assert "not empty" in capsys.readouterr().err
    assert captioners.__version__


def test_what_is_left_out_is_on_the_disk_before_the_state_that_counts_on_it(run, out, monkeypatch):
    told, fsync, keep = [], os.fsync, Draft.keep

    def synced(handle):
        told.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        fsync(handle)

    def kept(*given):
        told.append("keep")
        keep(*given)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Draft, "keep", kept)
    export(run, out)
    at = [number for number, one in enumerate(told) if one == "keep"]
    assert at and all(told[number - 1] == "left_out.jsonl" for number in at)
