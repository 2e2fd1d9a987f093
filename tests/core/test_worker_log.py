"""Logs of workers: every line, the last errors of all, and no harm where they cannot be written."""

import uuid

import pytest

from captioners.core.storage import Place
from captioners.core.worker_log import WorkerLog, last_errors


@pytest.fixture(params=["local", "memory"])
def place(request, tmp_path):
    return Place(str(tmp_path) if request.param == "local" else f"memory://{uuid.uuid4().hex}/run")


def test_the_last_errors_of_all_workers_come_newest_first(place):
    logs = [WorkerLog(place, rank) for rank in (0, 1)]
    for number in range(3):
        for log in logs:
            log.note("a unit")
            log.error(f"wrong {number}\nand where")
    found = last_errors(place, most=4)
    assert len(found) == 4 and {line.worker for line in found} == {log.worker for log in logs}
    assert all(line.text.startswith("wrong") and "\n" in line.text for line in found)
    assert [line.time for line in found] == sorted((line.time for line in found), reverse=True)


def test_a_line_that_a_kill_cut_disturbs_nobody(place):
    log = WorkerLog(place, 0)
    log.error("whole")
    place.write(log.name, place.read(log.name) + b'{"time": "2026-01-01T00:00:00+00:00", "level": "err')
    assert [line.text for line in last_errors(place)] == ["whole"]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "logs").write_text("a file where the folder should be")
    WorkerLog(Place(tmp_path), 0).error("x")


def test_no_secret_of_an_error_stands_in_a_log(place):
    log = WorkerLog(place, 0)
    log.error("https://host/0.tar?X-Amz-Signature=0123456789abcdef: refused to hf_abcdefghijklmnopqrstuvwxyz0123")
    text = place.read(log.name).decode()
    assert "refused" in text and "0123456789abcdef" not in text and "hf_abc" not in text
