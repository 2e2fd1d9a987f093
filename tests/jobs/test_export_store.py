"""captioners/jobs/export/store_draft.py: an export into S3 has the bytes of one to disk, however often stopped."""

from contextlib import suppress
from pathlib import Path

import pytest

from captioners.core.errors import InterruptedRunError, UserError
from captioners.core.recipe import options_from
from captioners.core.storage import Place
from captioners.jobs.export import files
from captioners.jobs.export.job import export_run
from captioners.jobs.recipes.export import ExportRecipe
from tests.jobs.test_export_run import export, tree
from tests.runs_fixture import make_run

FORMS = [("parquet", "rows=image"), ("jsonl", "select.n=4"), ("huggingface", "rows=image")]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_MB", 1)
    monkeypatch.setattr(files, "_GROUP_ROWS", 5)
    return make_run(tmp_path, drawn=20)


def up(s3, folder):
    """What lies there, as an outsider sees it."""
    names = [one["Key"] for one in s3.client.list_objects_v2(Bucket=s3.bucket).get("Contents", ())]
    return {name.removeprefix(f"{folder}/"): s3.get(name) for name in names if name.startswith(f"{folder}/")}


class StoppedError(BaseException):
    """Stands for a kill: nothing in the way catches it."""


@pytest.mark.parametrize(("to", "change"), FORMS)
def test_an_export_stopped_again_and_again_is_the_one_on_disk(run, s3, tmp_path, monkeypatch, to, change):
    export(run, tmp_path / "disk", change, to=to)
    left, starts = {"writes": 0}, 0

    def dying(write):
        def one(self, name, given):
            left["writes"] -= 1
            if left["writes"] < 0:
                raise StoppedError
            assert isinstance(given, Path) or name.startswith("_draft/"), "no finished file is read into memory"
            write(self, name, given)

        return one

    for name in ("write", "take"):
        monkeypatch.setattr(Place, name, dying(getattr(Place, name)))
    exported = None
    while exported is None:
        left["writes"] = 4  # a file, what is left out, how far it is: then it stops at the next one
        with suppress(StoppedError):
            exported = export(run, f"{s3.url}/out", change, to=to)
        starts += 1
        assert exported or "manifest.json" not in up(s3, "out")
        assert starts < 20
    assert starts > 1 and exported.folder == f"{s3.url}/out"
    assert up(s3, "out") == tree(tmp_path / "disk")


def test_an_output_that_is_not_free_is_refused(run, s3):
    with pytest.raises(InterruptedRunError, match="stopped behind 1 file"):
        export_run(options_from(ExportRecipe, {"run": run.url, "to": "parquet", "output": f"{s3.url}/out"}), stop)
    with pytest.raises(UserError, match="an unfinished export of something else is there"):
        export(run, f"{s3.url}/out", "select.n=1")
    export(run, f"{s3.url}/out")
    before = up(s3, "out")
    with pytest.raises(UserError, match="an export is there; name a new output"):
        export(run, f"{s3.url}/out")
    assert up(s3, "out") == before and not [name for name in before if name.startswith("_draft")]


def stop(_):
    raise KeyboardInterrupt
