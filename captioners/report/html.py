"""Templates to self-contained pages: our own style and script inside, by hash the only ones that the page may use."""

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from typing import Any


def render_page(template: str, script: str = "", *, style: str = "", **values: Any) -> str:
    """Return a template as HTML text, with the common style, more of it, a script of ours; all values are escaped."""
    environment = _environment()
    names = ("style.css", style) if style else ("style.css",)
    styles = "".join(environment.get_template(name).render() for name in names)
    code = environment.get_template(script).render() if script else ""
    return str(
        environment.get_template(template).render(
            style=styles, script=code, style_hash=_hash(styles), script_hash=_hash(code), **values
        )
    )


@cache
def _environment() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("captioners.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}"
    environment.filters["typeset"] = _typeset
    environment.filters["breakable"] = _breakable
    environment.filters["logprob"] = lambda number: f"{number:.2f}".replace("-", "−")
    return environment


def _typeset(text: str) -> str:
    """Return text that was made for a terminal with real arrows and minus signs."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text.replace("->", "→"))


def _breakable(text: str) -> Any:
    """Return a name without spaces as HTML in which a line may be broken after its marks."""
    from markupsafe import Markup, escape

    # What `escape` writes has none of these letters in it.
    return Markup(re.sub(r"[_/]", r"\g<0><wbr>", str(escape(text))))  # noqa: S704 - escaped just here


def _hash(text: str) -> str:
    """Return a content policy's name of an inline style or script."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
