"""The training page says what it is given, escaped, and reloads itself only while the run goes on."""

from captioners.report.curve import curve
from captioners.report.training import RELOAD_S, Spoken, TrainingPage, render_training

HOSTILE = "<script>alert('x')</script>"


def page(**changes):
    spoken = Spoken(
        key=HOSTILE, thumbnail=b"jpeg", width=10, height=10, references=[HOSTILE], said=[("0", HOSTILE), ("5", "")]
    )
    given = {
        "title": HOSTILE, "summary": HOSTILE, "running": True, "answer": f"0.1 -> 0.2 {HOSTILE}", "notes": [HOSTILE],
        "numbers": {HOSTILE: HOSTILE}, "curves": [curve("loss", [("train", [(1, 2.0)])])],
        "columns": ["after step"], "rows": [["5"]], "spoken": [spoken], "recipe": HOSTILE,
    }  # fmt: skip
    return render_training(TrainingPage(**given | changes))


def test_nothing_given_is_taken_for_markup():
    text = page()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 9
    assert "0.1 → 0.2" in text
    assert "(nothing)" in text


def test_it_reloads_itself_while_the_run_goes_on():
    refresh = f'<meta http-equiv="refresh" content="{RELOAD_S}">'
    assert refresh in page()
    assert refresh not in page(running=False)
    assert "No step was written down yet" in page(curves=[])
