"""Advisory leases: small files in a run by which processes, started by anything, keep off each other's work.

Nothing rests on them: two that hold one lease (a stolen one whose holder wakes up) do the same work, and the ledger
takes it once. A lease says who holds it and is renewed; unchanged for `TTL_S` by the clock of whoever looks, or held by
a process of this machine that is gone, it is stolen. It counts how many holders died over it without getting on.
"""

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from captioners.core.errors import NotFoundError
from captioners.core.storage import Place

TTL_S = 60.0
"""How long a lease may stay unrenewed."""

FOLDER = "leases"


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One piece of work, and who has it."""

    name: str
    holder: str = ""
    """Empty: nobody; the file is kept for its deaths."""
    machine: str = ""
    process: str = ""
    """Number and birth of the holder's process."""
    mark: int = 0
    """How far the work was when it was taken."""
    deaths: int = 0
    """Holders that died, one after the other, at this mark."""
    renewed: int = 0
    """How often."""


@dataclass
class Leases:
    """The leases that this process holds in one run; a context manager that renews them, and gives them back."""

    place: Place
    ttl_s: float = TTL_S
    holder: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    _held: dict[str, Lease] = field(default_factory=dict, init=False)
    _seen: dict[str, tuple[Lease, float]] = field(default_factory=dict, init=False)
    """Others' leases as they were found, and when (monotonic)."""
    _lock: "threading.RLock" = field(default_factory=threading.RLock, init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def __enter__(self) -> "Leases":
        self._thread = threading.Thread(target=self._renew_on, daemon=True, name="leases")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        for name in list(self._held):
            self.release(name)

    def take(self, name: str, mark: int = 0) -> Lease | None:
        """Take a lease, or return None while another process holds it.

        Args:
            name: of the work; a file name. mark: how far it is: a holder that died further back counts for nothing.
        """
        mine = Lease(name=name, holder=self.holder, machine=machine(), process=process(os.getpid()), mark=mark)
        found = self._read(name)
        if found is None:
            if not self._place_of(mine, create=True):
                return None
            return self._hold(mine)
        if found.holder and found.holder != self.holder and not self._stale(found):
            return None
        died = bool(found.holder) and found.holder != self.holder
        deaths = found.deaths + died if found.mark == mark else int(died)
        return self._hold(replace(mine, deaths=deaths), write=True)

    def lost(self, name: str, mark: int) -> Lease:
        """Count a death over a lease of ours, and let it go: the one that did its work for us died."""
        with self._lock:
            held = self._held.pop(name, None)
        deaths = held.deaths if held is not None and held.mark == mark else 0
        free = Lease(name=name, mark=mark, deaths=deaths + 1)
        if held is not None:  # else it was stolen, and is another's now
            self._place_of(free)
        return free

    def release(self, name: str, done: bool = False) -> None:
        """Give a lease back; for work that is not `done`, what it knows of deaths stays."""
        with self._lock:
            held = self._held.pop(name, None)
        if held is None:
            return
        if held.deaths and not done:
            self._place_of(Lease(name=name, mark=held.mark, deaths=held.deaths))
        else:
            self.place.remove(_file(name))

    def clear(self, name: str) -> None:
        """Remove a lease, whoever holds it, and with it what it knows of deaths."""
        self.place.remove(_file(name))

    def all(self) -> Iterator[Lease]:
        """Yield all leases of the run."""
        for file in self.place.names(FOLDER):
            found = self._read(file.rpartition("/")[2].removesuffix(".json"))
            if found is not None:
                yield found

    def renew(self) -> None:
        """Say that the leases are still held; one that was stolen is ours no more."""
        with self._lock:
            held = list(self._held.values())
        for lease in held:
            found = self._read(lease.name)
            with self._lock:
                if lease.name not in self._held:
                    continue
                if found is None or found.holder != self.holder:
                    del self._held[lease.name]
                    continue
                self._hold(replace(found, renewed=found.renewed + 1), write=True)

    def _renew_on(self) -> None:
        while not self._over.wait(self.ttl_s / 4):
            with suppress(Exception):  # they are advice: storage that fails now is met by the work itself
                self.renew()

    def _hold(self, lease: Lease, write: bool = False) -> Lease:
        with self._lock:
            if write:
                self._place_of(lease)
            self._held[lease.name] = lease
        return lease

    def _stale(self, lease: Lease) -> bool:
        if lease.machine == machine() and process(int(lease.process.partition(".")[0] or 0)) != lease.process:
            return True
        before, since = self._seen.get(lease.name, (None, 0.0))
        if before == lease:
            return time.monotonic() - since > self.ttl_s
        self._seen[lease.name] = lease, time.monotonic()
        return False

    def _read(self, name: str) -> Lease | None:
        try:
            return Lease(**json.loads(self.place.read(_file(name))))
        except NotFoundError:
            return None
        except (ValueError, TypeError):
            # Half written, where files cannot be made whole at once: someone's who has a moment to end it.
            return Lease(name=name, holder="?")

    def _place_of(self, lease: Lease, create: bool = False) -> bool:
        data = json.dumps(asdict(lease)).encode()
        if create:
            return self.place.create(_file(lease.name), data)
        self.place.write(_file(lease.name), data)
        return True


def _file(name: str) -> str:
    return f"{FOLDER}/{name}.json"


def machine() -> str:
    """Name this machine as processes see each other: host, boot, and where there are containers, which one."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8])
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def process(number: int) -> str:
    """Return number and birth of a process of this machine; another text once it is gone."""
    try:
        # After the program's name, which is in brackets: the 20th field is when it started.
        said = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return f"{number}.{said[19]}" if said[0] != "Z" else f"{number}.gone"
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return f"{number}.gone"
    try:
        os.kill(number, 0)
    except OSError:
        return f"{number}.gone"
    return f"{number}."
