"""captioners/jobs/runs/report.py: what is chosen, counted, fitted and said when something is missing."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.core.ledger import Ledger
from captioners.core.run_dir import RunDir
from captioners.jobs.runs import report as job
from captioners.jobs.runs import report_data
from captioners.jobs.runs.report import report
from captioners.jobs.runs.report_data import gather
from tests.runs_fixture import make_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    make_run(folder)
    return folder


@pytest.fixture
def run(folder):
    return RunDir(folder / "runs" / "broad-and-brief")


def keys(run, images, seed=0):
    return [(s["shard"], s["key"]) for s in gather(run, list(run.entries()), images, seed).samples]


def test_the_page_lies_in_the_run_and_holds_every_caption_and_count(run):
    written = report(run)
    text = Path(written.path).read_text(encoding="utf-8")
    assert written.path == run.place.at("report.html")
    assert (written.images, written.missing, written.size) == (24, 0, len(text.encode()))
    assert text.count("<article>") == 24
    assert text.count("<li data-flags") == run.captions().num_rows == 96
    assert "96 captions by 2 members, of 26 samples read. 2 could not be read." in text
    assert "24 images." in text
    assert "truncated 6, repetitive 3, refused 3" in text
    assert "drawn/broken.jpg: the file ends before the picture does" in text


def test_the_same_run_and_seed_give_the_same_page(run, tmp_path):
    pages = [Path(report(run, tmp_path / f"{n}.html", images=9).path).read_bytes() for n in (1, 2)]
    assert pages[0] == pages[1]


def test_images_are_chosen_by_hash_not_by_place_and_shown_in_order(run):
    whole, some, other = keys(run, 100), keys(run, 8), keys(run, 8, seed=1)
    assert len(some) == 8
    assert set(some) < set(whole)
    assert some not in (whole[:8], whole[-8:], other)
    assert [key for key in whole if key in some] == some
    assert set(keys(run, 4)) < set(some)  # fewer images are some of the same


def test_lengths_refusals_and_draws_are_those_of_the_rows(run):
    gathered = gather(run, list(run.entries()), 5, 0)
    rows = run.captions().to_pylist()
    for member in ("broad", "brief"):
        own = [row for row in rows if row["member"] == member]
        assert gathered.lengths[member] == Counter(row["num_tokens"] for row in own)
        assert gathered.refused[member] == sum(not row["keep"] for row in own)
    assert gathered.images == 24
    for sample in gathered.samples:
        for member, found in sample["rows"].items():
            assert [row["draw"] for row in found] == [0, 1]
            assert {(row["shard"], row["key"], row["member"]) for row in found} == {
                (sample["shard"], sample["key"], member)
            }


def test_of_a_very_large_run_whole_units_are_read_and_the_page_says_so(run, monkeypatch, tmp_path):
    monkeypatch.setattr(report_data, "MOST_ROWS", 30)
    gathered = gather(run, list(run.entries()), 5, 0)
    assert 30 <= gathered.rows_read < gathered.rows == 96
    text = Path(report(run, tmp_path / "some.html", images=5).path).read_text()
    assert f"Read for this page: {gathered.rows_read} of 96 captions, in whole units chosen by hash." in text
    assert "refused 3" not in text  # counted only where all rows were read


def test_a_page_that_would_be_too_large_gets_coarser_then_fewer_pictures(run, monkeypatch, tmp_path):
    fine = report(run, tmp_path / "fine.html")
    monkeypatch.setattr(job, "MOST_BYTES", fine.size - 1000)
    coarse = report(run, tmp_path / "coarse.html")
    assert coarse.images == 24
    assert coarse.size <= fine.size - 1000
    monkeypatch.setattr(job, "MOST_BYTES", 60_000)
    few = report(run, tmp_path / "few.html")
    assert 1 < few.images < 24
    assert few.size <= 60_000
    assert f"{few.images} of 24 images, chosen by hash" in Path(few.path).read_text()


def test_without_pictures_captions_are_still_there(run, tmp_path):
    text = Path(report(run, tmp_path / "page.html", pictures=False).path).read_text()
    assert "<img" not in text
    assert 'class="gone"' not in text
    assert text.count("<article>") == 24


def test_pictures_that_are_gone_changed_or_broken_say_so_in_their_place(tmp_path):
    run = make_run(tmp_path, drawn=4)
    pictures = tmp_path / "pictures" / "drawn"
    (pictures / "0000.jpg").unlink()
    (pictures / "0001.jpg").write_bytes((pictures / "0002.jpg").read_bytes())
    written = report(run)
    text = Path(written.path).read_text()
    assert written.missing == 2
    assert text.count("<img src") == 10 - 2
    assert "drawn/0000.jpg: is gone since the run began" in text
    assert "drawn: drawn/0001 is another picture now than the one that was captioned" in text


def test_a_run_whose_source_is_unknown_still_has_its_page(tmp_path):
    run = make_run(tmp_path, drawn=3)
    settled = Path(run.place.at("run.json"))
    settled.write_text(settled.read_text().replace('"folder"', '"vanished"'))
    written = report(run)
    assert written.missing == written.images == 9
    assert "no source is named &#39;vanished&#39;" in Path(written.path).read_text()


def test_a_run_that_is_not_finished_shows_what_is_done(tmp_path):
    run = make_run(tmp_path, finish=False)
    text = Path(report(run).path).read_text()
    assert text.count("<article>") == 24
    assert text.count('data-member="brief"') < text.count('data-member="broad"') == 24


def test_sums_that_do_not_hold_are_on_the_page(tmp_path):
    run = make_run(tmp_path, drawn=3)
    entry = next(e for e in run.entries() if e.counts.captioned)
    name = Ledger.name(entry.layer, entry.shard, entry.part)
    run.place.remove(name)
    run.ledger.commit(replace(entry, counts=replace(entry.counts, read=99)))
    assert re.search(r"the sums do not hold: read 99 is not captioned", Path(report(run).path).read_text())


def test_nothing_to_show_and_no_such_run_are_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    empty = RunDir(tmp_path / "empty")
    empty.begin({"seed": 0})
    with pytest.raises(UserError, match="nothing is captioned yet"):
        report(empty)
    with pytest.raises(NotFoundError, match="no run is there"):
        report("nowhere")


@pytest.mark.parametrize("images", [0, 2001])
def test_a_number_of_images_that_no_page_holds_is_refused(run, images):
    with pytest.raises(UserError, match="a page shows 1 to 2000 images"):
        report(run, images=images)


def test_an_output_that_cannot_be_written_is_refused_and_a_folder_gets_the_page_in_it(run, tmp_path):
    assert report(run, tmp_path).path == str(tmp_path / "report.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        report(run, tmp_path / "file" / "page.html")
