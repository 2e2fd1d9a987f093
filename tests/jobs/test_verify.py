"""captioners/jobs/runs/verify.py: a sound run has no findings, and every kind of damage is found and named."""

import json
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.core.ledger import Ledger
from captioners.core.records import content_digest, to_bytes
from captioners.core.run_dir import RunDir
from captioners.jobs.runs.report import report
from captioners.jobs.runs.show import show
from captioners.jobs.runs.status import status
from captioners.jobs.runs.verify import verify as verify_all
from tests.runs_fixture import make_run


def verify(run):
    """Check everything but the captioners, which runs made by hand do not have; tests/jobs/test_remake.py has them."""
    return verify_all(run, weights=False)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path)


def unit(run, member="broad", shard="drawn", part=0):
    return next(e for e in run.entries([member]) if (e.shard, e.part) == (shard, part))


def name_of(entry):
    return Ledger.name(entry.layer, entry.shard, entry.part)


def rewrite(run, entry, **changes):
    """Put a changed entry in the place of one."""
    changed = replace(entry, **changes)
    run.place.write(name_of(entry), json.dumps(asdict(changed)).encode())
    return changed


def rewrite_rows(run, entry, rows, **changes):
    """Put other rows in a unit's place, with digests that fit them: what only the rows' own sense can find."""
    data = to_bytes(rows, {})
    run.place.write(entry.file, data)
    return rewrite(run, entry, digest=content_digest(rows), file_sha256=sha256(data).hexdigest(), **changes)


def only(run):
    """Return the one finding."""
    findings = verify(run).findings
    assert len(findings) == 1, findings
    assert "\n" not in findings[0]
    return findings[0]


def test_a_sound_run_has_no_findings_and_its_sums_are_told(run):
    found = verify(run)
    assert found.findings == []
    assert (found.units, found.shards, found.unfinished, found.orphans) == (6, 2, {}, [])
    broad = found.counts["broad"]
    assert (broad.read, broad.captioned, broad.filtered, broad.quarantined, broad.rows) == (26, 23, 1, 2, 48)


def test_a_run_that_is_not_finished_has_no_findings_but_says_what_is_left(tmp_path):
    found = verify(make_run(tmp_path, finish=False))
    assert found.findings == []
    assert (found.units, found.shards, found.unfinished) == (4, 2, {"brief": 2})


def test_every_flipped_byte_of_a_layer_file_is_found(run):
    entry = unit(run)
    data = run.place.read(entry.file)
    for at in (0, 4, len(data) // 2, len(data) - 1):
        run.place.write(entry.file, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert "has changed since it was written (sha256)" in only(run)
        assert f"{entry.file}" in only(run)
    run.place.write(entry.file, data)
    assert verify(run).findings == []


@pytest.mark.parametrize("what", ["file", "quarantine_file"])
def test_a_removed_file_is_found_and_says_what_to_do(run, what):
    entry = unit(run)
    run.place.remove(getattr(entry, what))
    assert f"{getattr(entry, what)} is gone; `captioners retry RUN --damaged`" in only(run)
    assert name_of(entry) in only(run)


def test_a_file_written_anew_with_one_row_less_is_found(run):
    entry = unit(run)
    rows = run.rows(entry).to_pylist()
    data = to_bytes(rows[:-1], {})
    run.place.write(entry.file, data)
    rewrite(run, entry, file_sha256=sha256(data).hexdigest())
    findings = "\n".join(verify(run).findings)
    assert "its rows are not those that were written (content digest)" in findings
    assert "counts 22 rows, and its file has 21" in findings
    assert "1 samples have not 2 draws, such as drawn/0010 (1)" in findings


def test_a_changed_text_whose_file_hash_was_mended_is_found_by_the_content_digest(run):
    entry = unit(run)
    rows = run.rows(entry).to_pylist()
    rows[3]["text"] += "."
    data = to_bytes(rows, {})
    run.place.write(entry.file, data)
    rewrite(run, entry, file_sha256=sha256(data).hexdigest())
    assert "content digest" in only(run)


def test_the_same_rows_in_another_format_are_the_same_content(run):
    entry = unit(run)
    rows = run.rows(entry).to_pylist()
    data = to_bytes(rows, {}, "jsonl")
    run.place.write(entry.file, data)
    rewrite(run, entry, file_sha256=sha256(data).hexdigest())
    assert verify(run).findings == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"captioned": 11}, "read 12 is not captioned 11 + filtered 1 + quarantined 1"),
        ({"read": 13, "captioned": 11}, "read 13 samples, but is of 0 to 12"),
        ({"rows": 21}, "21 rows are not 11 samples x 2 draws"),
        ({"captioned": 9, "quarantined": 2}, "counts 2 quarantined, and its file has 1"),
    ],
)
def test_a_changed_count_is_found(run, changes, says):
    entry = unit(run)
    rewrite(run, entry, counts=replace(entry.counts, **changes))
    assert any(says in finding and name_of(entry) in finding for finding in verify(run).findings)


