"""Plans of captions against figures worked out by hand, from calibrations written by hand."""

import pytest

from captioners.core.errors import NotFoundError, UserError
from captioners.core.recipe import read_recipe
from captioners.jobs.plan.calibration import Calibration, LayerFigures, UnitTime, Voice, how_of, load, loads_of, save
from captioners.jobs.plan.captioning import Asked
from captioners.jobs.plan.job import Measured
from captioners.jobs.plan.job import plan as plan_of
from captioners.jobs.plan.pace import cost_of_captioner

RECIPE = """job: generate
source: {kind: webdataset, inputs: [nowhere/]}
members:
  - {name: a, captioner: random-tiny, draws: 5}
  - {name: b, captioner: random-b32, draws: 5}
"""
TIMES = {
    "a": {"waiting": 1.0, "encoding": 4.0, "decoding": 10.0, "writing": 1.0},
    "b": {"waiting": 2.0, "encoding": 4.0, "decoding": 20.0, "writing": 2.0},
}
"""Seconds of 100 images: 0.16 and 0.28 of one, and 0.22 of b where a has read and encoded it."""
MANY = ["images=360000"]


def voice(member, lengths=None, units=2, **more):
    """A captioner of one member, each of whose units of 100 images took as long."""
    seconds = {**TIMES[member.called], **more}
    figures = LayerFigures(
        member=member.called,
        how=how_of(member),
        draws=member.draws,
        lengths=lengths or {9: 1000},
        caption_bytes=(60.0, 100.0),
        entry_bytes=1000.0,
    )
    times = tuple(UnitTime(images=100, seconds=seconds) for _ in range(units))
    return Voice(loads=loads_of(member), units=times, layers=(figures,))


@pytest.fixture
def recipe(tmp_path):
    file = tmp_path / "r.yaml"
    file.write_text(RECIPE)
    return str(file)


@pytest.fixture
def plan(tmp_path, recipe):
    """A plan from a calibration: its passes, and what else is changed in it."""

    def make(overrides=(), encodes=(((0, 1),),), assume=MANY, voices=None, **asked):
        members = read_recipe(recipe).options.members
        found = Calibration(
            device="NVIDIA H100 80GB HBM3",
            on_gpu=True,
            environment={"dtype": "bfloat16"},
            voices=voices or tuple(voice(member) for member in members),
            encodes=encodes,
        )
        save(found, tmp_path / "cal.json")
        assert load(tmp_path / "cal.json") == found
        return plan_of(recipe, overrides, Asked(**asked), assume, Measured(tmp_path / "cal.json"))

    return make


def ends(row):
    return row.low, row.high


def test_a_measurement_is_scaled_to_any_count(plan):
    made = plan(gpus="h100:64", price_per_gpu_hour=2.0, egress_per_gb=0.5, deadline=0.25)
    assert made.basis == "scaled from a measurement"
    assert made.fleet == "64 x h100"
    hours = pytest.approx(360_000 * (0.16 + 0.22) / 3600)  # 38
    assert ends(made.row("GPU-hours")) == (hours, hours)
    assert made.row("hours").low == pytest.approx(38 / 36)  # 36 shards of 10,000: no more than 36 have work
    assert made.row("images/s").low == pytest.approx(64 / 0.38)
    assert made.row("captions").low == 3_600_000
    assert ends(made.row("machines")) == (pytest.approx(76), pytest.approx(76))
    assert ends(made.row("egress")) == (pytest.approx(360_000 * 100e3 / 1e9 * 0.5),) * 2  # 100 kB an image, once
    assert made.row("in all").low == pytest.approx(76 + 18)
    assert made.row("workers needed").low == 152  # 38 h in a quarter of an hour
    assert "36 at most have work" in made.row("workers needed").how
    assert ends(made.row("captions written")) == (pytest.approx(3.6e6 * 60), pytest.approx(3.6e6 * 100))
    assert ends(made.row("layer files")) == (720, 2 * (360 + 36))  # 360 full units a member, and one more a shard
    assert ends(made.row("ledger written")) == (720_000, 792_000)
    assert made.row("shards opened").low == 36


