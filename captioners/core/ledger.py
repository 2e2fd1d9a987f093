"""The ledger: one entry per finished unit; only an entry makes a layer's file exist for readers.

A unit is one part of one shard for one layer. Its entry is created exclusively, after its file is safely written: of
two workers that did the same unit, one entry stands, and the other's file is an orphan that nobody reads.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from hashlib import sha256
from heapq import merge
from typing import TYPE_CHECKING
from urllib.parse import quote

from captioners.core import faults
from captioners.core.entry import Entry, Unit, parsed, sound
from captioners.core.errors import CaptionersError, NotFoundError
from captioners.core.segments import Segments, table_of, whole
from captioners.core.storage import Place

if TYPE_CHECKING:
    import pyarrow as pa

SEGMENT_ENTRIES = 5000
"""Small files that are worth a segment."""

_LONGEST_NAME = 120
_LOOK_EVERY_S = 10.0
_READERS = 16
_TRIES = 20
_FILLED_S = 2.0
"""How long a name may be taken and not filled."""


def slug(path: str) -> str:
    """Return a file name for a shard's path: different for different paths, the same everywhere.

    >>> slug("00/0.tar"), slug(".cache/0.tar")
    ('00%2F0.tar', '%2Ecache%2F0.tar')
    """
    name = quote(path, safe="")
    if name.startswith("."):  # as unfinished writes do, which no reader sees
        name = f"%2E{name[1:]}"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 17]}-{sha256(path.encode()).hexdigest()[:16]}"


def _text(entry: Entry) -> str:
    return json.dumps(asdict(entry), sort_keys=True, ensure_ascii=False, indent=1) + "\n"


class Ledger:
    """The entries of one run: small files, and the segments that many of them are rolled into (`compact`).

    For readers an entry exists once at any moment, whoever is killed when. A small file is removed only after the
    segment that holds it stands, readers look at small files first and at segments then, and a segment goes before a
    small file. So a late worker that takes the name of an entry rolled away takes nothing, and `commit` tells it.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._segments = Segments(place)
        self._looked = -_LOOK_EVERY_S

    def commit(self, entry: Entry) -> bool:
        """Create the unit's entry; False if another worker was first, whose rows then stand."""
        data = _text(entry)
        name = self.name(entry.layer, entry.shard, entry.part)
        if not self._place.create(name, data.encode()) and not self._fill(name, data.encode()):
            return False
        if self._rolled(name) is None:
            return True
        self._place.remove(name)
        return False

    @staticmethod
    def name(layer: str, shard: str, part: int) -> str:
        """Return the name of a unit's entry."""
        return f"ledger/{slug(layer)}/{slug(shard)}.{part:05d}.json"

    def find(self, layer: str, shard: str, part: int) -> Entry | None:
        """Return a unit's entry, or None while it is not done."""
        name = self.name(layer, shard, part)
        found = self._rolled(name, _LOOK_EVERY_S)
        if found is not None:
            return parsed(found, self._place.at(name))
        try:
            return self.read(name)
        except NotFoundError:
            return None

    def entries(self, layers: Iterable[str] | None = None) -> Iterator[Entry]:
        """Yield all entries, or those of some layers, sorted by layer, shard name and part.

        Raises:
            UserError: an entry is damaged; it names the file, whose removal makes its unit be done again.
        """
        for name, text in self.texts(layers):
            entry = self.parsed(name, text)
            if entry is not None:
                yield entry

    def texts(self, layers: Iterable[str] | None = None) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the text of all entries, or of those of some layers, sorted by name; no text is judged."""
        for folder in ["ledger/"] if layers is None else [f"ledger/{slug(layer)}/" for layer in layers]:
            small = list(self._place.names(folder))  # before the segments: what is rolled away meanwhile is in them
            self._segments.refresh()
            rolled = ((name, text.encode()) for name, text in self._segments.texts(folder))
            last = ""
            for name, text in merge(rolled, ((name, None) for name in small), key=lambda pair: pair[0]):
                if name != last:  # of a segment and a small file, the segment comes first
                    last = name
                    data = self._small(name) if text is None else text
                    if data is not None:
                        yield name, data

    def read(self, name: str) -> Entry | None:
        """Return the entry of that small file; None if its name is taken and not yet filled. Raises as `entries`."""
        return parsed(self._place.read(name), self._place.at(name))

    def parsed(self, name: str, text: bytes) -> Entry | None:
        """Return the entry of a name and text of `texts`; raises as `entries` does."""
        return parsed(text, self._place.at(name))

    def table(self) -> "pa.Table":
        """Return all entries in columns (`core.segments.columns`): millions of them in seconds."""
        small = list(self._place.names("ledger"))
        self._segments.refresh()
        names = [name for name in small if not self._segments.find(name)]
        with ThreadPoolExecutor(_READERS) as pool:  # a store answers many at once
            loose = [(name, data) for name, data in zip(names, pool.map(self._small, names), strict=True) if data]
        entries = [(name, json.loads(data)) for name, data in loose if self.parsed(name, data) is not None]
        return whole([self._segments.table(), table_of(entries)])

    def compact(self, least: int = SEGMENT_ENTRIES) -> int:
        """Roll the small files into a segment if there are `least` of them; return how many were.

        Any number of processes may try at any time. One takes the segment's number; the others have done nothing.
        """
        self._segments.refresh()
        small = list(self._place.names("ledger"))
        names = [name for name in small if self._segments.find(name) is None]
        rolled: list[tuple[str, str]] = []
        with ThreadPoolExecutor(_READERS) as pool:
            if len(names) >= least:
                read = zip(names, pool.map(self._content, names), strict=True)
                rolled = [(name, data.decode()) for name, data in read if data and sound(data)]
                if rolled and not self._segments.add(rolled):
                    return 0
            faults.point("segment_written")
            # What a segment holds now; also what someone left who was killed below, or who came too late.
            self._segments.refresh()
            list(pool.map(self._roll_away, [name for name in small if self._segments.find(name) is not None]))
        return len(rolled)

    def forget(self, units: Iterable[Unit]) -> None:
        """Open units (layer, shard, part) again: their entries are gone, and their files belong to nobody."""
        names = [self.name(*unit) for unit in units]
        for _ in range(_TRIES):
            for name in names:
                self._place.remove(name)
            self._segments.refresh()
            # Said even of what no segment holds: someone who compacts may have read the small file just before.
            if not names or self._segments.add((), names):
                return
        raise CaptionersError(f"{self._place.url}: its ledger is being compacted by others; run the same command again")

    def replace(self, entries: Sequence[Entry]) -> None:
        """Put other entries in the place of their units', all at once; readers see the old ones or the new.

        They go into a segment, which is before any small file, and before what who compacts beside may still add.
        """
        texts = {self.name(*entry.unit): _text(entry) for entry in entries}
        for _ in range(_TRIES):
            self._segments.refresh()
            if not texts or self._segments.add([*texts.items()], [*texts]):
                for name in texts:
                    self._place.remove(name)
                self._segments.refresh()
                return
        raise CaptionersError(f"{self._place.url}: its ledger is being compacted by others; run the same command again")

    def _fill(self, name: str, data: bytes) -> bool:
        """Fill a name that was taken by someone who was killed before he filled it; False: it is filled.

        Only on file systems without hard links; see `Place.create`.
        """
        for pause in (_FILLED_S, 0.0):
            try:
                if self._place.read(name, 0, 1):
                    return False
            except NotFoundError:
                return False  # rolled away
            time.sleep(pause)
        self._place.write(name, data)
        return True

    def _rolled(self, name: str, look_every_s: float = 0.0) -> bytes | None:
        """Return an entry's text from the segments, which are looked for anew unless that was just done."""
        if time.monotonic() - self._looked >= look_every_s:
            self._segments.refresh()
            self._looked = time.monotonic()
        found = self._segments.find(name)
        return None if found is None else found.encode()

    def _small(self, name: str) -> bytes | None:
        """Return a small file's text, or, if it was rolled away since it was listed, that of the segment."""
        try:
            return self._place.read(name)
        except NotFoundError:
            return self._rolled(name)

    def _roll_away(self, name: str) -> None:
        self._place.remove(name)
        faults.point("entry_rolled")

    def _content(self, name: str) -> bytes:
        try:
            return self._place.read(name)
        except NotFoundError:
            return b""
