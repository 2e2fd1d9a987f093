"""A device for tests: make the process kill itself at a named point, as a power cut would.

`CAPTIONERS_FAULT=before_entry:3` kills it with SIGKILL when that point is passed for the third time. A commit passes
before_data, after_data, before_entry and after_entry.
"""

import os
import signal
from collections import Counter

_passed: Counter[str] = Counter()


def point(name: str) -> None:
    """Pass a fault point; without CAPTIONERS_FAULT nothing happens."""
    wanted, _, times = os.environ.get("CAPTIONERS_FAULT", "").partition(":")
    if wanted == name:
        _passed[name] += 1
        if _passed[name] >= int(times or 1):
            os.kill(os.getpid(), signal.SIGKILL)
