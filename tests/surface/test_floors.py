"""The floors: which room imports which, which modules are torch-free, and how large a module or function gets.

Every import statement of every module is read, also those inside functions and under TYPE_CHECKING.
"""

import ast
import re
from pathlib import Path

import pytest

import captioners

PACKAGE = Path(captioners.__file__).parent
BELOW_JOBS = (
    *("core", "decoding", "models", "engine", "text", "images", "kinds", "samples"),
    *("data", "training", "executors", "metrics", "report", "reinforcement"),
)

MAY_IMPORT = {
    # floor 3
    "cli": ("jobs", "core"),
    "api": ("jobs", *BELOW_JOBS),
    # floor 2: the only wiring
    "jobs": BELOW_JOBS,
    # floor 1
    "kinds": ("engine", "models", "decoding", "text", "images", "core"),
    "engine": ("models", "decoding", "core"),
    "executors": ("core",),
    "data": ("text", "images", "core"),
    "training": ("models", "data", "core"),
    # It reads tars as `data` does (nothing followed, nothing unpacked) and writes them with its writer.
    "reinforcement": ("data", "images", "text", "core"),
    "metrics": ("core",),
    "report": ("core",),
    "models": ("core",),
    "decoding": ("core",),
    "text": ("core",),
    "images": ("core",),
    "samples": (),
    # floor 0
    "core": (),
}
"""Room -> rooms it may import besides itself. Every room of the package stands here."""

OUTSIDE_ROOMS = {
    "captioners": ("api",),  # the public names, imported when they are asked for
    "captioners.__main__": ("cli",),
}

JOBS_OF_JOBS = {
    "ablate": {"export", "generate", "measure", "probe", "reinforce", "train"},  # one job after another, arm by arm
    "bench": {"generate", "reinforce"},  # it times their parts by themselves
    "check": {"train"},  # it reads a path as `finetune` does
    "compare": {"runs"},  # the same words for the same things
    "demo": {
        "compare",
        "data",
        "generate",
        "measure",
        "runs",
        "train",
    },  # the whole loop: one job after another, and measured
    "export": {"runs"},  # the same words for the same things
    "plan": {
        "ablate",
        "generate",
        "probe",
        "reinforce",
        "runs",
    },  # it measures by a small run, goes on from a run's own recipe, and counts what an ablation has done
    "publish": {"ablate", "measure", "probe"},  # a bundle is what they wrote, and is checked by running them again
    "runs": {"generate"},  # what is tried again is captioned as `generate` does
    "train": {"compare"},  # it ends with a comparison
}
"""A job (a module or folder of `jobs/`) imports no other job, except here; `jobs/recipes` is open to all."""

HEAVY = {"torch", "torchvision", "open_clip", "transformers"}
TORCH_FREE = re.compile(
    r"captioners(\.__main__|\.(core|cli|api|text|images|samples|executors|metrics|report)(\..+)?|\.\w+"
    r"|\.decoding\.values|\.kinds\.(captioner|catalogue|choices|kind|existing|endpoint|vllm|vllm_worker|_plain_text|\w+_options)"
    r"|\.data(\.(?!batches)\w+)?"
    r"|\.reinforcement(\.(?!dataset|loss|teachers)\w+)?|\.jobs(\.check(\.job)?|\.listing|\.doctor|\.recipes(\.\w+)?)?)?"
)
"""What `captioners --help`, `check` and `list` load: no heavy import at the top of these."""

MOST_LINES = 300
MOST_FUNCTION_LINES = 60


def _name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _imports(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write the full name"
            # `from captioners.jobs import caption` imports a module, not only the package.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _our_imports(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    for imported in _imports(ast.walk(tree)):
        if imported.split(".")[0] == "captioners":
            longest = imported
            while longest not in MODULES:
                longest = longest.rpartition(".")[0]
            yield longest


def _room(name):
    return name.split(".")[1] if "." in name else ""


def _job(name):
    return name.split(".")[2]


def test_every_room_is_named():
    rooms = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert rooms <= set(MAY_IMPORT), f"new rooms need a row in MAY_IMPORT: {rooms - set(MAY_IMPORT)}"
    outside = {name for name, path in MODULES.items() if path.parent == PACKAGE}
    assert outside <= set(OUTSIDE_ROOMS), f"modules outside all rooms: {outside - set(OUTSIDE_ROOMS)}"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_rooms_below_it(name):
    room = _room(name)
    allowed = OUTSIDE_ROOMS[name] if name in OUTSIDE_ROOMS else (*MAY_IMPORT[room], room)
    wrong = {found for found in _our_imports(name) if found != "captioners" and _room(found) not in allowed}
    assert not wrong, f"{name} may import {', '.join(allowed)}, but imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("captioners.jobs.")])
def test_a_job_imports_no_other_job(name):
    mine = _job(name)
    jobs = {_job(found) for found in _our_imports(name) if found.startswith("captioners.jobs.")}
    wrong = jobs - {"recipes", mine} - JOBS_OF_JOBS.get(mine, set())
    assert not wrong, f"{name} imports {wrong}; move what both need one floor down"


@pytest.mark.parametrize("name", [name for name in MODULES if TORCH_FREE.fullmatch(name)])
def test_what_help_and_check_load_is_torch_free(name):
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    heavy = {found for found in _imports(tree.body) if found.split(".")[0] in HEAVY}
    assert not heavy, f"{name} imports {heavy} at its top; import it where it is needed"


def test_the_torch_free_rule_covers_what_it_should():
    free = {name for name in MODULES if TORCH_FREE.fullmatch(name)}
    assert {"captioners", "captioners.core.recipe", "captioners.cli.main", "captioners.decoding.values"} <= free
    assert "captioners.models.coca" not in free


@pytest.mark.parametrize("name", MODULES)
def test_modules_and_functions_stay_readable(name):
    text = MODULES[name].read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES, f"{name} has {len(text.splitlines())} lines; split it"
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions if f.end_lineno - f.lineno >= MOST_FUNCTION_LINES}
    assert not long, f"functions of more than {MOST_FUNCTION_LINES} lines: {long}"


def test_the_reader_of_imports_sees_what_it_must():
    """The negative control: without it, a reader that finds nothing would pass every test above."""
    source = (
        "import torch.nn\ndef f():\n    from captioners.jobs import caption\nif 1:\n    import captioners.cli.main\n"
    )
    tree = ast.parse(source)
    assert set(_imports(ast.walk(tree))) == {"torch.nn", "captioners.jobs.caption", "captioners.cli.main"}
    assert set(_imports(tree.body)) == {"torch.nn"}
    assert "captioners.core.errors" in set(_our_imports("captioners.cli.main"))
