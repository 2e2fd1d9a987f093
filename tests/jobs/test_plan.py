"""What a recipe is said to cost, against sums worked out here; and what cannot be planned."""

import json

import pytest

from captioners.core.errors import NotFoundError, RecipeError, UserError
from captioners.core.package_data import recipe_names
from captioners.core.recipe import read_recipe
from captioners.jobs.plan.captioning import Asked
from captioners.jobs.plan.job import plan as plan_of
from captioners.models import coca
from captioners.models.hardware import parse_fleet
from captioners.models.training_cost import Step, training_cost_of
from tests.models.tiny import tiny_config

L14 = """job: pretrain
source: {kind: webdataset, inputs: [nowhere/], root: null}
steps: 200
stop_at: 150
batch_size: 1024
hardware: a100-40:16
"""
VOICE = """job: finetune
init: random-l14
source: {kind: webdataset, inputs: [nowhere/]}
tune: text
steps: 100
batch_size: 64
objective: {contrastive_weight: 0}
"""
SURE = ["utilisation=0.4", "caption_tokens=20", "padded_tokens=20"]


def plan(source, overrides=(), gpus=None, assume=()):
    return plan_of(source, overrides, Asked(gpus=gpus), assume)


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        file = tmp_path / "r.yaml"
        file.write_text(text)
        return str(file)

    return write


def test_hours_are_operations_over_what_the_gpus_do(recipe):
    made = plan(recipe(L14), ["objective.contrastive_weight=0"], assume=SURE)
    assert made.fleet == "16 x a100-40"
    assert made.row("samples seen").low == 150 * 1024
    cost = training_cost_of(coca.outline(coca.architecture("coca_ViT-L-14")))
    step = Step(batch=1024, gpus=16, micro_batch=64, tokens=20, labels=19, contrastive=False)
    each = sum(cost.operations(step).values())
    hours = 150 * 1024 * each / (312e12 * 0.4) / 3600
    for end in ("low", "high"):
        assert getattr(made.row("GPU-hours"), end) == pytest.approx(hours)
        assert getattr(made.row("hours"), end) == pytest.approx(hours / 16)
    assert made.row("images a second").low == pytest.approx(150 * 1024 / (hours / 16 * 3600))
    memory = made.row("in all")
    held = sum(cost.memory(step).values())
    assert held < memory.low < memory.high < 1.25 * held
    assert made.row("a checkpoint").low == 12 * cost.parameters
    assert made.row("checkpoints at most").low == 4 * 12 * cost.parameters


def test_what_is_not_sure_is_a_range(recipe):
    made = plan(recipe(L14))
    hours = made.row("GPU-hours")
    assert 2 < hours.high / hours.low < 2.5  # twice the utilisation, and captions padded to the context
    assert made.row("  image tower").low == made.row("  image tower").high
    assert made.row("  text tower").low < made.row("  text tower").high
    assert made.row("padded_tokens").high == 76
    assert plan(recipe(L14), ["context_length=256"]).row("padded_tokens").high == 255


def test_other_gpus_are_set_against_the_recipes_own(recipe):
    made = plan(recipe(L14), assume=SURE)
    own, h100 = made.row("16 x a100-40"), made.row("h100")
    assert own.low == made.row("GPU-hours").low
    assert own.low / h100.low == pytest.approx(989 / 312, rel=0.01)  # the same micro-batch
    assert "micro-batch 64; 6 of them take as long" in h100.how  # 16 x 312 / 989 = 5.05
    other = plan(recipe(L14), gpus="h100:8", assume=SURE)
    assert other.row("GPU-hours").low == pytest.approx(h100.low, rel=0.3)  # twice the images for each, in two parts
    assert other.row("16 x a100-40") == own


def test_the_micro_batch_is_the_largest_that_fits(recipe):
    text = L14.replace("a100-40:16", "GPUS").replace("batch_size: 1024", "batch_size: 4096")
    sizes = {}
    for name in ("rtx-3090", "a100-40", "a100-80", "h200"):
        made = plan(recipe(text.replace("GPUS", f"{name}:16")))
        sizes[name] = made.row("micro-batch").low
        assert made.row("in all").how.startswith(f"of {parse_fleet(made.fleet.split()[-1]).gpu.memory:g} GiB: fits")
        assert 256 % sizes[name] == 0
    assert sizes["rtx-3090"] < sizes["a100-40"] < sizes["a100-80"] < sizes["h200"]
    small = plan(recipe(text.replace("GPUS", "rtx-3060:16")), ["precision=fp32"])
    assert small.row("micro-batch").low == 1
    assert small.row("in all").how.startswith("of 12 GiB: does not fit")
    assert plan(recipe(text.replace("GPUS", "h100:16"))).row("rtx-3060").high == float("inf")


