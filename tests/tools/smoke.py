"""Run every packaged recipe through the command line with its `smoke` section, on the packaged photos, in seconds.

The paper's recipes find their datasets where they look for them, in their exact schemas, with drawn pictures.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import captioners
from captioners.core.package_data import recipe_names
from captioners.core.recipe import read_recipe, resolved

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests import paper_sets


def main(names):
    without = [name for name in names if not read_recipe(name).has_smoke]
    failed = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            code = run(name, Path(folder))
        print(f"{name}: {'ok' if code == 0 else f'exit code {code}'}", flush=True)
        failed += [name] if code else []
    print(f"{len(names)} recipes, {len(failed)} failed, {len(without)} without a smoke section")
    return 1 if failed or without else 0


def run(name, folder):
    """Run one recipe, given by name or path, in an empty folder, and return its exit code."""
    paper_sets.write(folder)
    recipe = read_recipe(name, _overrides(name, folder), smoke=True)
    saved = folder / "smoke.yaml"
    saved.write_text(resolved(recipe.options), encoding="utf-8")
    command = [sys.executable, "-m", "captioners", recipe.job, str(saved)]
    return subprocess.run(command, cwd=folder, check=False).returncode


def _overrides(name, folder):
    """Say where the photos are, if the recipe asks, and where the result goes."""
    photos = Path(captioners.__file__).parent / "samples"
    options = read_recipe(name, smoke=True).options
    overrides = [f"output='{folder}/out{'.jsonl' if options.job == 'caption' else ''}'"]
    if hasattr(options, "inputs"):
        overrides.append(f"inputs=['{photos}']")
    elif getattr(getattr(options, "source", None), "inputs", None) == []:
        overrides.append(f"source.inputs=['{photos}']")
    return overrides


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or recipe_names()))
