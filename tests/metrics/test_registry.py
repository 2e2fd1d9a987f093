"""captioners/metrics/registry.py: every metric once, with all that is to be said of it."""

import ast
from pathlib import Path

import captioners.metrics
from captioners.metrics.metric import Metric
from captioners.metrics.registry import BUNDLE, REGISTRY


def test_every_metric_is_there_with_its_facts():
    for name, one in REGISTRY.items():
        assert isinstance(one.metric, Metric) and one.metric.name == name
        assert one.metric.source and one.metric.unit and one.metric.version >= 1


def test_no_metric_of_the_room_is_forgotten():
    """Each `Metric(name="...")` in a module is in the registry."""
    written = set()
    for path in Path(captioners.metrics.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Metric":
                names = [word.value for word in node.keywords if word.arg == "name"]
                written |= {name.value for name in names if isinstance(name, ast.Constant)}
    assert len(written) > 25
    assert written <= set(REGISTRY)


def test_the_bundle_is_among_them():
    assert set(REGISTRY) >= BUNDLE
    assert {"mBLEU-4", "Self-CIDEr", "length", "degenerate captions", "facts told"} <= BUNDLE
