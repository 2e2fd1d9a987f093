"""recipes/cluster: the job files, with stand-ins for srun, scontrol and ray that are as simple as they can be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from captioners.core.package_data import recipes_dir
from tests.jobs import kills
from tests.jobs.shards import write_shards

SBATCH, RAY_JOB = (recipes_dir() / "cluster" / name for name in ("slurm.sbatch", "ray_job.sh"))

SRUN = """#!/usr/bin/env bash
# Start every task with its number, pass a signal on, and end with the highest code.
shift  # --kill-on-bad-exit=0
pids=()
for number in 0 1; do
    SLURM_PROCID=$number SLURM_LOCALID=$number "$@" & pids+=($!)
done
trap 'kill -USR1 "${pids[@]}"' USR1
code=0
for pid in "${pids[@]}"; do
    while true; do
        one=0; wait "$pid" || one=$?
        kill -0 "$pid" 2>/dev/null || break
    done
    if [ "$one" -gt "$code" ]; then code=$one; fi
done
exit "$code"
"""


@pytest.fixture
def machine(tmp_path):
    """Programs on the PATH, and what they were called with."""
    programs = {
        "srun": SRUN,
        "scontrol": f'#!/usr/bin/env bash\necho "$@" >> {tmp_path}/scontrol.txt\n',
        "ray": f'#!/usr/bin/env bash\nprintf "%s\\n" "$@" > {tmp_path}/ray.txt\n',
        "captioners": f'#!/usr/bin/env bash\nexec {sys.executable} -m captioners "$@"\n',
    }
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def start(machine, script, *arguments, **environment):
    path = f"{machine / 'bin'}:{os.environ['PATH']}"
    given = os.environ | {"PATH": path, "SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "1", **environment}
    return subprocess.Popen(
        ["bash", script, *arguments],
        env=given,
        cwd=kills.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("script", [SBATCH, RAY_JOB])
def test_without_a_recipe_it_says_what_to_give(machine, script):
    process = start(machine, script)
    assert "which recipe?" in process.communicate(timeout=60)[0] and process.returncode == 1


def test_the_ray_job_runs_generate_on_actors(machine):
    process = start(machine, RAY_JOB, "mine.yaml", "seed=1", ACTORS="16", RAY_ADDRESS="http://head:8265")
    process.communicate(timeout=60)
    said = (machine / "ray.txt").read_text().splitlines()
    assert said[:8] == ["job", "submit", "--address", "http://head:8265", "--", "captioners", "generate", "mine.yaml"]
    assert said[8:] == ["seed=1", "executor={kind: ray, address: auto, most: 16, cpus: 4, gpus: 1}"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_tasks_of_a_slurm_job_share_a_run_and_a_stopped_job_is_queued_again(machine):
    write_shards(machine / "shards", shards=6, samples=6)
    member = "{captioner: random-tiny, name: m, draws: 1, decoding: {top_k: 5, max_tokens: 6}}"
    arguments = (
        "generate/shards", f"source={{kind: webdataset, inputs: ['{machine}/shards']}}", f"members=[{member}]",
        "decode_workers=0", "unit_samples=3", f"output={machine}/run",
    )  # fmt: skip
    environment = {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(kills.ROOT)}
    # A fault kills one task: its code is no 75, and the job ends with it.
    process = start(machine, SBATCH, *arguments, CAPTIONERS_FAULT="after_entry:3", **environment)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 137, said
    assert not (machine / "scontrol.txt").exists()
    process = start(machine, SBATCH, *arguments, **environment)
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    assert kills.stored(machine, "run") == 12
    assert "task 7.0 of Slurm" in said and "task 7.1 of Slurm" in said
    # Told to stop by a stand-in that says so, it is queued again.
    (machine / "bin" / "captioners").write_text("#!/usr/bin/env bash\nexit 75\n")
    process = start(machine, SBATCH, *arguments, **environment)
    process.communicate(timeout=60)
    assert process.returncode == 75 and Path(machine, "scontrol.txt").read_text() == "requeue 7\n"
