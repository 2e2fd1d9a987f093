"""Write the generated parts of the README (verbs, make targets, module map), or show what is stale with --diff.

A part stands between `<!-- NAME -->` and `<!-- /NAME -->`.
"""

import ast
import difflib
import re
import sys
from pathlib import Path

from captioners.cli.main import VERBS

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"


def verbs():
    rows = ["| | verb | |", "|---|---|---|"]
    for panel, table in VERBS.items():
        for number, (verb, line) in enumerate(table.items()):
            rows.append(f"| {'' if number else panel} | `captioners {verb}` | {line} |")
    return rows


def targets():
    found = re.findall(r"^([a-z-]+):.*?## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return ["| target | |", "|---|---|", *(f"| `make {name}` | {line} |" for name, line in found)]


def module_map():
    rows = ["```"]
    for path in sorted((ROOT / "captioners").rglob("__init__.py")):
        room = path.parent.relative_to(ROOT / "captioners").as_posix()
        if room != ".":
            said = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
            rows.append(f"{room + '/':<16} {said}")
    return [*rows, "```"]


def generated(text):
    for name, make in (("verbs", verbs), ("targets", targets), ("map", module_map)):
        part = "\n".join([f"<!-- {name} -->", *make(), f"<!-- /{name} -->"])
        text, count = re.subn(rf"<!-- {name} -->.*?<!-- /{name} -->", lambda _, part=part: part, text, flags=re.DOTALL)
        if count != 1:
            sys.exit(f"README.md holds the part '{name}' {count} times, not once")
    return text


def main():
    old = README.read_text(encoding="utf-8")
    new = generated(old)
    if "--diff" not in sys.argv:
        README.write_text(new, encoding="utf-8")
        return 0
    sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "README.md", "generated"))
    return int(old != new)


if __name__ == "__main__":
    sys.exit(main())
