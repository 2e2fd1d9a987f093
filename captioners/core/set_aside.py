"""Shards set aside as failed: each killed its worker again and again, and the run goes on without it."""

import json
from dataclasses import asdict, dataclass

from captioners.core.errors import UserError
from captioners.core.leases import Leases
from captioners.core.ledger import slug
from captioners.core.run_dir import RunDir

MOST_DEATHS = 3
"""Workers that a shard may kill, one after the other and without a unit stored in between."""

FOLDER = "failed"


@dataclass(frozen=True, kw_only=True)
class Failed:
    """What of a shard is left undone: its units for some members."""

    name: str
    """Of the file that says so."""
    shard: str
    members: tuple[str, ...]
    deaths: int
    how: str
    """How the last worker died."""
    when: str
    """UTC, ISO 8601."""


def set_aside(run: RunDir, failed: Failed) -> None:
    """Record it in the run."""
    data = json.dumps(asdict(failed), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    run.place.write(f"{FOLDER}/{failed.name}.json", data.encode())


def failed_units(run: RunDir) -> list[Failed]:
    """Return what is set aside, sorted by shard; raise UserError if a record is damaged."""
    found = []
    for name in run.place.names(FOLDER):
        try:
            fields = json.loads(run.place.read(name))
            found.append(Failed(**{**fields, "members": tuple(fields["members"])}))
        except (ValueError, TypeError, KeyError):
            raise UserError(f"{run.place.at(name)}: damaged; remove it, and its shard is tried again") from None
    return sorted(found, key=lambda failed: failed.shard)


def clear_failed(run: RunDir) -> int:
    """Have everything that was set aside tried again by the next `generate`; return how many shards."""
    found = failed_units(run)
    leases = Leases(run.place)
    for failed in found:
        leases.clear(slug(failed.shard))
        run.place.remove(f"{FOLDER}/{failed.name}.json")
    return len(found)
