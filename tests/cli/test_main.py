"""captioners/cli/main.py: verbs, help and exit codes."""

import errno
import subprocess
import sys

import pytest
import typer

from captioners import __version__
from captioners.cli import main as cli
from captioners.cli.arguments import check_shard_arguments
from captioners.cli.ending import done
from captioners.core.errors import InterruptedRunError, NeedsLookError, UserError

ALL_VERBS = [verb for verbs in cli.VERBS.values() for verb in verbs]


@pytest.fixture
def failing(monkeypatch):
    """Make the verb `check` raise what the test wants."""

    def fail(error):
        def command(target: str = "") -> None:
            raise error

        app = typer.Typer(add_completion=False)
        app.command("check")(command)
        monkeypatch.setattr(cli, "_load", lambda verb: typer.main.get_command(app))

    return fail


def imported_by(*arguments):
    code = (
        "import sys\nfrom captioners.cli.main import run\n"
        f"code = run({list(arguments)!r})\n"
        "print(code, ' '.join(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    code, *modules = done.stdout.splitlines()[-1].split()
    return int(code), set(modules), done.stdout


@pytest.mark.parametrize("arguments", [["--help"], [], ["--version"]])
def test_help_and_version_import_nothing_heavy(arguments):
    code, modules, _ = imported_by(*arguments)
    assert code == 0
    assert not modules & {"torch", "pydantic", "open_clip", "transformers", "numpy", "PIL", "ruamel", "huggingface_hub"}


@pytest.mark.parametrize(
    "arguments", [["check", "caption/photos"], ["list"], ["list", "recipes"], ["list", "captioners"]]
)
def test_check_and_list_answer_without_torch(arguments):
    code, modules, _ = imported_by(*arguments)
    assert code == 0
    assert not modules & {"torch", "open_clip", "transformers"}


def test_the_help_names_every_verb_in_its_panel(capsys):
    assert cli.run(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f" {panel} " in said for panel in cli.VERBS)
    assert all(f" {verb} " in said for verb in ALL_VERBS)


@pytest.mark.parametrize("verb", ALL_VERBS)
def test_every_verb_has_a_module_and_its_own_help(verb, capsys):
    assert cli.run([verb, "--help"]) == 0
    assert f"captioners {verb}" in capsys.readouterr().out


def test_the_version_is_printed(capsys):
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"captioners {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["lisst"], "No such command 'lisst'. Did you mean 'list'"),
        (["--vers"], "No such option: --vers"),
        (["check"], "Missing argument"),
        (["check", "--nope", "x"], "No such option: --nope"),
    ],
)
def test_a_usage_mistake_is_one_line_and_exit_code_1(arguments, says, capsys):
    assert cli.run(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("captioners: ")
    assert says in captured.err
    assert "--help" in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UserError("no such thing"), 1, "captioners: no such thing\n"),
        (NeedsLookError("2 units failed"), 2, "captioners: 2 units failed\n"),
        (InterruptedRunError("lost the network"), 75, "captioners: lost the network\n"),
        (KeyboardInterrupt(), 75, "captioners: stopped; run the same command again\n"),
        (OSError(errno.ENOSPC, "No space left", "runs/x"), 1, "captioners: out of disk at runs/x; "),
    ],
)
def test_each_error_ends_with_its_exit_code_and_one_line(failing, error, code, says, capsys):
    failing(error)
    assert cli.run(["check"]) == code
    said = capsys.readouterr().err
    assert said.startswith(says)
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_an_internal_error_names_the_file_of_its_traceback(failing, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cli.tempfile, "tempdir", str(tmp_path))
    failing(ZeroDivisionError("one\nby zero"))
    assert cli.run(["check"]) == 3
    said = capsys.readouterr().err
    (file,) = tmp_path.iterdir()
    assert said.startswith("captioners: internal error, ZeroDivisionError: one by zero; the traceback is in")
    assert str(file) in said
    assert said.count("\n") == 1
    assert "ZeroDivisionError" in file.read_text()


def test_a_full_disk_is_told_also_when_a_library_wraps_it(failing, capsys):
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RuntimeError("file write failed") from error
    except RuntimeError as error:
        failing(error)
    assert cli.run(["check"]) == 1
    assert capsys.readouterr().err.startswith("captioners: out of disk; ")


def test_an_internal_error_survives_a_disk_that_takes_no_traceback(failing, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(cli.tempfile, "tempdir", str(tmp_path / "gone"))
    failing(ZeroDivisionError("by zero"))
    assert cli.run(["check"]) == 3
    assert "the traceback could not be written: No such file" in capsys.readouterr().err


def test_an_internal_error_shows_its_traceback_on_request(failing, capsys, monkeypatch):
    monkeypatch.setenv("CAPTIONERS_DEBUG", "1")
    failing(ZeroDivisionError("by zero"))
    assert cli.run(["check"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_python_m_captioners_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "captioners", "nope"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("captioners: No such command 'nope'")


def test_more_than_50_shards_are_a_pattern_that_the_shell_expanded():
    shards = [f"{n:05}.tar" for n in range(51)]
    check_shard_arguments(shards[:50])
    check_shard_arguments([f"{n}.jpg" for n in range(1000)])
    with pytest.raises(UserError, match=r"51 shards .* from 00000\.tar to 00050\.tar: .* quote the braces"):
        check_shard_arguments(shards)


def test_a_verb_ends_with_its_path_and_what_to_do_next(capsys):
    done("runs/x-123456", "captioners show runs/latest", "captioners export runs/latest")
    assert capsys.readouterr().out.split("\n") == [
        "",
        "written: runs/x-123456",
        "next:    captioners show runs/latest",
        "   or:   captioners export runs/latest",
        "",
    ]
