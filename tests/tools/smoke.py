"""Run every packaged recipe through the command line with its `smoke` section, on the packaged photos, in seconds."""

import subprocess
import sys
import tempfile
from pathlib import Path

import captioners
from captioners.core.package_data import recipe_names
from captioners.core.recipe import read_recipe, resolved


def main():
    photos = Path(captioners.__file__).parent / "samples"
    without = [name for name in recipe_names() if not read_recipe(name).has_smoke]
    failed = []
    for name in recipe_names():
        with tempfile.TemporaryDirectory() as folder:
            recipe = read_recipe(name, _overrides(name, photos, folder), smoke=True)
            saved = Path(folder, f"{name.replace('/', '-')}.yaml")
            saved.write_text(resolved(recipe.options), encoding="utf-8")
            command = [sys.executable, "-m", "captioners", recipe.job, str(saved)]
            code = subprocess.run(command, cwd=folder, check=False).returncode
        print(f"{name}: {'ok' if code == 0 else f'exit code {code}'}", flush=True)
        failed += [name] if code else []
    print(f"{len(recipe_names())} recipes, {len(failed)} failed, {len(without)} without a smoke section")
    return 1 if failed or without else 0


def _overrides(name, photos, folder):
    """Say where the photos are, if the recipe asks, and where the result goes."""
    options = read_recipe(name, smoke=True).options
    overrides = [f"output='{folder}/out{'.jsonl' if options.job == 'caption' else ''}'"]
    if hasattr(options, "inputs"):
        overrides.append(f"inputs=['{photos}']")
    elif getattr(options.source, "inputs", None) == []:
        overrides.append(f"source.inputs=['{photos}']")
    return overrides


if __name__ == "__main__":
    sys.exit(main())
