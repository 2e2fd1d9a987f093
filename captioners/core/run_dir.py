"""The directory of a run that makes layers: its frozen inputs, its layers, its ledger, and how to read them together.

recipe.yaml                      the resolved recipe of the last start
run.json                         what was fixed at the first start
inputs/00000.jsonl               the frozen shards; later additions are further files
layers/MEMBER/layer.json         what the layer is
layers/MEMBER/SHARD.PART.ATTEMPT.parquet    its rows, for readers only through the ledger
quarantine/MEMBER/SHARD.PART.ATTEMPT.jsonl  what could not be read, and why
scores/MEMBER/SCORE/SHARD.PART.parquet      scores of single captions (core/scores.py)
measures/                        what was measured of each image (jobs/measure/gauge.py)
ledger/MEMBER/SHARD.PART.json    one entry per finished unit
segments/000000.parquet          many such entries, rolled together
leases/ failed/ canary/ logs/    who is at what, what is set aside, what workers said
shards/ attempts/                what a run of `reinforce` writes (core/shard_files.py)
"""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from captioners.core import faults, layers, records
from captioners.core.entry import Entry
from captioners.core.errors import NotFoundError, UserError, near
from captioners.core.ledger import Ledger, slug
from captioners.core.stopping import shielded
from captioners.core.storage import Place

if TYPE_CHECKING:
    import pyarrow

_SHARDS_HINT = "captioners status RUN tells of it, captioners verify RUN/shards --target mobileclip-dr looks into them"


