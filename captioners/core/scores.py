"""Score layers: a number for every caption of a layer, beside the layers of a run, which `select` and readers join.

scores/MEMBER/SCORE/score.json            what the score is, and of which layer
scores/MEMBER/SCORE/SHARD.PART.parquet    shard, key, index, draw, value: row for row what the unit has

A unit's file is there whole or not at all, and says which rows it scores, so that nothing stale is ever joined. It
depends on the captions and the score alone: two processes that make it write the same. One that was made while pictures
were away says so, too: it can be joined, and is made again when its score is measured again.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from captioners.core.entry import Entry
from captioners.core.errors import UserError
from captioners.core.layers import Layer
from captioners.core.ledger import slug
from captioners.core.parquet_bytes import read_parquet
from captioners.core.storage import Place

if TYPE_CHECKING:
    import pyarrow

_ABOUT = "score.json"
_ROWS, _LAYER = b"captioners.rows_digest", b"captioners.layer_fingerprint"
_AWAY = b"captioners.pictures_away"


def command_for(run: str, score: str) -> str:
    """Return the command that computes a score."""
    return f"captioners measure {run} --per-caption {score}"


@dataclass(frozen=True, kw_only=True)
class ScoreAbout:
    """What a score layer is; two of one name that differ in this are not mixed."""

    name: str
    metric: str
    """The registered metric that made it."""
    version: int
    """The metric's, raised when the same captions get another number."""
    layer_fingerprint: str
    scorer: str = ""
    """What the model that scored is called; empty where none is needed."""
    scorer_digest: str = ""
    """Of its weights."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Unit, range, source: good to know."""


class ScoreLayer:
    """The scores of one member's captions under one name."""

    def __init__(self, place: Place, member: str, name: str) -> None:
        self._place, self.member, self.name = place, member, name
        self.folder = f"scores/{slug(member)}/{slug(name)}"

    def claim(self, about: ScoreAbout) -> None:
        """Enter it into the run, or find it there already.

        Raises:
            UserError: scores of this name were made otherwise; says how, and the ways out.
        """
        data = (json.dumps(asdict(about), indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
        if self._place.create(f"{self.folder}/{_ABOUT}", data):
            return
        found = self.about()
        if found is not None and _identity(found) == _identity(about):
            return
        before = _identity(found) if found else {}
        differs = [
            f"{key} {before.get(key)!s:.16}" for key, value in _identity(about).items() if before.get(key) != value
        ]
        how = ", ".join(differs) if before else "its file is damaged"
        raise UserError(
            f"score '{self.name}' of member '{self.member}' was made otherwise ({how}); give this one a name of its "
            f"own (name=...), or remove {self._place.at(self.folder)} and measure again"
        )

    def about(self) -> ScoreAbout | None:
        """Return what it is, or None where there is none or its file is damaged."""
        name = f"{self.folder}/{_ABOUT}"
        if not self._place.exists(name):
            return None
        try:
            return ScoreAbout(**json.loads(self._place.read(name)))
        except (ValueError, TypeError):
            return None

    def units(self) -> set[str]:
        """Return the names of the units' files that are there."""
        return {name for name in self._place.names(self.folder) if name.endswith(".parquet")}

    def unit_name(self, entry: Entry) -> str:
        """Return the name of a unit's file."""
        return f"{self.folder}/{slug(entry.shard)}.{entry.part:05d}.parquet"

    def has(self, entry: Entry) -> bool:
        """Whether the unit's captions, as they are now, are scored; not where pictures of them were away."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        name = self.unit_name(entry)
        if not self._place.exists(name):
            return False
        try:
            found = pq.read_schema(BytesIO(self._place.read(name))).metadata or {}
        except (pa.ArrowException, OSError):
            return False
        return bool(found.get(_ROWS) == entry.digest.encode()) and _AWAY not in found

    def write(self, entry: Entry, rows: "pyarrow.Table", values: Sequence[float | None], away: int = 0) -> None:
        """Store the values of a unit's rows; None where the metric is undefined for a caption.

        Args:
            away: rows whose pictures were not there.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {name: rows[name] for name in ("shard", "key", "index", "draw")}
        table = pa.table({**columns, "value": pa.array(values, pa.float64())})
        about = {_ROWS: entry.digest, _LAYER: entry.fingerprint, b"captioners.score": self.name}
        about |= {_AWAY: str(away)} if away else {}
        file = BytesIO()
        pq.write_table(table.replace_schema_metadata(about), file, compression="zstd")
        self._place.write(self.unit_name(entry), file.getvalue())

    def read(self, entry: Entry) -> "pyarrow.Array":
        """Return the values of a unit's rows, in their order, doubles.

        Raises:
            UserError: they are not computed, or of other captions; names the command.
        """
        import pyarrow as pa

        name = self.unit_name(entry)
        where = f"score '{self.name}' of shard {entry.shard}, part {entry.part}, member '{self.member}'"
        todo = command_for(self._place.url, self.name)
        if not self._place.exists(name):
            raise UserError(f"{where}: not computed; run: {todo}")
        try:
            table = read_parquet(self._place.read(name))
            values = table["value"].combine_chunks()
        except (pa.ArrowException, OSError, KeyError):
            raise UserError(f"{where}: {self._place.at(name)} is damaged; remove it and run: {todo}") from None
        if (table.schema.metadata or {}).get(_ROWS) != entry.digest.encode():
            raise UserError(f"{where}: these were captions that are not there any more; run: {todo}")
        return values


def score_layers(place: Place, layer: Layer) -> Iterator[ScoreLayer]:
    """Yield the score layers of a layer's captions as they are now."""
    folder = f"scores/{slug(layer.name)}"
    for name in place.names(folder):
        if name.endswith(f"/{_ABOUT}"):
            try:
                about = json.loads(place.read(name))
                found, fingerprint = ScoreLayer(place, layer.name, str(about["name"])), about["layer_fingerprint"]
            except (ValueError, KeyError, TypeError):
                continue
            if fingerprint == layer.fingerprint:
                yield found


def _identity(about: ScoreAbout) -> dict[str, Any]:
    return {key: value for key, value in asdict(about).items() if key not in ("scorer", "facts")}
