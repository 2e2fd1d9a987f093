"""captioners/core/registry.py: names to classes, found lazily."""

import sys
import textwrap

import pytest

from captioners.core.errors import NotFoundError
from captioners.core.registry import Registry


@pytest.fixture
def package(tmp_path, monkeypatch):
    root = tmp_path / "toy_rooms"
    root.mkdir()
    root.joinpath("__init__.py").write_text(
        "from captioners.core.registry import Registry\ntoys = Registry('toy', 'toy_rooms')\n"
    )
    code = "from toy_rooms import toys\n@toys.register('{0}')\nclass Toy: pass\n"
    for name in ("ball", "kite", "_hidden"):
        root.joinpath(f"{name}.py").write_text(textwrap.dedent(code.format(name)))
    monkeypatch.syspath_prepend(tmp_path)
    yield root
    for name in [name for name in sys.modules if name.startswith("toy_rooms")]:
        del sys.modules[name]


def test_modules_are_imported_on_the_first_look_up_and_not_before(package):
    from toy_rooms import toys

    assert "toy_rooms.ball" not in sys.modules
    assert toys.names() == ["ball", "kite"]
    assert toys.get("kite").__module__ == "toy_rooms.kite"


def test_a_module_that_fails_to_import_fails_every_time(package):
    from toy_rooms import toys

    package.joinpath("zeppelin.py").write_text("import no_such_module\n")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_module"):
            toys.names()


def test_an_unknown_name_is_refused_with_near_names_and_all_that_exist():
    toys: Registry[type] = Registry("toy")
    with pytest.raises(NotFoundError, match=r"no toy is named 'bal'\. Known: none yet"):
        toys.get("bal")
    toys.register("ball")(int)
    with pytest.raises(NotFoundError, match=r"no toy is named 'bal'\. Did you mean 'ball'\? Known: ball"):
        toys.get("bal")


def test_two_things_of_one_name_are_refused():
    toys: Registry[type] = Registry("toy")
    toys.register("ball")(int)
    toys.register("ball")(int)
    with pytest.raises(ValueError, match=r"two toys are named 'ball': builtins\.int and builtins\.str"):
        toys.register("ball")(str)
