"""Which captions of each image are taken, said as data: conditions, how many, and by which rule.

    select: {n: 5, by: round_robin, where: "clipscore > 0.6 and not truncated", exclude: keys.txt}

Only captions that the run's rules kept are ever taken. Whatever the rule, the same run gives the same choice.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from pydantic import Field, field_validator, model_validator

from captioners.core.errors import NotFoundError, UserError
from captioners.core.options import Options
from captioners.core.where import Expression, Kind, parse
from captioners.data.farthest import farthest
from captioners.text.flags import Flag

if TYPE_CHECKING:
    import pyarrow

COLUMNS: Mapping[str, Kind] = {
    "shard": "text", "key": "text", "index": "number", "image_sha256": "text", "size": "number",
    "member": "text", "draw": "number", "attempt": "number", "text": "text", "num_tokens": "number",
    "logprob": "number", "finish": "text",
}  # fmt: skip
"""What a condition may name of a row, besides flags and scores."""

FLAGS: tuple[str, ...] = get_args(Flag)


class Select(Options):
    """Which captions are taken."""

    n: int | None = Field(None, ge=1)
    """Captions of each image, exactly; an image that cannot have so many is listed and left out. Absent: all."""
    by: Literal["round_robin", "score", "diverse"] = "round_robin"
    """Which ones. round_robin: one of each member after the other, beginning with number (sample modulo members), the
    earlier draws first. score: the largest values of `score`, ties in the order of round_robin. diverse: the first of
    round_robin, then again and again the caption whose nearest one among those taken is farthest; the distance is
    1 - shared / all different words and pairs of words."""
    score: str = ""
    """What `by: score` orders by: a score, a column such as logprob, or arithmetic on them."""
    where: str = ""
    """A condition on columns, flags and scores that every caption has to meet: 'clipscore > 0.6 and not truncated'."""
    exclude: str | None = None
    """A file of samples to leave out, a KEY or SHARD:KEY a line."""

    @field_validator("where")
    @classmethod
    def _condition(cls, text: str) -> str:
        return _readable(text, "truth")

    @field_validator("score")
    @classmethod
    def _number(cls, text: str) -> str:
        return _readable(text, "number")

    @model_validator(mode="after")
    def _fits_together(self) -> "Select":
        if (self.by == "score") != bool(self.score):
            raise ValueError("by: score and score: NAME go together, as in {n: 1, by: score, score: clipscore}")
        if self.by != "round_robin" and self.n is None:
            raise ValueError(f"by: {self.by} chooses among captions; say how many (n: 5)")
        return self


def _readable(text: str, wanted: Kind) -> str:
    """Judge what can be judged before a run is known: everything but names."""
    try:
        if text:
            parse(text, None, wanted)
    except UserError as error:
        raise ValueError(str(error)) from None
    return text


@dataclass
class Chosen:
    """What was taken of one unit, and what became of the rest."""

    rows: "pyarrow.Table"
    """The captions taken, sorted by sample, member and draw."""
    samples: Counter[str] = field(default_factory=Counter)
    """taken, excluded, too_few: of the samples that have rows."""
    captions: Counter[str] = field(default_factory=Counter)
    """taken, refused (by the run's rules), excluded, unmet (the condition), too_few (of samples left out for that),
    spare (more than n)."""
    left: list[dict[str, Any]] = field(default_factory=list)
    """shard, key, index, reason and error of each sample left out."""


class Selection:
    """A `Select` made ready for the members and scores of a run."""

    def __init__(
        self,
        select: Select,
        members: Sequence[str],
        scores: Collection[str] = (),
        *,
        flags: Collection[str] = (),
        lists: Sequence[tuple[Collection[str], int]] = (),
        unknown: Callable[[str], str] = lambda name: f"no column, flag or score is named '{name}'",
    ) -> None:
        """Read conditions and the file of samples to leave out.

        Args:
            members: in their order. scores: those that every member has. flags: known besides the usual ones.
            lists: members and how many captions of them; a sample is taken if it has so many for each list.
            unknown: says what is wrong with another name.

        Raises:
            UserError: every mistake in the conditions; the file cannot be read.
        """
        names: dict[str, Kind] = {
            **COLUMNS,
            **dict.fromkeys((*FLAGS, *flags), "truth"),
            **dict.fromkeys(scores, "number"),
        }
        self._select, self._members, self._kinds = select, {name: at for at, name in enumerate(members)}, names
        problems: list[str] = []
        self._where = _parsed("select.where", select.where, names, "truth", unknown, problems)
        self._score = _parsed("select.score", select.score, names, "number", unknown, problems)
        if problems:
            raise UserError("\n  ".join(problems))
        self._lists = [(np.array([self._members[name] for name in names]), n) for names, n in lists]
        self._exclude = _listed(select.exclude) if select.exclude is not None else frozenset[str]()

    @property
    def names(self) -> set[str]:
        """Columns, flags and scores that it asks about."""
        return {name for one in (self._where, self._score) if one is not None for name in one.names}

    def choose(self, table: "pyarrow.Table") -> Chosen:
        """Choose among a unit's rows of all members, `keep` among its columns; a sample's rows may lie anywhere."""
        import pyarrow as pa

        columns = {name: np.asarray(table[name].to_numpy()) for name in ("index", "draw", "keep")}
        member = np.array([self._members[name] for name in table["member"].to_pylist()], dtype=np.int64)
        order = np.lexsort((columns["draw"], member, columns["index"]))
        met = self._met(table)
        value = self._value(table)
        found = Chosen(rows=table)
        taken: list[int] = []
        keys, shards = table["key"].to_pylist(), table["shard"].to_pylist()
        texts = table["text"].to_pylist() if self._select.by == "diverse" else []
        _, starts = np.unique(columns["index"][order], return_index=True)
        for rows in np.split(order, starts[1:]) if len(order) else ():
            kept = rows[columns["keep"][rows]]
            good = kept[met[kept]]
            first = int(rows[0])
            found.captions["refused"] += len(rows) - len(kept)
            if not self._exclude.isdisjoint((keys[first], f"{shards[first]}:{keys[first]}")):
                found.captions["excluded"] += len(kept)
                found.left.append(_left(shards, keys, first, columns, "excluded", f"it is in {self._select.exclude}"))
                continue
            found.captions["unmet"] += len(kept) - len(good)
            parts = self._parts(good, member)
            if any(len(part) < max(wanted, 1) for part, wanted in parts):
                found.captions["too_few"] += len(good)
                said = self._too_few(rows, kept, good, member)
                found.left.append(_left(shards, keys, first, columns, "too_few_captions", said))
                continue
            index = int(columns["index"][first])
            best = [row for part, wanted in parts for row in self._best(part, wanted, member, index, value, texts)]
            found.captions["spare"] += len(good) - len(best)
            taken += sorted(best, key=lambda row: (member[row], columns["draw"][row]))
            found.samples["taken"] += 1
        found.captions["taken"] = len(taken)
        reasons = Counter(one["reason"] for one in found.left)
        found.samples.update(excluded=reasons["excluded"], too_few=reasons["too_few_captions"])
        found.rows = table.take(pa.array(taken, pa.int64())).drop_columns(["keep"])
        return found

    def _parts(self, good: Any, member: Any) -> list[tuple[Any, int]]:
        """Return the rows of each list, and how many of them are wanted."""
        if not self._lists:
            return [(good, len(good) if self._select.n is None else self._select.n)]
        return [(self._of(names, good, member), n) for names, n in self._lists]

    def _best(self, good: Any, wanted: int, member: Any, index: int, value: Any, texts: Sequence[str]) -> list[int]:
        """Return so many of the rows `good` (by member and draw), the best first."""
        seen: Counter[int] = Counter()
        turn = {}
        for row in good.tolist():
            one = int(member[row])
            turn[row] = seen[one], (one - index) % len(self._members)
            seen[one] += 1
        rows = sorted(turn, key=lambda row: turn[row])
        if self._select.by == "score":
            rows = sorted(rows, key=lambda row: -value[row])
        elif self._select.by == "diverse" and wanted < len(rows):
            rows = farthest([texts[row] for row in rows], wanted, rows)
        return rows[:wanted]

    def _met(self, table: "pyarrow.Table") -> Any:
        import pyarrow.compute as pc

        if self._where is None:
            return np.ones(table.num_rows, dtype=bool)
        met = self._where(_Columns(table, self._kinds), table.num_rows)
        return np.asarray(pc.fill_null(met, False).to_numpy(zero_copy_only=False), dtype=bool)

    def _value(self, table: "pyarrow.Table") -> Any:
        if self._score is None:
            return None
        value = self._score(_Columns(table, self._kinds), table.num_rows).to_numpy(zero_copy_only=False)
        return np.nan_to_num(np.asarray(value, dtype=np.float64), nan=-np.inf)

    def _too_few(self, rows: Any, kept: Any, good: Any, member: Any) -> str:
        """Say how many captions a sample lacks; with lists, of the first one that is too short."""
        names, wanted = next(
            (one for one in self._lists if len(self._of(one[0], good, member)) < one[1]), (None, self._select.n)
        )
        if names is not None:
            rows, kept, good = (self._of(names, one, member) for one in (rows, kept, good))
        by = "" if names is None else f" by {', '.join(n for n, at in self._members.items() if at in names)}"
        lost = [f"{len(rows) - len(kept)} refused by the run's rules"] if len(rows) > len(kept) else []
        lost += [f"{len(kept) - len(good)} that do not meet the condition"] if len(kept) > len(good) else []
        captions = f"{len(good)} caption{'' if len(good) == 1 else 's'}{f' of {wanted} wanted' if wanted else ''}{by}"
        return f"{captions}; it has {len(rows)}{''.join(f', {one}' for one in lost)}"

    @staticmethod
    def _of(names: Any, rows: Any, member: Any) -> Any:
        return rows[np.isin(member[rows], names)]


class _Columns(dict[str, Any]):
    """A table's columns as conditions want them: numbers as doubles, a flag as whether it is there."""

    def __init__(self, table: "pyarrow.Table", kinds: Mapping[str, Kind]) -> None:
        self._table, self._kinds = table, kinds

    def __missing__(self, name: str) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._kinds[name] == "truth":
            flags = self._table["flags"].combine_chunks()
            there = np.zeros(len(flags), dtype=bool)
            rows = pc.list_parent_indices(flags).to_numpy()
            there[rows[pc.equal(pc.list_flatten(flags), name).to_numpy(zero_copy_only=False)]] = True
            found = pa.array(there)
        else:
            found = self._table[name].combine_chunks()
            found = found.cast(pa.float64()) if self._kinds[name] == "number" else found
        self[name] = found
        return found


def _parsed(
    key: str, text: str, names: Mapping[str, Kind], wanted: Kind, unknown: Callable[[str], str], problems: list[str]
) -> Expression | None:
    if not text:
        return None
    try:
        return parse(text, names, wanted, unknown=unknown)
    except UserError as error:
        problems.append(f"{key}: {error}")
        return None


def _listed(file: str) -> frozenset[str]:
    path = Path(file).expanduser()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise NotFoundError(f"select.exclude: {file}: no such file; it holds a KEY or SHARD:KEY a line") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"select.exclude: {file}: cannot be read ({error}); it holds a KEY or SHARD:KEY a line"
        ) from None
    return frozenset(line.strip() for line in lines if line.strip())


def _left(
    shards: Sequence[str], keys: Sequence[str], row: int, columns: Mapping[str, Any], reason: str, error: str
) -> dict[str, Any]:
    index = int(columns["index"][row])
    return {"shard": shards[row], "key": keys[row], "index": index, "reason": reason, "error": error}
