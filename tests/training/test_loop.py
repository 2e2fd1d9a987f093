"""A stopped run goes on as if it had not been: the same bits, the same lines."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from captioners.core.errors import InterruptedRunError, NeedsLookError, UserError
from captioners.models import coca
from captioners.training.devices import accelerator_for
from captioners.training.loop import Plan, Trainer
from captioners.training.objective import CoCaObjective
from captioners.training.ranks import Ranks
from tests.models.tiny import tiny_config
from tests.training.runs import Scripted, normalised, train

ROOT = Path(__file__).resolve().parents[2]


def _equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _lines(folder):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "samples_per_s"} for record in records]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    torch.set_num_threads(2)  # as each test has: sums are split by threads
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, train(folder, 8)


def test_it_learns(tmp_path):
    seen = []
    train(tmp_path, 40, Scripted(period=1), show=seen.append, log_every=5, checkpoint_every=100)
    assert [record.step for record in seen] == [1, 5, 10, 15, 20, 25, 30, 35, 40]
    assert seen[-1].caption < 0.3 * seen[0].caption
    assert seen[-1].contrastive < 0.5 * seen[0].contrastive


def test_metrics_are_lines_of_json(undisturbed):
    folder, _ = undisturbed
    lines = _lines(folder)
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert lines[0].keys() == {"step", "caption", "contrastive", "total", "lr", "grad_norm"}
    assert lines[0]["total"] == pytest.approx(2 * lines[0]["caption"] + lines[0]["contrastive"])
    assert lines[0]["lr"] == pytest.approx(1.5e-3)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-00000006", "step-00000008"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_with_a_checkpoint_and_the_rest_is_the_same(number, undisturbed, tmp_path):
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]

    def stop(step):
        if step == 4:
            os.kill(os.getpid(), number)

    with pytest.raises(
        InterruptedRunError, match=r"stopped after step 5 of 8; .* run the same command again"
    ) as stopped:
        train(tmp_path, 8, Scripted(stop))
    assert stopped.value.exit_code == 75
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert (tmp_path / "checkpoints" / "step-00000005").is_dir()
    rest = Scripted()
    state = train(tmp_path, 8, rest)
    assert rest.asked == [5, 6, 7]
    assert _equal(state, undisturbed[1])
    assert _lines(tmp_path) == _lines(undisturbed[0])


def test_another_seed_is_another_run(undisturbed, tmp_path):
    """The control of the tests of equality."""
    assert not _equal(train(tmp_path, 8, seed=1), undisturbed[1])


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_killed_process_goes_on_to_the_same_bits(name, tmp_path):
    """Each run is a process of its own, with one thread."""

    def run(folder, *rest):
        folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "tests.training.runs", str(folder), "8", *rest]
        return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

    assert run(tmp_path / "whole").returncode == 0
    killed = run(tmp_path / "killed", "5", name)
    assert killed.returncode == (75 if name == "SIGTERM" else -signal.SIGKILL), killed.stderr
    assert not (tmp_path / "killed" / "final.pt").exists()
    again = run(tmp_path / "killed")
    assert again.returncode == 0, again.stderr
    whole, rest = (torch.load(tmp_path / which / "final.pt", weights_only=True) for which in ("whole", "killed"))
    assert _equal(whole, rest)
    assert _lines(tmp_path / "whole") == _lines(tmp_path / "killed")


def test_a_finished_run_has_nothing_left_to_do(undisturbed):
    again = Scripted()
    assert _equal(train(undisturbed[0], 8, again), undisturbed[1])
    assert again.asked == []


def test_another_plan_does_not_go_on_with_a_run(undisturbed):
    with pytest.raises(UserError, match="was begun with seed 0, and is to go on with 7; name another output"):
        train(undisturbed[0], 8, facts={"seed": 7})


def test_a_loss_that_is_no_number_stops_and_names_the_batch(tmp_path):
    spoilt = Scripted().batch(4).pixels[2]

    def broken(pixels):
        wrong = (pixels == spoilt).flatten(1).all(1)[:, None, None, None]
        return torch.where(wrong, float("nan"), normalised(pixels))

    with pytest.raises(NeedsLookError, match=r"step 5: the loss is no number .* for 4/2 \(each sample's loss") as found:
        train(tmp_path, 8, normalise=broken)
    assert "the checkpoint of step 3 is kept" in str(found.value)
    assert found.value.exit_code == 2
    told = json.loads((tmp_path / "diverged.json").read_text())
    assert told["step"] == 5
    assert told["samples"][0]["key"] == "4/2"
    assert [one["caption"] == "nan" for one in told["samples"]] == [True, False, False, False]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000003"]


def test_a_frozen_image_tower_stays_as_it_is(tmp_path):
    before = coca.build(tiny_config(), 0).state_dict()
    after = train(tmp_path, 4, tune="text", weight=0.0)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("visual.") for name in changed)
    assert "logit_scale" not in changed


def test_bf16_is_autocast_and_weights_stay_fp32(tmp_path):
    seen = []
    state = train(tmp_path / "bf16", 2, show=seen.append, precision="bf16")
    assert all(tensor.dtype is torch.float32 for tensor in state.values())
    exact = []
    train(tmp_path / "fp32", 2, show=exact.append)
    assert seen[0].caption == pytest.approx(exact[0].caption, rel=0.02)
    assert seen[0].caption != exact[0].caption


def test_dropout_is_refused(tmp_path):
    config = tiny_config()
    config["vision_cfg"]["patch_dropout"] = 0.5
    with (
        accelerator_for("cpu") as accelerator,
        pytest.raises(UserError, match=r"visual\.patch_dropout of this model drops"),
    ):
        Trainer(
            coca.build(config, 0), CoCaObjective(), Scripted(), normalised,
            plan=Plan(steps=1, lr=1.0, warmup=0, weight_decay=0.0), folder=tmp_path, ranks=Ranks(accelerator), facts={},
        )  # fmt: skip


def test_a_missing_tracker_names_its_extra(monkeypatch):
    from captioners.training import devices

    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    with (
        pytest.raises(UserError, match=r"tensorboard is not installed; pip install 'captioners\[tensorboard\]'"),
        accelerator_for("cpu", trackers=["tensorboard"]),
    ):
        pass


def test_no_cuda_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="torch sees no CUDA device here"), accelerator_for("cuda"):
        pass


def test_an_exploding_loss_stops_and_keeps_the_checkpoint_before_it(tmp_path):
    def grown(trainer, step):
        """The loss from step 25 on is that of other weights."""
        if step == 24:
            with torch.no_grad():
                trainer.model.text_decoder.text_projection.mul_(100)

    with pytest.raises(
        NeedsLookError, match=r"step 27: the loss explodes: .* against a median .* on the batch of"
    ) as e:
        train(tmp_path, 40, checkpoint_every=4, evaluate_every=4, evaluate=grown)
    assert "the checkpoint of step 24 is kept" in str(e.value)


def test_evaluations_see_the_model_in_eval_mode_keep_the_best_and_end_the_run(tmp_path):
    seen, trainers = [], []

    def evaluate(trainer, step):
        assert not trainer.model.training
        assert (tmp_path / "checkpoints" / f"step-{step:08d}").is_dir()
        seen.append((step, trainer.keep_best({2: 0.5, 4: 0.9, 6: 0.7}[step])))
        return "no better for 1 evaluation" if step == 6 else None

    state = train(tmp_path, 8, evaluate_every=2, evaluate=evaluate, trainers=trainers)
    assert seen == [(2, True), (4, True), (6, False)]
    (trainer,) = trainers
    assert (trainer.step, trainer.stopped_because) == (6, "no better for 1 evaluation")
    assert trainer.model.training
    best = trainer.checkpoints.best()
    assert (best.step, best.state["score"]) == (4, 0.9)
    last = {name: tensor.clone() for name, tensor in state.items()}
    assert trainer.restore_best().step == 4
    assert not _equal(last, trainer.model.state_dict())
    # The same command again: nothing is evaluated twice, and the run is still at its end.
    train(tmp_path, 8, evaluate_every=2, evaluate=evaluate, trainers=trainers)
    assert len(seen) == 3
    assert trainers[1].stopped_because == "no better for 1 evaluation"


def test_an_evaluation_that_was_interrupted_is_done_again(tmp_path, undisturbed):
    seen = []

    def evaluate(trainer, step):
        seen.append(step)
        if seen == [3, 6]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 8, evaluate_every=3, evaluate=evaluate)
    state = train(tmp_path, 8, evaluate_every=3, evaluate=evaluate)
    assert seen == [3, 6, 6, 8]
    assert _equal(state, undisturbed[1])


def test_the_micro_batch_is_found_noted_and_kept_for_the_rest_of_the_run(tmp_path, monkeypatch):
    from captioners.training import micro_batches

    said, trainers = [], []
    monkeypatch.setattr(micro_batches, "free_bytes", lambda: 1)
    train(tmp_path, 2, micro_batch="auto", say=said.append, trainers=trainers)
    assert said == ["micro-batch: 1 of 4 images at once"]
    monkeypatch.setattr(micro_batches, "free_bytes", lambda: 1 << 40)
    train(tmp_path / "roomy", 2, micro_batch="auto", say=said.append, trainers=trainers)
    train(tmp_path, 3, micro_batch="auto", say=said.append, trainers=trainers)
    assert [trainer.gradient.micro_batch for trainer in trainers] == [1, 4, 1]
    assert len(said) == 2
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert events == [{"step": 0, "event": "micro-batch: 1 of 4 images at once", "micro_batch": 1}]


def test_a_micro_batch_found_while_rehearsing_is_told_all_the_same(tmp_path, monkeypatch):
    """With max_hours, the default of finetune/custom, it was found before anybody listened, and never said."""
    from captioners.training import micro_batches

    said = []
    monkeypatch.setattr(micro_batches, "free_bytes", lambda: 1)
    train(tmp_path, 2, micro_batch="auto", say=said.append, before=lambda trainer: trainer.rehearse(2))
    assert said == ["micro-batch: 1 of 4 images at once"]
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0])["micro_batch"] == 1


def test_a_number_asked_for_counts_when_a_run_goes_on(tmp_path):
    """Whose run was killed for want of memory could not ask for less: the checkpoint's number was taken."""
    trainers = []
    train(tmp_path, 3, micro_batch=4, trainers=trainers)
    train(tmp_path, 4, micro_batch=1, trainers=trainers)
    assert [trainer.gradient.micro_batch for trainer in trainers] == [4, 1]


def test_a_rehearsal_whose_gradient_is_no_number_leaves_the_weights(tmp_path):
    """AdamW's moments were no numbers then, and 0 times such a moment is none either."""
    model = []

    def rehearse(trainer):
        before = {name: p.detach().clone() for name, p in trainer.parameters.items()}
        trainer.rehearse(2)
        model.append(_equal(before, trainer.parameters))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, 2, normalise=lambda pixels: normalised(pixels) * float("nan"), before=rehearse)
    assert model == [True]


def test_memory_that_runs_out_is_noted_and_the_run_goes_on(tmp_path):
    said = []

    def short(pixels):
        if len(pixels) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return normalised(pixels)

    train(tmp_path, 2, normalise=short, say=said.append)
    assert said == ["out of memory: the micro-batch is now 2 images"]


def test_a_rehearsal_leaves_no_trace(tmp_path, undisturbed):
    def rehearsed(trainer):
        assert 0 < trainer.rehearse(2) < 60

    class Rehearsing(list):
        def append(self, trainer):
            rehearsed(trainer)

    assert _equal(train(tmp_path, 8, trainers=Rehearsing()), undisturbed[1])
