"""Budgets: counted from the ledger over all workers, overshot by no more than what each worker has in hand."""

import random
from dataclasses import dataclass

import pytest

from captioners.cli.main import run
from captioners.core.entry import Counts, Entry
from captioners.core.errors import InterruptedRunError, RecipeError
from captioners.core.ledger import Ledger
from captioners.core.recipe import read_options
from captioners.core.run_dir import RunDir
from captioners.core.storage import Place
from captioners.executors import budget as budget_module
from captioners.executors.budget import Budget
from captioners.jobs.recipes.generate import GenerateRecipe
from tests.jobs.shards import write_shards

HOUR = 3600.0


def recipe(**keys):
    members = [{"captioner": "random-tiny"}]
    return GenerateRecipe.model_validate({"source": {"kind": "drawn"}, "members": members, **keys})


def entry(shard, seconds, layer="a"):
    return Entry(
        layer=layer, fingerprint="f", shard=shard, part=0, start=0, stop=1, last=True, counts=Counts(), file="",
        digest="", seconds={"decoding": seconds * 0.75, "waiting": seconds * 0.25},
    )  # fmt: skip


@dataclass
class Clock:
    now: float = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(budget_module, "time", clock)
    return clock


def test_without_a_budget_nothing_is_read_and_nothing_refused():
    assert Budget(recipe(), None).problem(1e9) is None


def test_hours_are_summed_over_all_layers_and_workers(tmp_path, clock):
    ledger = Ledger(Place(tmp_path))
    budget = Budget(recipe(max_hours=2.0), ledger)
    assert budget.problem() is None
    ledger.commit(entry("0.tar", 1.0 * HOUR)), ledger.commit(entry("0.tar", 0.5 * HOUR, "b"))
    clock.now += 1
    assert budget.problem() is None and budget.problem(0.5 * HOUR) is not None, "what is in hand counts"
    ledger.commit(entry("1.tar", 0.51 * HOUR))
    assert budget.problem() == (
        "stopped at max_hours: 2.01 of 2 hours are spent; what is stored stays. To go on, raise max_hours in the same "
        "command"
    )
    with pytest.raises(InterruptedRunError, match="max_hours") as raised:
        budget.check()
    assert raised.value.exit_code == 75


def test_cost_is_hours_by_their_price(tmp_path, clock):
    ledger = Ledger(Place(tmp_path))
    ledger.commit(entry("0.tar", 2 * HOUR))
    assert Budget(recipe(max_cost=5.01, price_per_gpu_hour=2.5), ledger).problem() is None
    said = Budget(recipe(max_cost=5.0, price_per_gpu_hour=2.5), ledger).problem()
    assert said.startswith("stopped at max_cost: 5.00 of 5 (2.00 hours) are spent")


def test_a_cost_without_a_price_is_refused():
    with pytest.raises(RecipeError, match="say price_per_gpu_hour"):
        read_options(GenerateRecipe, "generate/shards", ["max_cost=5"])


def test_a_ledger_that_takes_long_to_read_is_read_a_tenth_of_the_time(tmp_path, clock):
    reads = []

    class Slow(Ledger):
        def table(self):
            reads.append(clock.now)
            clock.now += 6.0
            return super().table()

    ledger = Slow(Place(tmp_path))
    budget = Budget(recipe(max_hours=1.0), ledger)
    for number in range(100):
        stored = entry(f"{number}.tar", 3.0)
        ledger.commit(stored)
        budget.stored(stored)
        clock.now += 3.0
        budget.problem()
    assert len(reads) == pytest.approx(100 * 3 / 66, abs=2)
    budget.stored(entry("x", HOUR))
    assert budget.problem() is not None, "its own units count at once"


@pytest.mark.parametrize("workers", [1, 3, 8])
def test_workers_of_one_ledger_end_within_a_unit_each_of_the_budget(tmp_path, workers, clock):
    """Each worker asks before a unit, as they come free; a unit takes 20 to 60 minutes."""
    chance, ledger = random.Random(workers), Ledger(Place(tmp_path))
    budgets = [Budget(recipe(max_hours=12.0), ledger) for _ in range(workers)]
    ends = [(clock.now, worker, None) for worker in range(workers)]  # when each one's unit ends, and what it was
    while ends:
        clock.now, worker, unit = ends.pop(ends.index(min(ends, key=lambda end: end[:2])))
        if unit is not None:
            ledger.commit(unit)
            budgets[worker].stored(unit)
        if budgets[worker].problem() is None:
            seconds = chance.uniform(HOUR / 3, HOUR)
            ends.append((clock.now + seconds, worker, entry(f"{clock.now}-{worker}.tar", seconds)))
    spent = sum(sum(entry.seconds.values()) for entry in ledger.entries())
    assert 12 * HOUR <= spent <= (12 + workers) * HOUR
    if workers == 8:
        assert spent > 13 * HOUR, "so it is not one unit in all: others are at theirs when the sum is full"


@pytest.fixture
def captioners(capfd, run_dir):
    def call(*arguments):
        code = run(list(map(str, arguments)))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return call


QUICK = ("-c", "random-tiny", "-n", "1", "-d", "{top_k: 5, max_tokens: 6}", "unit_samples=3", "decode_workers=0")


def test_a_run_stops_at_its_budget_with_75_and_one_line_and_a_higher_one_goes_on(captioners):
    write_shards("shards", shards=3, samples=6)
    code, _, err = captioners("generate", "shards", *QUICK, "-o", "run", f"max_hours={1e-6 / 3600}")
    assert code == 75 and err.strip().splitlines()[-1].startswith("captioners: stopped at max_hours: 0.00 of ")
    stored = len(list(RunDir("run").entries()))
    assert stored <= 1, "no more than the unit that the worker was at"
    code, _, err = captioners("generate", "shards", *QUICK, "-o", "run", f"max_hours={1e-6 / 3600}")
    assert code == 75 and len(list(RunDir("run").entries())) == stored
    code, _, err = captioners("generate", "shards", *QUICK, "-o", "run", "max_hours=100")
    assert code == 0 and len(list(RunDir("run").entries())) == 6, err
    code, out, _ = captioners("generate", "shards", *QUICK, "-o", "run", f"max_hours={1e-6 / 3600}")
    assert code == 0 and "nothing is left to do" in out, "a whole run needs no budget"
