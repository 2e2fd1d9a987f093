"""Shards that a run writes: each whole under an attempt's name, then its entry exclusively, then under its own name.

    attempts/SHARD.ATTEMPT.tar      what a worker wrote; without an entry, nobody's
    shards/PATH                     the shard, once its entry stands

So of two that write one shard the entry's stands, and a kill between entry and name is made good by the next start.
"""

import json
import shutil
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path
from typing import Any

from captioners.core import faults
from captioners.core.entry import Entry
from captioners.core.ledger import slug
from captioners.core.run_dir import RunDir
from captioners.core.stopping import shielded

SHARDS, ATTEMPTS = "shards", "attempts"
REINFORCED = "reinforced"
"""The layer of a run that writes shards."""


def commit_shard(
    run: RunDir, entry: Entry, draft: Path | None, quarantined: Sequence[Mapping[str, Any]] = ()
) -> Entry | None:
    """Store a finished shard, written as `draft`, and the records of what is not in it.

    Returns the entry as stored, or None if another worker had stored this shard: its file stands, ours is removed.
    """
    name = f"{slug(entry.shard)}.{uuid.uuid4().hex[:8]}"
    digest = ""
    if draft is not None:
        with draft.open("rb") as opened:
            digest = file_digest(opened, "sha256").hexdigest()
    lines = [json.dumps(record, sort_keys=True, ensure_ascii=False) + "\n" for record in quarantined]
    whole = replace(
        entry,
        file=f"{SHARDS}/{entry.shard}" if draft is not None else "",
        attempt=f"{ATTEMPTS}/{name}.tar" if draft is not None else "",
        digest=digest,
        file_sha256=digest,
        quarantine_file=f"quarantine/{name}.jsonl" if lines else "",
    )
    stored = False
    with shielded():
        try:
            faults.point("before_data")
            if draft is not None:
                run.place.take(whole.attempt, draft)
            if lines:
                run.place.write(whole.quarantine_file, "".join(lines).encode())
            faults.point("after_data")
            faults.point("before_entry")
            stored = run.ledger.commit(whole)
            faults.point("after_entry")
        finally:
            if not stored and not _stands(run, whole):
                for file in (whole.attempt, whole.quarantine_file):
                    if file:
                        run.place.remove(file)
        if stored:
            publish(run, [whole])
    return whole if stored else None


def publish(run: RunDir, entries: Iterable[Entry]) -> None:
    """Give shards whose entries stand their names; those that have them stay."""
    waiting = set(run.place.names(ATTEMPTS))
    for entry in entries:
        if entry.attempt in waiting:
            run.place.move(entry.attempt, entry.file)
            faults.point("published")


def clear_attempts(run: RunDir) -> None:
    """Remove what killed workers left; only once every shard of the run is published."""
    if run.place.local is not None:
        shutil.rmtree(run.place.at(ATTEMPTS), ignore_errors=True)
        return
    for name in list(run.place.names(ATTEMPTS)):
        run.place.remove(name)


def _stands(run: RunDir, entry: Entry) -> bool:
    """Whether the ledger names this attempt: an entry may stand although creating it seemed to fail."""
    found = run.ledger.find(*entry.unit)
    return found is not None and found.attempt == entry.attempt
