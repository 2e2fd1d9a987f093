"""Run the notebooks and write them with their outputs, or compare: `tests/tools/notebooks.py [--diff] [NAME]...`.

Each is run as a reader's "Restart and run all" would, in an empty folder. What it says may hold no times and no paths,
so that running it again changes nothing. Outputs that hang on a trained model's arithmetic are of cells with the tag
`varies`; of these only the kinds are compared.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "notebooks"
MOST_SECONDS = 300
VARIES = "varies"
_QUIET = {
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONWARNINGS": "ignore:IProgress not found",  # of tqdm, where there are no widgets
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
_BYTES = re.compile(r"data:image/\w+;base64,[A-Za-z0-9+/=]+")


def names():
    """Return the notebooks' names, in order."""
    return sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def read(name):
    """Return a notebook as it is committed."""
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def executed(book, folder):
    """Return a notebook with the outputs of a run in `folder`; raise nbclient's error where a cell fails."""
    done = nbformat.from_dict(book)
    before = dict(os.environ)
    os.environ.update(_QUIET, PYTHONPATH=str(ROOT))
    try:
        place = {"metadata": {"path": str(folder)}}
        quiet = ["--log-level=ERROR"]
        NotebookClient(
            done, timeout=MOST_SECONDS, kernel_name="python3", resources=place, extra_arguments=quiet
        ).execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    for cell in done.cells:
        cell.metadata.pop("execution", None)  # when it ran
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    done.metadata = {name: done.metadata[name] for name in ("kernelspec",)}
    return done


def _joined(outputs):
    """Return outputs with what was printed in pieces as one: where it is cut is chance."""
    found = []
    for output in outputs:
        last = found[-1] if found else None
        if output.output_type == "stream" and last and last.get("name") == output.name:
            last.text += output.text
        else:
            found.append(output)
    return found


def differences(committed, again):
    """Return a line for each output that is not what is committed; of cells that vary, the kinds count alone."""
    found = []
    for number, (one, other) in enumerate(zip(committed.cells, again.cells, strict=True)):
        if one.cell_type != "code":
            continue
        exactly = VARIES not in one.metadata.get("tags", ())
        was, now = (_told(cell.outputs, exactly) for cell in (one, other))
        if was != now:
            found.append(f"cell {number}: {now} where the notebook has {was}")
    return found


def _told(outputs, exactly):
    told = []
    for output in outputs:
        kinds = {"text": output.text} if output.output_type == "stream" else dict(output.get("data", {}))
        for kind, value in sorted(kinds.items()):
            shown = _BYTES.sub("(a picture)", value) if exactly and kind.startswith("text") else ""
            told.append((output.output_type, kind, shown))
    return told


def written(book):
    """Return a notebook's text: the same for the same cells and outputs."""
    return nbformat.writes(book) + "\n"


def main(arguments):
    """Write the notebooks anew, or say what would change."""
    compare = "--diff" in arguments
    wrong = []
    for name in [one for one in arguments if one != "--diff"] or names():
        with tempfile.TemporaryDirectory() as folder:
            done = executed(read(name), folder)
        if compare:
            wrong += [f"{name}: {line}" for line in differences(read(name), done)]
        else:
            (FOLDER / f"{name}.ipynb").write_text(written(done), encoding="utf-8")
    print("\n".join(wrong) or "done")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
