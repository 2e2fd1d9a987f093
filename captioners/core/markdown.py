"""Text of anyone's, such as captions and names, as Markdown that says just that text."""

import re
from collections.abc import Sequence
from typing import Any


def line(text: Any) -> str:
    r"""Return text as one line that is no markup.

    >>> line("a *big*\n<b>cat</b>")
    'a \\*big\\* \\<b\\>cat\\</b\\>'
    """
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", " ".join(str(text).split()))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table, each cell as `line` says it."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(line(cell).replace("|", "\\|") for cell in one) + " |\n" for one in lines)
