#!/bin/bash
# A run under Slurm: one Ray node on each Slurm node, the command on the first of them.
#
#   ray get-auth-token --generate        once; the token is in ~/.ray, which all nodes share
#   sbatch launch/specs/slurm.sh experiment=paper_math planner.model=/shared/models/planner ...
#
# Submit from the repository, on storage that all nodes share and with .venv made by `make setup DEVICE=gpu`.
# A job that is requeued goes on from its newest checkpoint (resume=auto).
#SBATCH --job-name=tracelift
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-task=4
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=slurm-%j.log
set -euo pipefail

export RAY_AUTH_MODE=token
export TRACELIFT_RUNS=${TRACELIFT_RUNS:-$PWD/runs}
export PATH=$PWD/.venv/bin:$PATH

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# A port of its own for each job, so that two jobs may share a node.
port=$((20000 + SLURM_JOB_ID % 20000))

# symmetric-run starts Ray on every node, waits for all of them, runs the command on the first and stops Ray again.
srun --kill-on-bad-exit=1 ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_NNODES" \
    --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "$SLURM_GPUS_PER_TASK" -- \
    python -m launch.train cluster=ray "$@"