def test_a_sum_that_fails_shows_in_the_whole_as_well(run):
    entry = unit(run)
    rewrite(run, entry, counts=replace(entry.counts, captioned=11))
    assert any(f.startswith("member broad, all units: read 26 is not") for f in verify(run).findings)


def test_a_sample_counted_as_captioned_whose_captions_were_all_refused_is_found(run):
    entry = unit(run)
    rewrite(run, entry, counts=replace(entry.counts, captioned=11, filtered=0))
    assert "counts 11 captioned, and 10 samples have a caption that no rule refused" in only(run)


def test_changed_flags_and_reasons_are_found(run):
    entry = unit(run)
    rewrite(run, entry, flags={"truncated": 9}, reasons={"empty": 1})
    findings = "\n".join(verify(run).findings)
    assert "counts flags {'truncated': 9}" in findings
    assert "counts reasons {'empty': 1}" in findings


def test_an_entry_copied_under_another_part_is_found(run):
    entry = unit(run, part=1)
    run.place.write(Ledger.name(entry.layer, entry.shard, 2), run.place.read(name_of(entry)))
    findings = "\n".join(verify(run).findings)
    assert "which is not its name; remove it" in findings
    assert "part 1 is there twice" in findings
    assert "14 captions are there more than once: drawn/0011 draw 0, drawn/0011 draw 1, drawn/0012 draw 0" in findings


def test_a_part_made_twice_under_another_number_is_found(run):
    entry = unit(run, part=1)
    run.place.write(Ledger.name("broad", "drawn", 2), json.dumps(asdict(replace(entry, part=2))).encode())
    findings = "\n".join(verify(run).findings)
    assert "member broad, shard drawn: parts 1 and 2 overlap: to 19, from 12" in findings
    assert "14 captions are there more than once" in findings


@pytest.mark.parametrize("part", [0, 1])
def test_a_missing_part_leaves_its_shard_unfinished(run, part):
    run.place.remove(name_of(unit(run, part=part)))
    found = verify(run)
    assert found.findings == []
    assert found.unfinished == {"broad": 1}
    assert len(found.orphans) == 2 - part  # its rows, and what part 0 could not read


def test_parts_that_leave_samples_out_are_found(run):
    entry = unit(run, part=1)
    rows = [row for row in run.rows(entry).to_pylist() if row["index"] >= 14]
    counts = replace(entry.counts, read=5, captioned=5, rows=10)
    rewrite_rows(run, entry, rows, start=14, counts=counts, flags={})
    assert "member broad, shard drawn: samples 12 to 14 are in no part, after part 0" in only(run)


def test_a_part_after_the_last_one_is_found(run):
    rewrite(run, unit(run), last=True)
    assert "part 0 says that it is the last, and there is part 1" in only(run)


def test_a_shard_that_ends_early_is_found(run):
    entry = unit(run, part=1)
    run.place.remove(name_of(entry))
    rewrite(run, unit(run), last=True)
    assert "member broad, shard drawn: 12 samples were read, and 19 were frozen" in only(run)


