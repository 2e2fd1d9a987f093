"""Progress: time belongs to the innermost activity; a line of rates, time left and shares; plain off a terminal."""

import time

from captioners.core import progress
from captioners.core.progress import Clock, Display, Progress


class Time:
    """A clock that is turned by hand."""

    now = 100.0

    def read(self):
        return self.now


def test_time_is_shared_out_to_the_innermost_activity(monkeypatch):
    hand = Time()
    monkeypatch.setattr(time, "perf_counter", hand.read)
    clock = Clock("decoding")
    hand.now += 1
    with clock.at("waiting"):
        hand.now += 2
        with clock.at("writing"):
            hand.now += 4
        hand.now += 8
    hand.now += 16
    clock.move(5, "encoding")
    assert clock.lap() == {"decoding": 12, "waiting": 10, "writing": 4, "encoding": 5}
    hand.now += 1
    assert clock.lap() == {"decoding": 1}


def test_the_line_says_rates_time_left_quarantine_and_shares(monkeypatch):
    hand = Time()
    monkeypatch.setattr(time, "monotonic", hand.read)
    state = Progress(shards=12, done=3, images=200, captions=1000, quarantined=2, fraction=0.25)
    state.seconds = {"waiting": 1.0, "encoding": 3.0}
    state.started = hand.now - 100
    assert state.line() == (
        "3 of 12 shards  2.0 images/s  10.0 captions/s  ETA 0:05:00  2 quarantined  encoding 75%, waiting 25%"
    )
    assert "ETA -" in Progress(shards=1).line()


def test_where_there_is_no_terminal_plain_lines_come_now_and_then(monkeypatch, capsys):
    hand = Time()
    monkeypatch.setattr(progress.time, "monotonic", hand.read)
    with Display(every_s=10) as display:
        for _ in range(25):
            hand.now += 1
            display(Progress(shards=1, started=0.0))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("0 of 1 shards") for line in lines)


def test_on_a_terminal_a_live_line_is_drawn_and_taken_away(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with Display() as display:
        display(Progress(shards=7, done=1, fraction=0.5))
    drawn = capsys.readouterr().err
    assert "1 of 7 shards" in drawn and "\x1b[2K" in drawn
