"""`captioners bench io`, small: each side ends with the same tensor, or one that is a grey level off."""

from captioners.jobs.bench.io import SIDES, WANTED_ERROR, BenchIoOptions, bench_io


def test_sides_take_turns_and_their_pixels_are_compared(tmp_path):
    said = []
    options = BenchIoOptions(images=2, side=64, size=32, rounds=2, out=tmp_path / "run")
    report, folder = bench_io(options, said.append)
    assert len(said) == len(report.rounds) == 2 and (folder / "report.json").exists()
    assert report.mean_error["usual"] == report.mean_error["upright"] == 0.0, "upright is pixel for pixel the usual way"
    assert 0 < report.mean_error["fast"] < WANTED_ERROR and report.most_error["fast"] < 0.016
    assert [line.split()[0] for line in report.lines()[2:]] == list(SIDES)
