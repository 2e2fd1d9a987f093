"""The benchmark's arithmetic against values worked by hand, and that it runs; no test here is timed."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

import captioners
from captioners.cli.bench import app
from captioners.core.errors import CaptionersError, UserError
from captioners.jobs.bench.cases import chosen
from captioners.jobs.bench.decode import CASES, BenchOptions, bench_decode
from captioners.jobs.bench.report import CaseResult, Report, Round, integrate, text
from captioners.jobs.bench.sides import Case, Peer
from captioners.models import coca
from captioners.models.cost import Cost, Machine, cost_of

PEER = Path(captioners.__file__).parent.parent / ".peer-venv"
TOWER = {"context_length": 12, "vocab_size": 64, "width": 32, "heads": 4, "layers": 2}
VISION = {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 8, "output_tokens": True}
POOLER = {"attentional_pool": True, "attn_pooler_heads": 2, "attn_pooler_queries": 8}
TINY = {
    "embed_dim": 32,
    "vision_cfg": VISION | POOLER,
    "text_cfg": {**TOWER, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {**TOWER, "attn_pooler_heads": 2},
}
TINY_CASES = (
    Case(name="draws", images=2, draws=3, steps=5, rounds=2),
    Case(name="whole context", images=2, draws=3, steps=12, measure="steps", at=(1, 6, 12)),
    Case(name="beams", images=2, beams=3, steps=5),
    Case(name="more rows than slots", images=14, draws=5, steps=4, measure="call"),
    Case(name="beyond the context", images=2, draws=2, steps=40, measure="steps", at=(1, 40)),
)


def _meta(name):
    config = coca.architecture(name)
    with torch.device("meta"):
        return coca._construct(config)


def test_the_cost_of_l14_is_what_was_worked_out_by_hand():
    cost = cost_of(_meta("coca_ViT-L-14"))
    # 24 blocks of 257 x 12 x 1024^2 + 2 x 257^2 x 1024, 256 patches of 588 x 1024, a pooler of 256 queries; two each
    blocks = 24 * (257 * 12 * 1024**2 + 2 * 257**2 * 1024)
    pooler = 2 * 256 * 768**2 + 2 * 257 * 1024 * 768 + 2 * 256 * 257 * 768
    assert cost.encode == 2 * (blocks + 256 * 588 * 1024 + pooler)
    assert round(cost.encode / 1e9, 1) == 163.6
    assert round(cost.memory / 1e9, 1) == 7.2
    assert round(cost.weights / 1e6, 1) == 278.6
    assert round(cost.step_flops(20, 0) / 1e9, 1) == 11.3
    assert (cost.self_layers, cost.cross_layers, cost.image_tokens, cost.width) == (24, 12, 256, 768)


def test_the_counted_operations_of_a_tower_are_those_that_run():
    """An independent count: torch's own, over the operations of a real call."""
    model = coca.build(TINY)
    # With gradients and plain attention, for torch does not count what its fused operations do.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model.visual(torch.zeros(1, 3, 32, 32))
    projection = 2 * 32 * 32  # of the pooled token, which captioning does not use
    assert cost_of(model).encode == counter.get_total_flops() - projection


def test_the_floor_adds_encoding_and_the_slower_of_arithmetic_and_reading():
    cost = Cost(encode=1e9, memory=1e9, weights=10**9, width=1, image_tokens=0, self_layers=0, cross_layers=0)
    # 1 GF/s; a step of 1 row: 2 GF, 2 s; 4 GB at 1 GB/s, 4 s; at 4 GB/s 1 s
    assert cost.floor(Machine(1.0, 1.0), images=3, rows=1, steps=2) == 3 * 2 + 2 * 4
    assert cost.floor(Machine(1.0, 4.0), images=3, rows=1, steps=2) == 3 * 2 + 2 * 2


def test_step_costs_are_integrated_along_straight_lines():
    # steps 1..7: 10 12 14 | 17 20 | 23 26 (the last two beyond the points)
    assert integrate({1: 10.0, 3: 14.0, 5: 20.0}, 7) == pytest.approx(10 + 12 + 14 + 17 + 20 + 23 + 26)
    assert integrate({1: 2.0, 76: 2.0}, 76) == pytest.approx(152)


