"""Conditions as data: a small, safe language over named columns, as in `clipscore > 0.2 and not truncated`.

It is a piece of Python's grammar, read by `ast` and never executed: numbers, texts and names; `+ - * /`; comparisons,
`in` a list or in a text; `and`, `or`, `not`. What it says is worked out a whole table at a time. A value that is not
there (a caption without a log-probability) makes a comparison unknown, as in SQL, and an unknown condition is not met.
"""

import ast
import io
import tokenize
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

from captioners.core.errors import RecipeError, near

Kind = Literal["number", "text", "truth"]
"""What a name stands for: a number, a text, or something that holds or not, such as a flag."""

Columns = Mapping[str, Any]
"""Name -> pyarrow array, all of one length."""

_LONGEST, _DEEPEST, _MOST_SHOWN = 2000, 100, 80
_A = {"number": "a number", "text": "a text", "truth": "a condition"}
_COMPARISONS = {
    ast.Lt: "less", ast.LtE: "less_equal", ast.Gt: "greater", ast.GtE: "greater_equal",
    ast.Eq: "equal", ast.NotEq: "not_equal",
}  # fmt: skip
_ARITHMETIC = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
_WORDS = {"true": True, "false": False}
"""As YAML writes them."""


@dataclass(frozen=True)
class _Term:
    """A part of an expression: what it gives, and how it is worked out."""

    kind: Kind | None
    """None: not known, for a name whose columns are not known yet, or after a mistake."""
    of: Callable[[Columns], Any]
    constant: Any = None
    listed: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Expression:
    """What a text of this language means."""

    text: str
    names: tuple[str, ...]
    """The names in it, sorted."""
    _of: Callable[[Columns], Any] = field(repr=False)

    def __call__(self, columns: Columns, rows: int) -> Any:
        """Return its value in each of the rows: a pyarrow array of booleans or doubles, null where it is unknown."""
        import pyarrow as pa

        value = self._of(columns)
        return pa.repeat(value, rows) if isinstance(value, pa.Scalar) else value


def parse(
    text: str,
    names: Mapping[str, Kind] | None = None,
    wanted: Kind = "truth",
    *,
    unknown: Callable[[str], str] = lambda name: f"nothing is named '{name}'",
) -> Expression:
    """Return what a text means.

    Args:
        names: what may be named, and what it stands for; None: not known yet, so that only the rest is judged.
        wanted: a condition (truth), or a number.
        unknown: says what is wrong with a name that is none of `names`; near ones are added.

    Raises:
        RecipeError: every mistake in it at once, each with its character, from 1.

    >>> parse("clipscore > 0.2 and not truncated").names
    ('clipscore', 'truncated')
    >>> parse("drw == 0", {"draw": "number"})
    Traceback (most recent call last):
    captioners.core.errors.RecipeError: 'drw == 0', character 1: nothing is named 'drw'. Did you mean 'draw'?
    """
    # Lines are one line to us: a recipe may write a long condition over several.
    flat = text.replace("\n", " ").replace("\t", " ").rstrip()
    reader = _Reader(names, unknown, offset=len(flat) - len(flat.lstrip()))
    term = reader.read(flat.strip())
    if not reader.mistakes and term.kind not in (wanted, None):
        example = ", as in 'draw < 2'" if wanted == "truth" else ""
        reader.mistakes.append((reader.offset, f"{_A[str(term.kind)]}, where {_A[wanted]} is needed{example}"))
    if reader.mistakes:
        lines = [f"character {at + 1}: {says}" for at, says in sorted(set(reader.mistakes))]
        shown = repr(flat.strip() if len(flat) <= _MOST_SHOWN else f"{flat.strip()[:_MOST_SHOWN]}...")
        head = f"{shown}, " if len(lines) == 1 else f"{shown} has {len(lines)} mistakes:\n    "
        raise RecipeError(head + "\n    ".join(lines))
    return Expression(flat.strip(), tuple(sorted(reader.named)), term.of)


