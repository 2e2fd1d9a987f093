"""What is written about the package is true: doctests, generated README parts, changelog, make targets."""

import doctest
import importlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import captioners

ROOT = Path(captioners.__file__).parent.parent
WITH_EXAMPLES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "captioners").rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_in_docstrings_work(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_generated_parts_of_the_readme_are_current():
    tool = ROOT / "tests" / "tools" / "readme.py"
    done = subprocess.run([sys.executable, tool, "--diff"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run 'make docs':\n{done.stdout}"


def test_the_python_of_the_readme_runs(run_dir):
    pytest.importorskip("pyarrow")
    photos = ROOT / "captioners" / "samples"
    shutil.copy(photos / "cat.jpg", run_dir / "photo.jpg")
    shutil.copytree(photos, run_dir / "holiday")
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    # The same code with a captioner that needs no download.
    code = code.replace("coca-l14-coco", "random-tiny").replace("inputs=", "captioner='random-tiny', inputs=")
    found = {}
    exec(code, found)  # the README is ours
    assert len(found["captions"]) == 5
    assert found["table"].num_rows == 5 * len(list(photos.glob("*.jpg")))


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## \[([0-9.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert project["version"] == captioners.__version__ == newest[1]


def test_every_make_target_describes_itself_and_the_readme_s_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE))
    assert targets == described
    assert {"help", "demo", "test", "check", "smoke", "bench", "docs", "all"} <= targets
    told = set(
        re.findall(r"`make ([a-z-]+)`", (ROOT / "README.md").read_text() + (ROOT / "CONTRIBUTING.md").read_text())
    )
    assert told <= targets


def test_continuous_integration_runs_the_test_command_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"^make test$", script, re.MULTILINE)
    assert re.search(r"^make test\b", (ROOT / "README.md").read_text(), re.MULTILINE)
