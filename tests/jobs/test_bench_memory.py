"""The bench of memory: what it writes, and that growth is found out; whole runs are `make soak`'s."""

import pytest

from captioners.core.errors import NeedsLookError
from captioners.data.webdataset_source import WebdatasetOptions
from captioners.jobs.bench import memory
from captioners.jobs.bench.memory import BenchMemoryOptions, MemoryReport, Peak, bench_memory, write_noise

MB = 10**6


def test_shards_of_noise_are_as_large_as_asked_and_readable(tmp_path):
    files = write_noise(tmp_path, 2, 4 * MB)
    assert sum(file.stat().st_size for file in files) == pytest.approx(4 * MB, rel=0.25)
    source = WebdatasetOptions(inputs=[str(tmp_path)]).open()
    assert sum(1 for shard in source.shards() for _ in source.samples(shard)) == 4


def peak(own, decoder=30):
    return Peak("case", 1, MB, own * MB, decoder * MB)


@pytest.mark.parametrize(("peaks", "growth"), [((400, 401, 399), 1), ((400, 400, 470), 70), ((400, 390, 380), 0)])
def test_growth_is_the_worst_peak_above_the_small_runs(peaks, growth, tmp_path, monkeypatch):
    left = list(map(peak, peaks))
    monkeypatch.setattr(memory, "_case", lambda *_: left.pop(0))
    options = BenchMemoryOptions(out=tmp_path)
    if growth * MB > memory.MOST_GROWTH:
        with pytest.raises(NeedsLookError, match=r"memory grows with the data: growth: \+70 MB"):
            bench_memory(options, lambda _: None)
    else:
        report, _ = bench_memory(options, lambda _: None)
        assert report.growth == growth * MB


def test_a_decode_process_that_grows_counts_too():
    assert MemoryReport([peak(400, 30), peak(400, 100), peak(400, 30)]).growth == 70 * MB