def test_captioners_that_share_nothing_are_paid_for_whole(plan):
    apart = plan(encodes=(((0,),), ((1,),)), gpus="h100:64")
    assert apart.row("GPU-hours").low == pytest.approx(100 * (0.16 + 0.28))
    assert apart.row("passes").low == 2
    assert apart.row("read, in all").low == 2 * apart.row("read, a pass").low
    beside = plan(encodes=(((0,), (1,)),), gpus="h100:64")  # one read, two towers
    assert beside.row("GPU-hours").low == pytest.approx(100 * (0.16 + 0.26))
    unknown = plan(encodes=(), gpus="h100:64")  # a run's own times: what was shared is in them
    assert unknown.row("GPU-hours").low == pytest.approx(100 * (0.16 + 0.28))
    assert ends(unknown.row("passes")) == (1, 2)


def test_levers_say_what_is_left(plan):
    made = plan(encodes=(((0,),), ((1,),)))
    fewer = made.row("fewer draws: 4 for 10")  # (1 + 4 + 11 x 0.4) and (2 + 4 + 22 x 0.4), for 100 images
    assert fewer.low == pytest.approx(100 * (0.094 + 0.148))
    assert fewer.how == "-45%"  # of 0.44
    shorter = made.row("fewer tokens: at most 4")  # 5 steps for 10
    assert shorter.low == pytest.approx(100 * (0.05 + 0.055 + 0.06 + 0.11))
    assert made.row("shared tower").low == pytest.approx(38)
    assert made.row("bf16").how == "+0%: as it was measured already"
    assert plan().row("shared tower").how == "+0%: all captioners share one image encode already"


def test_other_draws_than_measured_are_scaled_and_called_modelled(plan):
    made = plan(["members.0.draws=10"])
    assert made.row("GPU-hours").low == pytest.approx(100 * (0.05 + 0.22 + 0.22))
    assert made.row("images/s").known == "modelled"
    assert made.row("captioner 1, draws").low == 10


def test_an_interval_comes_from_the_units(plan, recipe):
    members = read_recipe(recipe, ["members.1.name=none"]).options.members[:1]
    uneven = voice(members[0])
    slow = UnitTime(images=100, seconds={"decoding": 30.0})
    uneven = uneven.model_copy(update={"units": (*uneven.units * 5, slow)})
    low, high = uneven.seconds({})
    assert low == pytest.approx(0.16)
    assert high > (10 * 16 + 30) / 1100
    assert uneven.seconds({"decoding": 0.0, "encoding": 0.0})[1] == pytest.approx(0.02)
    single = voice(members[0], units=1)
    assert single.seconds({}) == (0.16, 0.16)
    assert single.seconds(single.only("encoding")) == (0.04, 0.04)


def test_a_gpu_that_was_not_measured_gets_a_range_from_operations(recipe, plan):
    assume = [*MANY, "caption_tokens=10"]
    made = plan_of(recipe, [], Asked(gpus="l4:2"), assume)
    assert made.basis == "modelled, not measured"
    operations = 0
    for member in read_recipe(recipe).options.members:
        cost = cost_of_captioner(member)
        steps = sum(cost.step_flops(rows=5, age=age) for age in range(1, 12))  # ten tokens, and the end
        operations += cost.encode + cost.memory + steps
    hours = 360_000 * operations / 121e12 / 3600
    assert ends(made.row("GPU-hours")) == (pytest.approx(hours / 0.3), pytest.approx(hours / 0.05))
    assert made.row("GPU-hours").known == "modelled"
    assert ends(made.row("utilisation")) == (0.05, 0.3)
    lengths = plan(gpus="l4:2", assume=MANY)  # nine tokens, as measured elsewhere; and towers shared
    assert lengths.row("GPU-hours").high < made.row("GPU-hours").high
    assert lengths.basis == "modelled, not measured"
    whole = plan_of(recipe, ["members.0.precision=fp32", "members.1.precision=fp32"], Asked(gpus="l4:2"), assume)
    assert whole.row("GPU-hours").low == pytest.approx(hours / 0.3 * 121 / 30.3)
    assert whole.row("bf16").low == pytest.approx(hours / 0.3)


def test_a_beam_has_its_width_in_rows_whatever_its_captions(recipe):
    asked, assume = Asked(gpus="l4:2"), [*MANY, "caption_tokens=10"]
    made = [plan_of(recipe, [f"members.{n}.decoding={{beam: {{width: 5}}}}" for n in (0, 1)], asked, assume)]
    made += [plan_of(recipe, [], asked, assume)]
    assert made[0].row("GPU-hours") == made[1].row("GPU-hours")  # five beams, or five draws
    with pytest.raises(KeyError):
        made[0].row("fewer draws: 4 for 10")


