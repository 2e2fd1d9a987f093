"""`captioners report ABLATION --to FORM`: a page, LaTeX, Markdown or CSV, of `ablation.json` alone; or a bundle."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from captioners.core.errors import NotFoundError, UserError, near
from captioners.core.storage import Place
from captioners.report.ablation import Ablation, read_ablation

Form = Literal["html", "latex", "markdown", "csv", "bundle"]
FORMS: tuple[Form, ...] = get_args(Form)
TABLE = "ablation.json"
"""What an ablation's folder holds, and is known by."""
_FILES: Mapping[Form, str] = {"html": "ablation.html"}
"""Form -> the file that it becomes in the ablation's folder; others become a folder of their own name."""

Files = dict[str, bytes]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was written."""

    path: str
    """The page, or the folder."""
    files: int
    size: int
    """Bytes of all."""


def ablation_of(given: str | Path) -> Path | None:
    """Return the folder of the ablation that a word means, its own or its name under `runs/`; None where it is none."""
    folders = (Path(given).expanduser(), Path("runs") / given)
    return next((folder for folder in folders if (folder / TABLE).is_file()), None)


def publish(given: str | Path, to: str = "html", out: str | Path | None = None, say: Say = lambda _: None) -> Published:
    """Write one form of an ablation; the same ablation gives the same bytes.

    Args:
        given: its folder, or its name under `runs/`. out: the page, or the folder; by default in the ablation's.
        say: told what is being drawn.

    Raises:
        NotFoundError: there is no such ablation, or no such form. UserError: it cannot be read, or `out` not written.
    """
    form = _form(to)
    folder = ablation_of(given)
    if folder is None:
        raise NotFoundError(f"{given}: no ablation is there (no {TABLE}); `captioners ablate RECIPE` makes one")
    found = read_ablation((folder / TABLE).read_bytes(), str(folder / TABLE))
    target = Path(out).expanduser() if out is not None else folder / _FILES.get(form, form)
    if form != "html" and target.is_file():
        raise UserError(f"{target}: {form} is a folder of several files, and this is a file; name another --out")
    if form == "html" and target.is_dir():
        target /= _FILES["html"]
    place = Place(target.parent if form == "html" else target)
    sizes = [_write(place, name, data) for name, data in _files(form, folder, found, target, say)]
    return Published(path=str(target), files=len(sizes), size=sum(sizes))


def _files(form: Form, folder: Path, found: Ablation, target: Path, say: Say) -> Iterable[tuple[str, bytes]]:
    if form == "html":
        return [(target.name, _page(found))]
    if form == "bundle":
        from captioners.jobs.publish.bundle import bundle, remove_old

        files = bundle(folder, found)
        remove_old(Place(target))
        return files
    return _MADE[form](found, say).items()


def _form(to: str) -> Form:
    for form in FORMS:
        if form == to:
            return form
    raise NotFoundError(f"--to {to}: an ablation is written as {', '.join(FORMS)}.{near(to, FORMS)}")


def _page(found: Ablation) -> bytes:
    from captioners.report.ablation_page import render_ablation

    return render_ablation(found).encode()


def _latex(found: Ablation, say: Say) -> Files:
    from captioners.report.ablation_latex import methods_paragraph, tables
    from captioners.report.ablation_methods import bibtex

    files = {"table.tex": tables(found), "methods.tex": methods_paragraph(found), "references.bib": bibtex(found)}
    return {name: text.encode() for name, text in files.items()} | figures(found, ("svg", "pdf"), say)


def _markdown(found: Ablation, say: Say) -> Files:
    from captioners.report.ablation_csv import figures as numbers
    from captioners.report.ablation_markdown import markdown

    drawings = [(figure.title, f"figures/{figure.name}.svg") for figure in numbers(found)]
    return {"ablation.md": markdown(found, drawings).encode()} | figures(found, ("svg",), say)


def _csv(found: Ablation, _say: Say) -> Files:
    from captioners.report.ablation_csv import tables

    return {name: text.encode() for name, text in tables(found).items()}


_MADE: Mapping[Form, Callable[[Ablation, Say], Files]] = {"latex": _latex, "markdown": _markdown, "csv": _csv}


def figures(found: Ablation, forms: tuple[str, ...], say: Say) -> Files:
    """Return every figure in these forms, each with its CSV."""
    from captioners.report.ablation_csv import figures as numbers
    from captioners.report.ablation_figures import drawn

    files: Files = {}
    for figure in numbers(found):
        say(f"  {figure.title}")
        made = drawn(figure, found)
        files |= {f"figures/{figure.name}.{form}": made[form] for form in forms}
        files[f"figures/{figure.name}.csv"] = figure.text.encode()
    return files


def _write(place: Place, name: str, data: bytes) -> int:
    try:
        place.write(name, data)
        return len(data)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"{place.at(name)}: cannot be written ({error.strerror}); choose another --out") from None
