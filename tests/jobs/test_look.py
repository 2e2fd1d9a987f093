"""report, status, show and verify on what `generate` really wrote, from a tar, with a captioner that really decodes."""

import json
import shutil
from pathlib import Path

import pytest

from captioners.api import Run
from captioners.cli.main import run as command
from captioners.core.errors import NotFoundError
from captioners.core.run_dir import open_run
from captioners.data.tar import TarWriter
from captioners.jobs.runs.report import report
from captioners.jobs.runs.show import again, show
from captioners.jobs.runs.status import status
from captioners.jobs.runs.verify import verify
from tests.runs_fixture import draw_picture

RECIPE = {
    "job": "generate",
    "source": {"kind": "webdataset", "inputs": ["shards"]},
    "members": [
        {"captioner": "random-tiny", "name": "sampled", "decoding": {"top_p": 0.9, "max_tokens": 6}, "draws": 2},
        {
            "captioner": "random-tiny",
            "name": "searched",
            "decoding": {"beam": {"width": 2, "max_tokens": 6}},
            "draws": 1,
        },
    ],
    "seed": 5,
    "unit_samples": 3,
    "decode_workers": 0,
    "quarantine_ceiling": 1.0,
    "output": "run",
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return the folder of a finished run over two tars: 5 pictures each, one of them no picture."""
    folder = tmp_path_factory.mktemp("look")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("shards").mkdir()
        for shard in (0, 1):
            with TarWriter(f"shards/{shard:05d}.tar") as tar:
                for n in range(5):
                    tar.add(f"{shard}{n}", {"jpg": b"no picture" if n == 2 else draw_picture(5 * shard + n)})
        Path("recipe.yaml").write_text(json.dumps(RECIPE))
        assert command(["generate", "recipe.yaml"]) == 0
    return folder


@pytest.fixture
def run(written, tmp_path, monkeypatch):
    folder = tmp_path / "copy"
    shutil.copytree(written, folder)
    monkeypatch.chdir(folder)
    return open_run("run")


def test_what_generate_wrote_is_sound_and_done(run):
    found = verify(run, again=2)
    assert found.findings == []
    assert found.unfinished == {}
    assert found.units == 2 * 2 * 2
    assert found.again == {"same": 2 * (2 + 1)}
    state = status("run")
    assert state.done
    assert [(m.counts.read, m.counts.quarantined, m.left) for m in state.members] == [(10, 2, 0)] * 2
    assert [(lost.reason, lost.count) for lost in state.quarantine] == [("not_an_image", 2)]


def test_pictures_come_out_of_the_tars_by_their_offsets(run):
    written = Run(Path("run"), Path("run")).report("page.html")
    text = Path(written).read_text()
    assert text.count("<img src") == text.count("<article>") == 8
    rows = run.captions().to_pylist()
    assert all(row["offset"] for row in rows)
    assert Path("shards/00000.tar").read_bytes()[rows[0]["offset"] :].startswith(draw_picture(0))


def test_a_sample_is_shown_made_again_and_missed_when_its_tar_is_gone(run):
    sample = show(run, "13")
    assert [one.outcome for one in again(run, sample)] == ["same"] * 3
    Path("shards/00001.tar").unlink()
    assert [one.outcome for one in again(run, sample)] == ["not made"] * 3
    assert show(run, "12").quarantine["reason"] == "not_an_image"
    page = report(run)
    assert (page.images, page.missing) == (8, 4)
    assert "No picture here: " in Path(page.path).read_text()


def test_damage_to_what_generate_wrote_is_found(run):
    file = next(Path("run/layers").rglob("*.parquet"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    found = verify(run, weights=False, again=9)
    assert len(found.findings) == 1
    assert str(file) in found.findings[0]
    assert found.again["same"] > 6  # of the units that are sound


def test_what_caption_wrote_is_no_run_to_look_at_and_says_so(run_dir):
    Path("plain").mkdir()
    Path("plain/captions.jsonl").write_text("")
    with pytest.raises(NotFoundError, match="what `captioners caption` wrote"):
        Run(Path("plain"), Path("plain/captions.jsonl")).report()
