"""What a streaming run could not read: counted, the first of it written down, and the run ended if it is too much."""

import json
import threading
from collections import Counter
from pathlib import Path

from captioners.core.errors import NeedsLookError

_LINES = 1000
_JUDGED_AFTER = 1000
"""Samples met before a share says anything."""


class Skipped:
    """Samples passed over since this process started; `file` gets a line of JSON for the first 1,000 different ones.

    Args:
        file: where lines go; those of an earlier start stay. Each rank has its own.
        most: share of the samples met that may be skipped, once 1,000 are met.
    """

    def __init__(self, file: str | Path | None = None, most: float = 0.05) -> None:
        self._file, self._most = Path(file) if file else None, most
        self._lock = threading.Lock()
        self._reasons: Counter[str] = Counter()
        self._met = 0
        self._first = ""
        self._written: set[tuple[str, str]] = set()
        if self._file and self._file.is_file():
            kept = map(json.loads, self._file.read_text(encoding="utf-8").splitlines())
            self._written = {(record["shard"], record["key"]) for record in kept}

    @property
    def count(self) -> int:
        """Samples skipped, an unreadable one each time that it was met."""
        return self._reasons.total()

    def met(self) -> None:
        """Count a sample that a source hands out, or could not."""
        with self._lock:
            self._met += 1

    def add(self, shard: str, key: str, reason: str, error: str) -> None:
        """Note one that cannot be shown.

        Raises:
            NeedsLookError: they are too many.
        """
        with self._lock:
            self._reasons[reason] += 1
            self._first = self._first or error
            if self._file and (shard, key) not in self._written and len(self._written) < _LINES:
                self._written.add((shard, key))
                record = {"shard": shard, "key": key, "reason": reason, "error": error}
                with self._file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._judge()

    def _judge(self) -> None:
        if self._met < _JUDGED_AFTER or self.count <= self._most * self._met:
            return
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in self._reasons.most_common(3))
        where = f" (see {self._file})" if self._file else ""
        raise NeedsLookError(
            f"{self.count:,} of {self._met:,} samples could not be read, more than the share of {self._most:g} that "
            f"stream.most_skipped allows: {reasons}{where}; the first: {self._first}. Mend the data, or raise the share"
        )