def test_what_is_counted_is_counted(tmp_path, plan):
    folder = tmp_path / "shards"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.tar").write_bytes(b"x" * 60_000)
    (folder / "sizes.json").write_text('{"a.tar": 2500, "b.tar": 300}')
    inputs = [f"source.inputs=[{folder}]"]
    made = plan(inputs, assume=[])
    assert (made.row("images").low, made.row("images").known) == (2800, "counted")
    assert made.row("layer files").low == made.row("layer files").high == 2 * (3 + 1)
    assert made.row("read, a pass").low == 120_000
    with pytest.raises(KeyError):
        made.row("bytes_per_image")  # nothing rests on it
    assert plan([*inputs, "max_shards=1"], assume=[]).row("images").low == 2500
    (folder / "sizes.json").unlink()
    sized = plan(inputs, assume=["bytes_per_image=100..150"])
    assert ends(sized.row("images")) == (800, 1200)
    assert sized.row("images").known == "assumed"


def test_a_simulated_plan_agrees_with_the_plain_one_where_nothing_happens(plan):
    quiet = [*MANY, "failures_per_worker_day=1e-9", "straggler_factor=1"]
    made = plan(gpus="h100:36", assume=quiet, simulate=True)
    assert made.row("makespan").low == pytest.approx(made.row("hours").low)
    assert (made.row("failures").high, made.row("lost work").high) == (0, 0)
    assert made.row("wasted").high == pytest.approx(0, abs=1e-6)
    worse = plan(gpus="h100:36", assume=[*MANY, "failures_per_worker_day=5", "straggler_factor=3"], simulate=True)
    assert worse.row("failures").low > 0
    assert worse.row("lost work").high > 0
    assert worse.row("makespan").high > 2.9 * made.row("makespan").high  # a straggler, with a shard to itself
    assert worse.row("of it by stragglers").high > 0


def test_the_web_is_simulated_in_seconds(plan):
    made = plan(gpus="h100:1000", assume=["images=1.9e9", "failures_per_worker_day=0.05"], simulate=True)
    assert made.row("shards").low == 190_000
    assert made.row("makespan").high > made.row("hours").high
    expected = 0.05 * made.row("GPU-hours").high / 24
    assert made.row("failures").low == pytest.approx(expected, rel=0.1)
    unit = 0.38 * 1000  # seconds
    assert made.row("lost work").low * 3600 == pytest.approx(expected * unit / 2, rel=0.25)


@pytest.mark.parametrize(
    ("overrides", "asked", "assume", "error", "says"),
    [
        (["members.0.decoding={top_k: 5}"], {}, MANY, UserError, "holds no measurement of a as this recipe has it"),
        (["members.0.precision=fp32"], {}, MANY, UserError, "holds no measurement of a as this recipe has it"),
        (["members.1.name=c"], {}, MANY, UserError, r"holds no measurement of c .* \(it holds a, b\)"),
        ([], {"gpus": "h1000:2"}, MANY, NotFoundError, "Did you mean 'h100'.*'this' is the machine"),
        ([], {"gpus": "this:no"}, MANY, UserError, "write this:8"),
        ([], {}, [], UserError, "say how many to plan for: --assume images=N"),
        ([], {}, ["image=5"], UserError, "Did you mean 'images'"),
        ([], {}, [*MANY, "straggler_share=2"], UserError, "shares, so at most 1"),
    ],
)
def test_mistakes_are_one_line(plan, overrides, asked, assume, error, says):
    with pytest.raises(error, match=says) as raised:
        plan(overrides, assume=assume, **asked)
    assert "\n" not in str(raised.value)


def test_a_calibration_that_is_none_is_told(tmp_path, recipe):
    file = tmp_path / "x.json"
    with pytest.raises(NotFoundError, match="no such file; make one with captioners plan RECIPE --save"):
        plan_of(recipe, measured=Measured(file))
    for text in ("{", '{"device": "x"}', '{"version": 1, "voices": 3}'):
        file.write_text(text)
        with pytest.raises(UserError, match="no calibration"):
            plan_of(recipe, measured=Measured(file))
    with pytest.raises(UserError, match="drop either"):
        plan_of(recipe, measured=Measured(file, save=file))
    with pytest.raises(UserError, match="cannot be written"):
        save(Calibration(device="x", on_gpu=False, voices=()), tmp_path / "none" / "x.json")