def test_the_table_shows_medians_of_ratios_and_marks_what_was_not_measured():
    rounds = [Round(80.0, 10.0, 5.0, 8.0), Round(90.0, 9.0, 5.0, 9.0), Round(70.0, 10.0, 5.0, 8.0)]
    measured = CaseResult("a", "4 images", "measured", 5.0, 2.5, rounds)
    guessed = CaseResult("b", "4 images", "interpolated: steps", 5.0, 2.5, rounds)
    environment = {"load_before": 2.0, "torch": "1"}
    said = text(Report("L-14", environment, Machine(100, 10), None, [measured, guessed]))
    rows = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]]
        for line in said.splitlines()
        if line[:1] == "|"
    }
    assert rows["a"] == ["80", "10", "8x", "8", "+25 %", "5", "50 %", "50 %", "50 %"]
    assert rows["b"][0] == "~80"
    assert "WARNING: the load average was 2.0" in said
    assert "b, round 2: 90, 9, 9; 5: 10.00x" in said


def test_our_side_runs_alone_and_keeps_what_it_found(tmp_path):
    lines = []
    options = BenchOptions(size="tiny", config=TINY, cases=TINY_CASES, peer=None, out=tmp_path / "run")
    report, run = bench_decode(options, lines.append)
    assert [line.split(",")[0] for line in lines] == ["draws", *(case.name for case in TINY_CASES)]
    assert [len(case.rounds) for case in report.cases] == [2, 1, 1, 1, 1]
    kept = json.loads((run / "bench.json").read_text())
    assert kept["cases"][0]["rounds"][0]["exact"] > 0
    assert {path.name for path in run.iterdir()} == {"bench.json", "bench.md"}
    assert report.agreement is None


@pytest.mark.slow
@pytest.mark.skipif(not (PEER / "bin" / "python").exists(), reason="no .peer-venv; 'make peer' makes it")
def test_open_clip_is_asked_for_the_same_work_and_agrees(tmp_path):
    report, _ = bench_decode(BenchOptions(size="tiny", config=TINY, cases=TINY_CASES, peer=PEER, out=tmp_path), print)
    assert report.agreement.good
    assert report.agreement.logits < 1e-4
    assert [case.how.split(" ")[0].strip(":") for case in report.cases] == [
        *("measured", "interpolated", "measured", "estimated", "interpolated")
    ]
    assert all(one.peer > 0 for case in report.cases for one in case.rounds)


def test_the_peer_that_is_not_there_is_said_in_one_line(tmp_path):
    with pytest.raises(UserError, match="'make peer' makes it"):
        bench_decode(BenchOptions(config=TINY, peer=tmp_path / "none", out=tmp_path), print)


def test_a_peer_that_cannot_work_is_said_in_its_own_words(tmp_path):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\necho 'no module named torch' >&2\nexit 1\n")
    python.chmod(0o755)
    peer = Peer(tmp_path, tmp_path / "log")
    with pytest.raises(CaptionersError, match="the peer died at 'load': no module named torch"):
        peer.ask("load")
    peer.close()


def test_a_thread_policy_that_spoils_turns_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    with pytest.raises(UserError, match="unset it"):
        bench_decode(BenchOptions(config=TINY, peer=None, out=tmp_path), print)


def test_cases_are_chosen_by_name():
    assert chosen(CASES, None) == CASES
    assert [case.name for case in chosen(CASES, "beams-20, draws-20")] == ["draws-20", "beams-20"]
    with pytest.raises(UserError, match=r"no case is named 'beams-2'.*'beams-20'"):
        chosen(CASES, "beams-2")


def test_the_verb_lists_every_case_in_its_help():
    said = " ".join(CliRunner().invoke(app, ["decode", "--help"], env={"COLUMNS": "200"}).output.split())
    assert all(case.name in said for case in CASES)
