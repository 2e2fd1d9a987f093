"""The wheel, installed outside the checkout, brings its recipes and its command."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import captioners

ROOT = Path(captioners.__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build the wheel, install it into a fresh environment, and return that environment's folder."""
    work = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", work, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = work.glob("*.whl")
    home = work / "env"
    venv.create(home, with_pip=True)
    run = [home / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(run, check=True, capture_output=True)
    # The dependencies (2 GB of torch) come from this environment. A plain path line executes no .pth files there, so
    # the checkout of an editable install stays invisible.
    (site,) = home.glob("lib/python*/site-packages")
    site.joinpath("dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return home


@pytest.fixture
def call(installed, tmp_path):
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def call(program, *arguments):
        command = [installed / "bin" / program, *arguments]
        return subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=False)

    return call


@pytest.mark.slow
def test_the_wheel_works_outside_the_checkout(installed, call):
    where = call("python", "-c", "import captioners; print(captioners.__file__)")
    assert Path(where.stdout.strip()).is_relative_to(installed), where.stderr
    assert call("captioners", "--version").stdout == f"captioners {captioners.__version__}\n"
    assert "caption/photos" in call("captioners", "list", "recipes").stdout
    checked = call("captioners", "check", "caption/photos")
    assert checked.returncode == 0, checked.stderr
    assert "checked 1: 1 right, 0 wrong" in checked.stdout
    assert call("captioners", "list", "data-cards").returncode == 0


@pytest.mark.slow
def test_the_wheel_holds_every_recipe_the_licence_and_no_tests(installed):
    (package,) = installed.glob("lib/python*/site-packages/captioners")
    for folder in ("recipes", "data_cards"):
        there = {p.relative_to(package / f"_{folder}") for p in (package / f"_{folder}").rglob("*") if p.is_file()}
        assert there == {p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*") if p.is_file()}
    templates = ("page.html.j2", "style.css", "filter.js")
    assert all((package / "report" / "templates" / name).is_file() for name in templates)
    assert (package / "py.typed").is_file()
    ours = {p.name: p.read_bytes() for p in (ROOT / "captioners/demo_captioner").iterdir()}
    assert {p.name: p.read_bytes() for p in (package / "demo_captioner").iterdir()} == ours
    assert list(package.parent.glob("captioners-*.dist-info/licenses/LICENSE"))
    assert not (package.parent / "tests").exists()