def test_rows_out_of_order_repeated_or_of_another_unit_are_found(run):
    entry = unit(run)
    rows = run.rows(entry).to_pylist()
    rewrite_rows(run, entry, rows[::-1])
    assert "not in the order of samples and draws" in only(run)
    rewrite_rows(run, entry, [rows[0], rows[0], *rows[2:]])
    assert any("1 captions are there more than once: drawn/0000 draw 0" in finding for finding in verify(run).findings)
    rewrite_rows(run, entry, [{**row, "member": "brief"} for row in rows])
    assert "22 rows are of another shard or member, such as drawn, brief" in only(run)
    rewrite_rows(run, entry, [{**row, "index": row["index"] + 5} for row in rows])
    assert "rows are of samples outside 0 to 12, such as 12" in only(run)


def test_a_damaged_entry_is_found_and_the_rest_is_still_checked(run):
    run.place.write(name_of(unit(run)), b'{"layer": ')
    run.place.remove(unit(run, "brief").file)
    findings = verify(run).findings
    assert any("a damaged ledger entry" in finding for finding in findings)
    assert any("is gone" in finding for finding in findings)


def test_an_entry_of_another_fingerprint_or_of_no_layer_is_found(run):
    entry = unit(run)
    rewrite(run, entry, fingerprint="0" * 64)
    assert any("made otherwise than its layer says" in finding for finding in verify(run).findings)
    run.place.remove("layers/broad/layer.json")
    assert any("member broad has no layer" in finding for finding in verify(run).findings)


def test_a_shard_that_was_never_frozen_is_found(run):
    run.place.write("inputs/00000.jsonl", run.place.read("inputs/00000.jsonl").splitlines()[0])
    assert all("shard photos: is not among the frozen inputs" in finding for finding in verify(run).findings)
    assert len(verify(run).findings) == 2


def test_files_that_no_entry_names_are_listed_and_are_no_finding(run):
    run.place.create("layers/broad/drawn.00000.bbbbbbbb.parquet", b"left by a killed worker")
    run.place.create("quarantine/broad/drawn.00000.bbbbbbbb.jsonl", b"")
    found = verify(run)
    assert found.findings == []
    assert found.orphans == [
        "layers/broad/drawn.00000.bbbbbbbb.parquet",
        "quarantine/broad/drawn.00000.bbbbbbbb.jsonl",
    ]


def test_a_recipe_that_cannot_be_read_is_found_and_the_rest_is_still_checked(run):
    run.place.remove(unit(run).file)
    found = verify_all(run, again=1)
    assert [f"{run.url}/recipe.yaml: " in finding for finding in found.findings] == [False, True]
    assert "source: missing" in found.findings[1]
    assert not any("\n" in finding for finding in found.findings)


def test_what_cannot_be_checked_at_all_is_an_error(run, tmp_path):
    with pytest.raises(NotFoundError):
        verify(str(tmp_path / "nowhere"))
    Path(run.place.at("layers/broad/layer.json")).write_text("{")
    with pytest.raises(UserError, match=r"layer\.json: damaged"):
        verify(run)


def test_a_run_in_an_object_store_is_looked_at_in_the_same_way(run, tmp_path):
    url = f"memory://{tmp_path.name}/run"
    there = RunDir(url)
    for name in (
        "run.json",
        "recipe.yaml",
        *(n for f in ("inputs", "layers", "quarantine", "ledger") for n in run.place.names(f)),
    ):
        there.place.write(name, run.place.read(name))
    assert verify(url).findings == []
    assert (status(url).done, status(url).orphans) == (True, 0)
    assert len(show(url, "photos/cat").members) == 2
    page = report(url)
    assert (page.images, page.missing) == (24, 0)
    assert b"broad-and-brief" not in there.place.read("report.html")
    there.place.remove(unit(there).file)
    (finding,) = verify(url).findings
    assert "is gone" in finding
