"""The bench of an ensemble of one image tower: voices differ, share the encode, and must store the same either way."""

import pytest

from captioners.core.errors import NeedsLookError, UserError
from captioners.jobs.bench import ensemble
from captioners.jobs.bench.ensemble import BenchEnsembleOptions, EnsembleReport, Round, Side, bench_ensemble
from captioners.kinds.coca import CocaCaptioner

SMALL = {"size": "tiny", "voices": 2, "images": 3, "draws": 1, "tokens": 5, "rounds": 1}


def test_voices_in_one_pass_encode_once_and_store_what_they_store_apart(tmp_path):
    said = []
    report, folder = bench_ensemble(BenchEnsembleOptions(**SMALL, out=tmp_path), said.append)
    assert len(report.rounds) == len(said) == 1 and (folder / "bench.json").exists()
    (took,) = report.rounds
    assert 0 < took.shared.encoding < took.shared.seconds


def test_other_captions_by_a_shared_encode_are_found_out(tmp_path, monkeypatch):
    """Negative control: a tower that another captioner's encoding is taken for."""
    sharing = CocaCaptioner.caption

    def spoilt(self, requests):
        def wrong():
            for request in requests:
                for encoding in (request.encodings or {}).values():
                    if encoding.tokens is not None:
                        encoding.tokens = encoding.tokens.flip(0)
                yield request

        return sharing(self, wrong())

    monkeypatch.setattr(CocaCaptioner, "caption", spoilt)
    with pytest.raises(NeedsLookError, match="other captions than each by itself"):
        bench_ensemble(BenchEnsembleOptions(**SMALL, out=tmp_path), lambda _: None)


def test_voices_are_different_captioners_of_one_tower():
    one, other = ensemble.voices("tiny", 2)
    assert one.info.tower_digest == other.info.tower_digest and one.info.weights_digest != other.info.weights_digest


def test_an_unknown_size_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="Known: L-14, B-32, tiny"):
        bench_ensemble(BenchEnsembleOptions(size="H-14"), lambda _: None)


def test_the_report_says_ratios_of_the_rounds():
    rounds = [Round(Side(10, 4), Side(28, 4), Side(40, 16)), Round(Side(10, 4), Side(30, 5), Side(42, 16))]
    report = EnsembleReport("L-14", 4, 12, 2, {}, rounds)
    assert report.ratio == pytest.approx(2.9)
    assert "4 voices in one pass take 2.90 x the time of one (encoding 1.12 x)" in report.lines()[1]
    assert report.lines()[2] == "of one voice's time 40% is encoding"