def test_features_of_a_frozen_tower_are_computed_once_and_take_disk(recipe):
    assume = [*SURE, "images=5000"]
    made = plan(recipe(VOICE), assume=assume)
    assert made.row("  image tower").high == 0
    features = made.row("cached features")
    assert (features.low, features.high) == (5000 * 255 * 768 * 2, 5000 * 255 * 768 * 4)
    cost = training_cost_of(coca.outline(coca.architecture("coca_ViT-L-14")))
    step = Step(batch=64, micro_batch=64, tokens=20, labels=19, contrastive=False, tune_image=False, cached=True)
    flops = 6400 * sum(cost.operations(step).values()) + 5000 * cost.encode
    assert made.row("GPU-hours").low == pytest.approx(flops / (165.2e12 * 0.4) / 3600)
    assert made.row("epochs").low == 6400 / 5000
    with pytest.raises(KeyError):
        plan(recipe(VOICE), ["tune=all"], assume=assume).row("cached features")
    assert plan(recipe(VOICE)).row("the data").how.startswith("how many images is not known; say --assume images=N")


def test_epochs_are_steps_where_the_images_are_known(recipe):
    text = VOICE.replace("steps: 100", "epochs: 2.5")
    assert plan(recipe(text), assume=["images=1000"]).row("samples seen").low == 40 * 64  # 2,500 / 64 = 39.1
    with pytest.raises(UserError, match="how many images is not known, so nor how many steps; say --assume images=N"):
        plan(recipe(text))


def test_images_that_are_there_are_counted(tmp_path, recipe):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "a.tar").write_bytes(b"x" * 6000)
    (tmp_path / "shards" / "sizes.json").write_text('{"a.tar": 12}')
    made = plan(recipe(VOICE.replace("nowhere/", str(tmp_path / "shards"))))
    assert (made.row("images").low, made.row("bytes_per_image").low) == (12, 500)
    assert made.row("images").how == "counted in 1 shard"
    assert made.row("epochs").low == 6400 / 12


def test_fp32_is_planned_with_the_peak_of_fp32(recipe):
    half, whole = (plan(recipe(L14), [f"precision={p}"], "h200:16", SURE) for p in ("bf16", "fp32"))
    assert whole.row("GPU-hours").low / half.row("GPU-hours").low == pytest.approx(989 / 67, rel=0.3)
    assert "67 TFLOP/s in fp32" in whole.row("GPU-hours").how
    assert whole.row("micro-batch").low <= half.row("micro-batch").low


def test_a_captioner_is_planned_without_its_weights(tmp_path, recipe):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": tiny_config()}))
    tiny = plan(recipe(VOICE), [f"init={folder}"]).row("parameters")
    assert tiny.low == training_cost_of(coca.outline(tiny_config())).parameters
    assert plan(recipe(VOICE), ["init=random-tiny"]).row("parameters").low < 20e6
    for init in ("coca-l14-coco", "apple-coca-context77", "runs/not-yet/captioner"):
        assert round(plan(recipe(VOICE), [f"init={init}"]).row("parameters").low / 1e6) == 638
    assert (
        "runs/not-yet/captioner is not made yet"
        in plan(recipe(VOICE), ["init=runs/not-yet/captioner"]).row("parameters").how
    )
    (folder / "open_clip_config.json").write_text("{")
    with pytest.raises(UserError, match="not readable JSON"):
        plan(recipe(VOICE), [f"init={folder}"])


@pytest.mark.parametrize(
    ("overrides", "gpus", "assume", "error", "says"),
    [
        (["batch_size=4092"], "h100:8", [], UserError, "batch_size 4,092 cannot be split over 8 GPUs"),
        ([], "h1000", [], NotFoundError, "Did you mean 'h100'"),
        ([], None, ["tokens=3"], UserError, "write NAME=VALUE.* Known: utilisation, caption_tokens"),
        ([], None, ["images"], UserError, "write NAME=VALUE"),
        ([], None, ["images=many"], UserError, "'many' is neither a number nor a range"),
        ([], None, ["images=0"], UserError, "must be above 0"),
        ([], None, ["utilisation=0.5..0.2"], UserError, "a range goes upwards"),
        ([], None, ["utilisation=40"], UserError, "a share of the peak, so at most 1"),
        ([], None, ["caption_tokens=100"], UserError, "captions have 2 to 76 tokens here"),
        ([], None, ["padded_tokens=1"], UserError, "captions have 2 to 76 tokens here"),
        (["hardware=h101:8"], None, [], RecipeError, "no GPU is known as 'h101'"),
        (["init=coca-l14-cocco"], None, [], NotFoundError, "Did you mean 'coca-l14-coco'"),
    ],
)
def test_mistakes_are_one_line(recipe, overrides, gpus, assume, error, says):
    with pytest.raises(error, match=says):
        plan(recipe(VOICE), overrides, gpus, assume)


def test_what_is_about_captions_is_refused_for_training(recipe):
    with pytest.raises(UserError, match=r"--deadline: for recipes that caption; .* is one of the job 'finetune'"):
        plan_of(recipe(VOICE), asked=Asked(deadline=3.0))


def test_every_packaged_training_recipe_can_be_planned():
    names = [name for name in recipe_names() if read_recipe(name).job in ("pretrain", "finetune")]
    assert len(names) > 2
    for name in names:
        made = plan(name, assume=["images=1000"])
        assert all(0 <= row.low <= row.high for section in made.sections for row in section.rows), name
