#!/usr/bin/env bash
# Caption shards with actors of a Ray cluster: submits the driver as a Ray job, which outlives this shell.
#
# Run it    RAY_ADDRESS=http://HEAD:8265 ACTORS=16 GPUS=1 bash ray_job.sh RECIPE [KEY=VALUE ...]
# Needs     captioners[ray] on every node, ray[default] here, and paths (or s3:// URLs) that every node sees
# It ends   with the job's own code; stopped or failed, the same command goes on with the run

set -euo pipefail
if [ "$#" -lt 1 ]; then
    echo "which recipe? bash ray_job.sh RECIPE [KEY=VALUE ...]" >&2
    exit 1
fi
executor="{kind: ray, address: auto, most: ${ACTORS:-8}, cpus: ${CPUS:-4}, gpus: ${GPUS:-1}}"
exec ray job submit --address "${RAY_ADDRESS:-http://127.0.0.1:8265}" -- captioners generate "$@" "executor=$executor"
