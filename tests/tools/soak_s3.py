"""make soak, in S3: kill generate in the middle of an upload, again and again, and compare with a run on disk."""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from captioners.cli.main import run as command
from captioners.core.run_dir import RunDir
from tests import s3 as servers
from tests.jobs.kills import ROOT
from tests.jobs.shards import content, sums, write_shards
from tests.jobs.test_generate_s3 import arguments


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=40)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, servers.serving() as (proxy, endpoint):
        folder = Path(name)
        os.environ.update(servers.environment(endpoint, folder) | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})
        s3 = servers.bucket("soak", proxy)
        write_shards(folder / "shards", shards=options.shards, samples=options.samples)
        s3.upload(folder / "shards", "in")
        assert command(arguments(folder / "shards", folder / "run")) == 0
        call = arguments(f"{s3.url}/in", f"{s3.url}/out")
        units = len(content(folder / "run"))
        killed = sum(kill(call, proxy, options, units, number) for number in range(options.kills))
        assert command(call) == 0
        assert content(f"{s3.url}/out") == content(folder / "run")
        assert sums(f"{s3.url}/out") == sums(folder / "run") and s3.keys("out/quarantine") == []
        assert RunDir(f"{s3.url}/out").captions().equals(RunDir(folder / "run").captions())
        code = command(["verify", f"{s3.url}/out"])
        print(f"killed {killed} times in an upload: {units} units equal in digest and bytes to disk's; verify: {code}")
    return code


def kill(call, proxy, options, units, number):
    """Start the command and kill it in a random upload: before, or after the server has the object; say whether."""
    generator = random.Random(options.seed + number)
    nth, after = generator.randint(1, max(2, 4 * units // options.kills)), generator.random() < 0.5
    seen = [0]

    def rule(asked):
        seen[0] += asked.method == "PUT"
        if seen[0] < nth or process.poll() is not None:
            return None
        process.send_signal(signal.SIGKILL)
        return None if after else servers.Refuse(500, "InternalError")

    process = subprocess.Popen([sys.executable, "-m", "captioners", *call], cwd=ROOT, stdout=subprocess.DEVNULL)
    proxy.rule = rule
    code = process.wait(1800)
    proxy.rule = lambda asked: None
    assert code in (0, -signal.SIGKILL)
    print(f"kill {number + 1}: in upload {nth}, {'after' if after else 'before'} the server had it", flush=True)
    return code != 0


if __name__ == "__main__":
    sys.exit(main())
