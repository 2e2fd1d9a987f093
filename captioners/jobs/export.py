"""Export any captioner that can be named, in a form that others read."""

from pathlib import Path

from captioners.core.errors import UserError, near
from captioners.kinds.catalogue import find
from captioners.kinds.directory import refuse_unless_free, write_captioner
from captioners.kinds.loading import load

FORMATS = ("open_clip",)


def check_format(name: str) -> None:
    """Raise UserError unless `name` is a form that a captioner can be exported to."""
    if name not in FORMATS:
        known = ", ".join(FORMATS)
        raise UserError(f"no export form is named {name!r}.{near(name, FORMATS)} A captioner exports to: {known}")


def export_captioner(captioner: str, form: str, out: str | Path) -> Path:
    """Export any captioner that can be named (see `kinds.catalogue`) in one of `FORMATS`; return where it lies.

    Raises UserError or NotFoundError, before anything large is read where that is possible.
    """
    check_format(form)
    refuse_unless_free(Path(out).expanduser().absolute())
    known = find(captioner)
    return write_captioner(known, load(known), out)