class _Reader:
    """Turns a tree of Python's grammar into terms, and notes everything that is not of our language."""

    def __init__(self, names: Mapping[str, Kind] | None, unknown: Callable[[str], str], offset: int) -> None:
        self.names, self.unknown, self.offset = names, unknown, offset
        self.mistakes: list[tuple[int, str]] = []
        self.named: set[str] = set()
        self._bytes, self._depth = b"", 0

    def read(self, text: str) -> _Term:
        if not text:
            return self._wrong(0, "nothing is said; write a condition, as in 'not truncated'")
        if len(text) > _LONGEST:
            return self._wrong(0, f"longer than {_LONGEST:,} characters; say it in fewer")
        self._bytes = text.encode()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Python's advice about its own code, as of `1 is 1`
                tree = ast.parse(text, mode="eval")
            comment = _comment(text)
            if comment is not None:
                return self._wrong(comment, "a comment; what follows it would not count")
            return self._term(tree.body)
        except SyntaxError as error:
            # `offset` counts characters from 1, and points behind the end where something is missing.
            return self._wrong(max((error.offset or 1) - 1, 0), f"not an expression ({error.msg})")
        except (ValueError, OverflowError, RecursionError, MemoryError):
            return self._wrong(0, "cannot be read: it is nested too deeply, or has too large a number")

    def _wrong(self, at: int, says: str) -> _Term:
        self.mistakes.append((at + self.offset, says))
        return _Term(None, lambda _: None)

    def _at(self, node: ast.AST) -> int:
        # ast counts bytes of UTF-8, people count characters.
        return len(self._bytes[: getattr(node, "col_offset", 0)].decode(errors="ignore"))

    def _refuse(self, node: ast.AST, says: str) -> _Term:
        return self._wrong(self._at(node), says)

    def _term(self, node: ast.expr) -> _Term:
        read = _NODES.get(type(node))
        self._depth += 1
        if self._depth > _DEEPEST:
            raise RecursionError
        if read is not None:
            found = read(self, node)
            self._depth -= 1
            return found
        known = "names, numbers, texts, + - * /, < <= > >= == !=, in, and, or, not"
        return self._refuse(node, f"{ast.unparse(node)[:30]!r} is not part of this language, which has {known}")

    def _constant(self, node: ast.Constant) -> _Term:
        import pyarrow as pa

        value = node.value
        if isinstance(value, bool):
            return _Term("truth", lambda _: pa.scalar(value), value)
        if isinstance(value, int | float):
            number = float(value)
            return _Term("number", lambda _: pa.scalar(number), number)
        if isinstance(value, str):
            return _Term("text", lambda _: pa.scalar(value), value)
        return self._refuse(node, f"{value!r} is neither a number nor a text")

    def _name(self, node: ast.Name) -> _Term:
        name = node.id
        if name in _WORDS:
            return self._constant(ast.copy_location(ast.Constant(_WORDS[name]), node))
        if self.names is not None and name not in self.names:
            hint = near(name, self.names)
            return self._refuse(node, f"{self.unknown(name)}{'.' if hint else ''}{hint}")
        self.named.add(name)
        return _Term(self.names[name] if self.names is not None else None, lambda columns: columns[name])

    def _list(self, node: ast.List | ast.Tuple) -> _Term:
        items = [self._term(item) for item in node.elts]
        for item, written in zip(items, node.elts, strict=True):
            if item.kind is not None and item.constant is None:
                self._refuse(written, "a list holds numbers or texts as they are, no names")
        kinds = {item.kind for item in items if item.kind}
        if len(kinds) > 1 or not items:
            self._refuse(node, "a list holds numbers or texts, not both, and at least one")
        return _Term(next(iter(kinds), None), lambda _: None, listed=tuple(item.constant for item in items))

    def _need(self, term: _Term, node: ast.expr, kind: Kind, why: str) -> None:
        if term.listed is not None:
            self._refuse(node, "a list stands only behind 'in'")
        elif term.kind not in (kind, None):
            self._refuse(node, f"{ast.unparse(node)!r} is {_A[str(term.kind)]}, and {why} {_A[kind]}")

    def _both(self, node: ast.BoolOp) -> _Term:
        terms = [self._term(value) for value in node.values]
        word = "and" if isinstance(node.op, ast.And) else "or"
        for term, written in zip(terms, node.values, strict=True):
            self._need(term, written, "truth", f"'{word}' needs")
        return _Term("truth", _folded(f"{word}_kleene", terms))

    def _signed(self, node: ast.UnaryOp) -> _Term:
        term = self._term(node.operand)
        if isinstance(node.op, ast.Not):
            self._need(term, node.operand, "truth", "'not' needs")
            return _Term("truth", _applied("invert", term))
        if isinstance(node.op, ast.Invert):
            return self._refuse(node, "'~' is not part of this language; write 'not'")
        self._need(term, node.operand, "number", "a sign needs")
        if isinstance(node.op, ast.UAdd):
            return term
        negative = -term.constant if isinstance(term.constant, float) else None
        return _Term("number", _applied("negate", term), negative)

    def _sum(self, node: ast.BinOp) -> _Term:
        left, right = self._term(node.left), self._term(node.right)
        operation = _ARITHMETIC.get(type(node.op))
        if operation is None:
            return self._refuse(node, f"{ast.unparse(node)!r}: of arithmetic there is + - * / (and 'and', 'or', 'not')")
        for term, written in ((left, node.left), (right, node.right)):
            self._need(term, written, "number", "arithmetic needs")
        return _Term("number", _applied(operation, left, right))

    def _compare(self, node: ast.Compare) -> _Term:
        written = [node.left, *node.comparators]
        terms = [self._term(part) for part in written]
        found = []
        for place, operator in enumerate(node.ops):
            left, right = terms[place], terms[place + 1]
            if isinstance(operator, ast.In | ast.NotIn):
                found.append(self._within(operator, (left, right), (written[place], written[place + 1])))
                continue
            operation = _COMPARISONS.get(type(operator))
            if operation is None:
                return self._refuse(node, "'is' is not part of this language; write ==")
            if left.listed is not None or right.listed is not None:
                self._refuse(node, "a list stands only behind 'in'")
            if left.kind and right.kind and left.kind != right.kind:
                said = f"{_A[left.kind]} cannot be compared with {_A[right.kind]}"
                self._refuse(written[place], f"{ast.unparse(written[place])!r}: {said}")
            found.append(_Term("truth", _applied(operation, left, right)))
        return _Term("truth", _folded("and_kleene", found))

    def _within(self, operator: ast.cmpop, terms: tuple[_Term, _Term], written: tuple[ast.expr, ast.expr]) -> _Term:
        left, right = terms
        if right.listed is not None:
            if left.kind and right.kind and left.kind != right.kind:
                self._refuse(written[0], f"{ast.unparse(written[0])!r} is {_A[left.kind]}, and the list holds no such")
            found = _Term("truth", _among(left, right.listed))
        elif isinstance(left.constant, str):
            self._need(right, written[1], "text", "a text is looked for in")
            found = _Term("truth", _applied("match_substring", right, pattern=left.constant))
        else:
            self._refuse(written[1], "behind 'in' stands a list, or a text that a text in quotes is looked for in")
            return left
        return _Term("truth", _applied("invert", found) if isinstance(operator, ast.NotIn) else found.of)


