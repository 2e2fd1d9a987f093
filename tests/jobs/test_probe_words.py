"""What a probe says at its end: the arms beside each other, what was declared, and what so few seeds cannot show."""

from captioners.core.recipe import options_from
from captioners.jobs.probe.job import ProbeRun, declared_of
from captioners.jobs.probe.sanity import Check
from captioners.jobs.probe.words import lines
from captioners.jobs.recipes.probe import ProbeRecipe
from captioners.metrics.contrasts import Result, contrasts


def found(seeds, pairs, *, lost="", weights=(0.0,), **more):
    """The words on three arms that are 0.1 apart, seed by seed; one may have no results."""
    data = {
        "job": "probe",
        "arms": {"a": {}, "b": {}, "c": {}},
        "distillation_weights": list(weights),
        "seeds": list(range(seeds)),
    }
    recipe = options_from(ProbeRecipe, {**data, "declare": {"contrasts": pairs}})
    results = [
        Result(
            arm=arm,
            seed=seed,
            task=task,
            value=0.2 + 0.1 * at + 0.01 * seed + 0.001 * (seed * at % 3),
            distillation=weight,
        )
        for at, arm in enumerate("abc")
        if arm != lost
        for weight in weights
        for seed in range(seeds)
        for task in ("average", "count")
    ]
    run = ProbeRun(directory="x", results=results, contrasts=contrasts(results, declared_of(recipe)), **more)
    return lines(run, recipe)


def test_arms_stand_beside_each_other_with_mean_and_spread():
    said = found(2, [])
    assert said[0].split() == ["arm", "distillation", "seeds", "average", "count"]
    assert said[1].split() == ["a", "0", "2", "0.205", "±0.007", "0.205", "±0.007"] and len(said) == 4
    assert len({line.index("0.") for line in said[1:4]}) == 1, "columns stand below each other"


def test_contrasts_are_said_with_interval_tests_and_verdict():
    said = found(8, [["b", "a"], ["c", "b"]])
    (one, _) = [line for line in said if " against " in line]
    assert one.startswith("b against a, distillation 0: average +0.101 [+0.100, +0.102], 8 seeds, p 0.016 after Holm")
    assert one.endswith("p of a difference beyond 0.02 1.000: higher")
    assert not any("under 6" in line or "declare fewer" in line for line in said)


def test_what_so_few_seeds_cannot_show_is_said():
    assert "under 6 seeds there are intervals and no p-values" in found(3, [["b", "a"]])
    said = found(6, [["b", "a"], ["c", "b"]])
    too_few = (
        "p-values are corrected for 2 tests (contrasts x weights of distillation), and of 6 seeds none can be below "
        "0.06; declare fewer contrasts, or add seeds"
    )
    assert too_few in said
    assert all(line.endswith("can't tell") for line in said if " against " in line)
    assert not any("corrected for" in line for line in found(6, [["b", "a"]])), "one test of six seeds can reach 0.03"


def test_tests_are_counted_as_the_correction_counts_them():
    """One contrast of two had its seeds: "1 contrasts share 6 seeds", said the words, of a p that two had made."""
    said = found(6, [["b", "a"], ["c", "b"]], lost="c")
    assert any("corrected for 2 tests" in line and "of 6 seeds none can be below 0.06" in line for line in said)
    weights = found(6, [["b", "a"]], weights=[0.0, 1.0])
    assert any("corrected for 2 tests" in line for line in weights), "one contrast at two weights"
    shared = found(7, [["b", "a"], ["c", "b"], ["c", "a"]])
    assert not any("corrected for" in line for line in shared), "3 x 2 / 2**7 is below 0.05, whatever arms they share"


def test_checks_failures_and_what_was_left_out_are_said():
    said = found(1, [], checks=[Check("x", False, "1, and 2")], failed={"a": "nan"}, left_out=["s: k: no picture"])
    assert said[-3:] == ["FAILS: x (1, and 2)", "left out: s: k: no picture", "failed: a: nan"]
    recipe = options_from(ProbeRecipe, {"job": "probe", "arms": {"a": {}}})
    assert lines(ProbeRun(directory="x", results=[], contrasts=[]), recipe) == []
