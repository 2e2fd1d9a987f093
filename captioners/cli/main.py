"""The `captioners` command: a table of verbs, each imported only when it runs, and errors turned into exit codes.

A verb is a module `cli/<verb>.py` with a typer function `command` (or a typer `app` when it has sub-verbs), and a row
in `VERBS`. `--help` needs the table alone, so it imports neither torch nor any model of options.
"""

import os
import sys
import tempfile
import traceback
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from captioners.core.errors import CaptionersError, OtherProcessError, disk_full

VERBS: dict[str, dict[str, str]] = {
    "Start": {
        "demo": "Watch it work: draw, fine-tune, caption, measure and look, in minutes.",
        "list": "List kinds, captioners, decodings, recipes and the rest.",
        "fetch": "Download a captioner's weights ahead, to run offline later.",
        "doctor": "Say what this machine has; paste it into a bug report.",
    },
    "Train": {
        "pretrain": "Train a captioner from random weights.",
        "finetune": "Train a captioner further, on captions of yours.",
    },
    "Caption": {
        "caption": "Caption a photo, several, a folder, or what a recipe says.",
        "generate": "Caption shards with an ensemble; the same command resumes.",
        "export": "Write a captioner or its captions in a form that others read.",
        "reinforce": "Augment captioned shards, and embed them with teachers; the same command resumes.",
    },
    "Data": {
        "data": "Draw a dataset, pack one into shards, join two sets.",
    },
    "Measure": {
        "measure": "Lay captioners side by side: diversity, truth, quality; or score captions.",
        "probe": "Train small CLIP students on captions, to say which were worth more.",
        "ablate": "Compare captions by what captioners, numbers and decodings give; the same command resumes.",
        "report": "Write a page to look at a run, an ablation, or two captioners.",
    },
    "Look after": {
        "plan": "Say what a recipe will cost before it runs.",
        "check": "Check a recipe or a path before anything runs.",
        "status": "Say how far a run is.",
        "show": "Show one sample of a run, and make its captions again.",
        "verify": "Check a run by its ledger, or shards for a trainer.",
        "retry": "Try again what a run could not read.",
    },
    "Developers": {
        "bench": "Measure the decoding engine on this machine.",
    },
}
"""Help panel -> verb -> its one line of help."""

EPILOG = (
    "Exit codes: 0 done; 1 a mistake in the call; 2 finished, needs a look; 3 internal error; 75 stopped, run it again."
)


class _LazyVerb(TyperCommand):
    """Stands for a verb in the help; becomes the real command when arguments are parsed."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return _load(str(self.name)).make_context(info_name, args, parent, **extra)


class _Verbs(TyperGroup):
    """The table as a command group."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {
            verb: _LazyVerb(verb, help=line, rich_help_panel=panel)
            for panel, verbs in VERBS.items()
            for verb, line in verbs.items()
        }

    def list_commands(self, _ctx: Any) -> list[str]:
        return list(self.commands)


def _load(verb: str) -> Any:
    module = import_module(f"captioners.cli.{verb}")
    app = getattr(module, "app", None)
    if app is None:
        app = typer.Typer(add_completion=False)
        app.command(verb)(module.command)
    return typer.main.get_command(app)


app = typer.Typer(cls=_Verbs, add_completion=False, epilog=EPILOG, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        from captioners import __version__

        typer.echo(f"captioners {__version__}")
        raise typer.Exit


@app.callback()
def _captioners(
    _wanted: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Small, fast captioners, and the captions that compact CLIP models are trained on."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line on `arguments` (default: the process's own) and return its exit code.

    0 done; 1 user's mistake; 2 finished, but something needs a look; 3 internal error; 75 stopped, resumable.
    """
    # Called bare, it helps. (Asked this way, because typer loads pydantic before it runs a callback of ours.)
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        answer = typer.main.get_command(app)(args=arguments, prog_name="captioners", standalone_mode=False)
    except OtherProcessError as error:
        return error.exit_code
    except CaptionersError as error:
        _say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return _stopped()
    except Exception as error:
        full = disk_full(error)
        return _out_of_disk(full) if full else _usage(error)
    # typer hands back the code of an `Exit`, and 130 for a keyboard interrupt that it saw first.
    code = answer if isinstance(answer, int) else 0
    return _stopped() if code == 130 else code


def _usage(error: Exception) -> int:
    # typer's own errors (an unknown option, a missing argument) know how to say themselves. Their classes moved between
    # releases, so they are told by what they can do.
    if type(error).__name__ == "Abort":
        return _stopped()
    if hasattr(error, "format_message"):
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "captioners"
        said = error.format_message().rstrip(".")
        _say(f"{said}{'' if said.endswith('?') else ';'} see '{where} --help'")
        return 1
    return _internal(error)


def _stopped() -> int:
    _say("stopped; run the same command again")
    return 75


def _out_of_disk(error: OSError) -> int:
    where = f" at {error.filename}" if error.filename else ""
    _say(f"out of disk{where}; what was finished is kept: free some space and run the same command again")
    return 1


def _internal(error: BaseException) -> int:
    if os.environ.get("CAPTIONERS_DEBUG") == "1":
        traceback.print_exception(error)
        return 3
    summary = " ".join(str(error).split())[:200]
    _say(
        f"internal error, {type(error).__name__}: {summary}; {_kept_traceback(error)} (CAPTIONERS_DEBUG=1 shows it); "
        "please report it with the output of 'captioners doctor'"
    )
    return 3


def _kept_traceback(error: BaseException) -> str:
    try:
        with tempfile.NamedTemporaryFile("w", prefix="captioners-error-", suffix=".txt", delete=False) as file:
            traceback.print_exception(error, file=file)
    except OSError as refused:
        return f"the traceback could not be written: {refused.strerror}"
    return f"the traceback is in {file.name}"


def _say(message: str) -> None:
    print(f"captioners: {message}", file=sys.stderr)
