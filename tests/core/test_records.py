"""Rows as bytes: the same rows, the same digest and bytes; read back as they were; older files are upgraded."""

import hashlib

import pyarrow as pa
import pytest

from captioners.core import records
from captioners.core.errors import UserError
from captioners.core.records import Row, arrow_schema, content_digest, from_bytes, to_bytes


def row(index, **changes):
    return Row(
        shard="00/0.tar", key=f"k{index}", index=index, image_sha256="ab" * 32, offset=512, size=77, member="a",
        draw=0, attempt=0, keep=True, text="ein grüner Hund", raw_text=None, num_tokens=3, logprob=-1.25,
        finish="eos", flags=[],
    ) | changes  # fmt: skip


ROWS = [row(0), row(1, offset=None, raw_text="x", logprob=None, flags=["truncated", "repetitive"], keep=False)]
FACTS = {"fingerprint": "f", "captioner": "c"}


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_rows_come_back_as_they_were(form):
    table = from_bytes(to_bytes(ROWS, FACTS, form), "file")
    assert table.to_pylist() == ROWS
    assert table.schema.remove_metadata().equals(arrow_schema())


def test_facts_travel_in_the_parquet_file_with_the_schema_version():
    meta = from_bytes(to_bytes(ROWS, FACTS), "file").schema.metadata
    assert meta[b"captioners.fingerprint"] == b"f" and meta[b"captioners.schema_version"] == b"1"


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_bytes_are_a_function_of_rows_and_facts(form):
    assert to_bytes(ROWS, FACTS, form) == to_bytes(ROWS, dict(reversed(FACTS.items())), form)
    assert to_bytes(ROWS, FACTS, form) != to_bytes(ROWS[:1], FACTS, form)
    assert content_digest(ROWS) == content_digest(list(ROWS)) != content_digest(ROWS[::-1])
    assert content_digest(ROWS) != content_digest([ROWS[0], ROWS[1] | {"text": "ein grüner Hund."}])


def test_the_digest_is_that_of_sorted_json_lines_whatever_the_file_format():
    line = (
        '{"attempt": 0, "draw": 0, "finish": "eos", "flags": [], "image_sha256": "' + "ab" * 32 + '", "index": 0, '
        '"keep": true, "key": "k0", "logprob": -1.25, "member": "a", "num_tokens": 3, "offset": 512, "raw_text": null, '
        '"shard": "00/0.tar", "size": 77, "text": "ein grüner Hund"}\n'
    )
    assert content_digest(ROWS[:1]) == hashlib.sha256(line.encode()).hexdigest()
    assert to_bytes(ROWS[:1], {}, "jsonl") == line.encode()


def test_the_digest_of_rows_read_back_is_that_of_the_rows_written():
    for form in ("parquet", "jsonl"):
        assert content_digest(from_bytes(to_bytes(ROWS, FACTS, form), "file").to_pylist()) == content_digest(ROWS)


def test_the_file_opens_in_plain_pyarrow(tmp_path):
    import pyarrow.parquet as pq

    (tmp_path / "x.parquet").write_bytes(to_bytes(ROWS, FACTS))
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 2


@pytest.mark.parametrize("data", [to_bytes(ROWS, FACTS)[:-20], b"PAR1 nonsense", b"not json\n", b'{"index": "text"}\n'])
def test_a_damaged_file_is_one_line_that_names_it(data):
    with pytest.raises(UserError, match=r"layers/x: a damaged layer file .* `captioners verify`") as caught:
        from_bytes(data, "layers/x")
    assert "\n" not in str(caught.value)


def test_an_older_file_is_brought_up_to_date_step_by_step_and_a_newer_one_is_refused(monkeypatch):
    old = from_bytes(to_bytes(ROWS, FACTS), "file")
    monkeypatch.setattr(records, "SCHEMA_VERSION", 3)
    monkeypatch.setitem(records.UPGRADES, 1, lambda table: table.append_column("two", pa.array([2, 2])))
    monkeypatch.setitem(
        records.UPGRADES,
        2,
        lambda table: table.append_column("three", pa.array([v + 1 for v in table["two"].to_pylist()])),
    )
    assert records.upgraded(old, "file")["three"].to_pylist() == [3, 3]
    newer = old.replace_schema_metadata({"captioners.schema_version": "4"})
    with pytest.raises(UserError, match=r"file: written by a newer captioners \(schema 4, known 3\)"):
        records.upgraded(newer, "file")
