"""make soak: kill reinforce over 50,000 samples with tiny teachers, and compare with a run that was left alone."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.jobs import kills
from tests.jobs import reinforce_kills as runs


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        runs.prepare(folder, options.shards, options.samples)
        print(f"undisturbed: {kills.stored(folder, 'whole')} shards in {time.monotonic() - began:.0f} s", flush=True)
        most = 2 * options.shards // options.kills - 1
        killed = runs.kill_at_random(
            folder, "killed", kills=options.kills, most=most, seed=options.seed,
            say=lambda line: print(line, flush=True),
        )  # fmt: skip
        runs.compare(folder, "killed")
        print(f"killed {killed} times: every file of {options.shards * options.samples:,} samples is the same")
    return 0


if __name__ == "__main__":
    sys.exit(main())