_NODES: Mapping[Any, Callable[[_Reader, Any], _Term]] = {
    ast.Constant: _Reader._constant,
    ast.Name: _Reader._name,
    ast.List: _Reader._list,
    ast.Tuple: _Reader._list,
    ast.BoolOp: _Reader._both,
    ast.UnaryOp: _Reader._signed,
    ast.BinOp: _Reader._sum,
    ast.Compare: _Reader._compare,
}
"""All that is understood; whatever else Python can say is refused."""


def _applied(operation: str, *terms: _Term, **options: Any) -> Callable[[Columns], Any]:
    def of(columns: Columns) -> Any:
        import pyarrow.compute as pc

        return getattr(pc, operation)(*(term.of(columns) for term in terms), **options)

    return of


def _folded(operation: str, terms: Sequence[_Term]) -> Callable[[Columns], Any]:
    def of(columns: Columns) -> Any:
        import pyarrow.compute as pc

        return reduce(getattr(pc, operation), (term.of(columns) for term in terms))

    return of


def _among(term: _Term, listed: Sequence[Any]) -> Callable[[Columns], Any]:
    def of(columns: Columns) -> Any:
        import pyarrow.compute as pc

        value = term.of(columns)  # not `is_in`, which takes "not there" for "not among them"
        return reduce(pc.or_kleene, (pc.equal(value, one) for one in listed))

    return of


def _comment(text: str) -> int | None:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return next((token.start[1] for token in tokens if token.type == tokenize.COMMENT), None)