class RunDir:
    """One run on disk or in an object store."""

    def __init__(self, url: str | Path) -> None:
        self.place = Place(url)
        self.ledger = Ledger(self.place)

    @property
    def url(self) -> str:
        """Where it is."""
        return self.place.url

    def begin(self, settled: Mapping[str, Any]) -> dict[str, Any]:
        """Fix `settled` (unit_samples, source, seed ...) at the first start; return what was fixed then.

        Raises:
            UserError: the run's own file is damaged.
        """
        data = json.dumps({"schema_version": records.SCHEMA_VERSION, **settled}, indent=1, sort_keys=True) + "\n"
        self.place.create("run.json", data.encode())
        return self.settled()

    def settled(self) -> dict[str, Any]:
        """Return what was fixed at the first start."""
        try:
            found = json.loads(self.place.read("run.json"))
        except ValueError:
            raise UserError(
                f"{self.place.at('run.json')}: damaged, so the run cannot be continued; restore it"
            ) from None
        return dict(found)

    def write_recipe(self, text: str) -> None:
        """Keep the resolved recipe of this start."""
        self.place.write("recipe.yaml", text.encode())

    def recipe_text(self) -> str:
        """Return the resolved recipe of the last start."""
        return self.place.read("recipe.yaml").decode()

    @property
    def job(self) -> str:
        """Which verb goes on with it."""
        lines = self.recipe_text().splitlines() if self.place.exists("recipe.yaml") else []
        return next((line.partition(":")[2].strip() for line in lines if line.startswith("job:")), "generate")

    def freeze(self, shards: Sequence[Mapping[str, Any]], after: int | None = None) -> bool:
        """Add shards to the frozen inputs, only what `inputs` does not hold yet; return whether they are in.

        Args:
            after: how many times shards had been frozen (`freezings`) when these were chosen; default: until now. If
                another process froze some since, these are not in, and have to be chosen anew.
        """
        if not shards:
            return True
        number = self.freezings() if after is None else after
        text = "".join(json.dumps(shard, sort_keys=True, ensure_ascii=False) + "\n" for shard in shards)
        return self.place.create(f"inputs/{number:05d}.jsonl", text.encode())

    def freezings(self) -> int:
        """Return how many times shards were frozen."""
        return sum(1 for _ in self.place.names("inputs"))

    def inputs(self) -> list[dict[str, Any]]:
        """Return the frozen shards, as they were frozen."""
        files = [self.place.read(name).decode() for name in self.place.names("inputs")]
        return [json.loads(line) for text in files for line in text.splitlines()]

    def layers(self) -> list[layers.Layer]:
        """Return the run's layers, sorted by name."""
        return layers.read_layers(self.place)

    def entries(self, members: Iterable[str] | None = None) -> Iterator[Entry]:
        """Yield the ledger's entries that belong to layers of this run."""
        known = {layer.name: layer.fingerprint for layer in self.layers()}
        for entry in self.ledger.entries(members):
            if known.get(entry.layer) == entry.fingerprint:
                yield entry

    def table(self) -> "pyarrow.Table":
        """Return the entries that belong to layers of this run in columns; see `core.sums`."""
        import numpy as np
        import pyarrow as pa

        from captioners.core.sums import codes

        table = self.ledger.table()
        layer, names = codes(table, "layer")
        fingerprint, fingerprints = codes(table, "fingerprint")
        meant = {layer.name: layer.fingerprint for layer in self.layers()}
        right = [[meant.get(name) == found for found in fingerprints] for name in names]
        chosen = np.array(right, dtype=bool)[layer, fingerprint]
        return table if chosen.all() else table.filter(pa.array(chosen))

    def example(self, unit: tuple[str, str, int], reason: str) -> str:
        """Return what was wrong with a sample that a unit could not read for that reason, or nothing if it is gone."""
        entry = self.ledger.find(*unit)
        if entry is None or not entry.quarantine_file or not self.place.exists(entry.quarantine_file):
            return ""
        records = map(json.loads, self.place.read(entry.quarantine_file).decode().splitlines())
        return next((str(record["error"]) for record in records if record["reason"] == reason), "")

    def commit(
        self,
        entry: Entry,
        rows: Sequence[records.Row],
        facts: Mapping[str, str],
        quarantined: Sequence[Mapping[str, Any]] = (),
        form: records.Format = "parquet",
        enter: Callable[[Entry], bool] | None = None,
    ) -> Entry | None:
        """Store a finished unit: its rows and quarantine records under names of their own, then its entry, exclusively.

        `enter` stores the entry otherwise (in the end by `Ledger.replace`).

        Returns the entry as stored, or None if another worker had stored this unit: its rows stand, ours are removed. A
        kill in between leaves files that no entry names; a failure (a full disk) takes them away again.
        """
        name = f"{slug(entry.layer)}/{slug(entry.shard)}.{entry.part:05d}.{uuid.uuid4().hex[:8]}"
        data = records.to_bytes(rows, facts, form) if rows else b""
        lines = [json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n" for record in quarantined]
        whole = replace(
            entry,
            file=f"layers/{name}.{form}" if rows else "",
            digest=records.content_digest(rows),
            file_sha256=sha256(data).hexdigest() if rows else "",
            quarantine_file=f"quarantine/{name}.jsonl" if lines else "",
        )
        files = {whole.file: data, whole.quarantine_file: "".join(lines).encode()}
        stored = False
        with shielded():
            try:
                faults.point("before_data")
                for file, content in files.items():
                    if file:
                        self.place.write(file, content)
                faults.point("after_data")
                faults.point("before_entry")
                stored = (enter or self.ledger.commit)(whole)
                faults.point("after_entry")
            finally:
                if not stored and not self._names(whole):
                    for file in files:
                        if file:
                            self.place.remove(file)
        return whole if stored else None

    def _names(self, entry: Entry) -> bool:
        """Whether the ledger names this entry's files: an entry may stand although creating it seemed to fail."""
        found = self.ledger.find(entry.layer, entry.shard, entry.part)
        return found is not None and (found.file, found.quarantine_file) == (entry.file, entry.quarantine_file)

    def rows(self, entry: Entry) -> "pyarrow.Table":
        """Return the rows of one unit; raise UserError if their file is gone or damaged, or no rows are in it."""
        if not entry.file:
            return records.arrow_schema().empty_table()
        if entry.attempt:
            raise UserError(f"{self.url}: a run of reinforce, whose shards hold no captions of its own: {_SHARDS_HINT}")
        try:
            data = self.place.read(entry.file)
        except NotFoundError:
            name = Ledger.name(entry.layer, entry.shard, entry.part)
            way = f"remove {self.place.at(name)} to make it again" if self.place.exists(name) else "bring it back"
            raise UserError(f"{self.place.at(entry.file)}: the ledger names this file and it is gone; {way}") from None
        return records.from_bytes(data, self.place.at(entry.file))

    def captions(self, members: Iterable[str] | None = None, shards: Iterable[str] | None = None) -> "pyarrow.Table":
        """Return the rows of all finished units in one table, sorted by member, shard and part."""
        import pyarrow as pa

        wanted = None if shards is None else set(shards)
        found = [e for e in self.entries(members) if wanted is None or e.shard in wanted]
        tables = [self.rows(entry).replace_schema_metadata(None) for entry in found]
        return pa.concat_tables(tables) if tables else records.arrow_schema().empty_table()

    def quarantine(self) -> list[dict[str, Any]]:
        """Return each sample (or shard) that could not be read, once, with its reason and error."""
        found: dict[tuple[str, int, str, str], dict[str, Any]] = {}
        for entry in self.entries():
            if entry.quarantine_file:
                for line in self.place.read(entry.quarantine_file).decode().splitlines():
                    record = json.loads(line)
                    found.setdefault((record["shard"], record["index"], record["key"], record["reason"]), record)
        return [found[key] for key in sorted(found)]

    def orphans(self, entries: Iterable[Entry] | None = None) -> list[str]:
        """Return files of rows and quarantine records that none of the entries (default: the whole ledger) names.

        A lost race or a kill leaves them; nobody reads them.
        """
        entries = self.ledger.entries() if entries is None else entries
        known = {name for entry in entries for name in (entry.file, entry.quarantine_file)}
        found = [name for folder in ("layers", "quarantine") for name in self.place.names(folder)]
        return [name for name in found if name not in known and not name.endswith("/layer.json")]


def is_complete(parts: Sequence[Entry]) -> bool:
    """Whether these entries of one shard and layer are all of it: numbered without a gap, to the shard's end."""
    numbers = sorted(entry.part for entry in parts)
    return numbers == list(range(len(parts))) and any(entry.last and entry.part == numbers[-1] for entry in parts)


def open_run(given: str | Path) -> RunDir:
    """Return the run that a RUN argument means: its directory, or `latest` under `runs/`.

    Raises:
        NotFoundError: no run is there; near names are given.
    """
    text = str(given)
    if text == "latest" and not Path(text).exists():
        text = "runs/latest"
    elif "://" not in text and not Path(text).expanduser().exists() and Path("runs", text).exists():
        text = str(Path("runs", text))
    run = RunDir(text)
    if run.place.exists("run.json"):
        return run
    folder = Path(text).expanduser()
    runs = [str(path.parent) for path in sorted(Path("runs").glob("*/run.json"))]
    if folder.is_dir() and (folder / "captions.jsonl").exists():
        raise NotFoundError(f"{text}: what `captioners caption` wrote; its captions are in {folder / 'captions.jsonl'}")
    what = "a folder, but no run of `generate`" if folder.is_dir() else "no run is there"
    hint = near(text, [*runs, *(Path(r).name for r in runs)]) or (f" Runs here: {', '.join(runs[:5])}" if runs else "")
    raise NotFoundError(f"{text}: {what}.{hint}")
