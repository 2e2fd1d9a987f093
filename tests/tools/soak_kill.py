"""make soak: kill generate over 200 shards again and again, and compare with a run that was left alone."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from captioners.cli.main import run as command

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.jobs import kills


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kills.LATEST_S = 4 * 3600
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        kills.prepare(folder, options.shards, options.samples)
        units = kills.stored(folder, "whole")
        print(f"undisturbed: {units} units in {time.monotonic() - began:.0f} s", flush=True)
        killed = kills.kill_at_random(
            folder, "killed", kills=options.kills, units=2 * units // options.kills - 1, seed=options.seed,
            workers=(1, 2), say=lambda line: print(line, flush=True),
        )  # fmt: skip
        kills.compare(folder, "killed", "whole")
        code = command(["verify", f"{folder}/killed"])
        print(f"killed {killed} times: {units} units equal in digest and bytes, sums balance; verify: {code}")
    return code


if __name__ == "__main__":
    sys.exit(main())
