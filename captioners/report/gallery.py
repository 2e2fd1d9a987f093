"""Pictures with their captions as a piece of HTML, small enough to stand in a notebook: no script, no style sheet.

Captions come from models and shards, so all text is escaped.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from urllib.parse import quote

from PIL import Image

from captioners.report.html import render_page
from captioners.report.page import Caption, Picture

_QUALITY = 74


def picture(key: str, image: Image.Image, captions: Mapping[str, Sequence[str]], side: int) -> Picture:
    """Return an image of at most `side` px a side as a JPEG with captions, each by who says it."""
    small = image.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = BytesIO()
    small.save(file, "JPEG", quality=_QUALITY, optimize=True)
    said = {who: [Caption(draw=draw, text=text) for draw, text in enumerate(texts)] for who, texts in captions.items()}
    return Picture(key=key, captions=said, thumbnail=file.getvalue(), width=small.width, height=small.height)


def gallery_html(pictures: Sequence[Picture]) -> str:
    """Return pictures beside each other, their captions below."""
    return render_page("gallery.html.j2", pictures=pictures)


def gallery_text(pictures: Sequence[Picture]) -> str:
    """Return the same in lines, where no picture can be shown."""
    lines = []
    for one in pictures:
        lines.append(one.key)
        for who, captions in one.captions.items():
            lines += [f"  {who}: {caption.text}{' (refused)' if caption.refused else ''}" for caption in captions]
    return "\n".join(lines)


def link_html(path: str) -> str:
    """Return a link to a page beside the notebook, or the bare name of one in an object store."""
    return render_page("link.html.j2", path=path, href="" if "://" in path else quote(path))


def table_html(title: str, text: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a heading, a sentence and a table; either may be empty."""
    return render_page("small_table.html.j2", title=title, text=text, columns=columns, rows=rows)
