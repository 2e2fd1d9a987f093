"""Export any captioner that can be named, in a form that others read."""

import re
from pathlib import Path

from captioners.core.errors import UserError, near
from captioners.kinds.catalogue import find

FORMATS = ("open_clip", "huggingface")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def repository_of(form: str) -> str | None:
    """Return the Hugging Face repository that a form names, "" if it names none; None for a form that is not the Hub's.

    Raises:
        UserError: a captioner cannot be exported to it.

    >>> repository_of("open_clip"), repository_of("huggingface"), repository_of("huggingface:me/garden")
    (None, '', 'me/garden')
    """
    name, colon, repository = form.partition(":")
    if name not in FORMATS or (colon and name != "huggingface"):
        known = ", ".join(FORMATS)
        raise UserError(f"no export form is named {form!r}.{near(name, FORMATS)} A captioner exports to: {known}")
    if colon and not _REPOSITORY.fullmatch(repository):
        raise UserError(f"--to {form}: not a repository's name; write huggingface:ORG/NAME")
    return repository if name == "huggingface" else None


def export_captioner(captioner: str, form: str, out: str | Path) -> Path:
    """Export any captioner that can be named (see `kinds.catalogue`) in one of `FORMATS`; return where it lies.

    `open_clip` and `huggingface` are the same files; for the Hub, a repository may be named (`huggingface:ORG/NAME`),
    so that open_clip finds a tokenizer of its own there. Nothing is uploaded.

    Raises UserError or NotFoundError, before anything large is read where that is possible.
    """
    from captioners.kinds.directory import refuse_unless_free, write_captioner
    from captioners.kinds.loading import load

    repository = repository_of(form)
    refuse_unless_free(Path(out).expanduser().absolute())
    known = find(captioner)
    return write_captioner(known, load(known), out, repository=repository)
