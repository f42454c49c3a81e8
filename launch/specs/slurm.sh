#!/bin/bash
# A run under Slurm: one Ray node on each Slurm node, the command on the first of them.
#
#   ray get-auth-token --generate        once; the token is in ~/.ray, which all nodes share
#   sbatch launch/specs/slurm.sh experiment=gpu_1x8 planner.model=/shared/models/planner ...              one machine
#   sbatch --nodes=2 launch/specs/slurm.sh experiment=gpu_2x8 planner.model=/shared/models/planner ...    two
#
# Submit from the repository, on storage that all nodes share and with .venv made by `make setup DEVICE=gpu`.
# Two minutes before the time limit the planner is saved and the job goes back into the queue; so does a run that
# failed, at most three times. Each start goes on from the newest checkpoint (resume=auto). A checkpoint at any time:
# scancel --batch --signal=USR1 JOBID; a notice of preemption may send that, too. Of the processes on its nodes a job
# ends its own alone. Tried with stand-ins for Slurm's commands and a real Ray, not on a Slurm cluster.
#SBATCH --job-name=tracelift
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --gpus-per-task=8
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=slurm-%j.log
set -euo pipefail

most_restarts=3
nodes_deadline_s=600

export RAY_AUTH_MODE=token
export TRACELIFT_RUNS=${TRACELIFT_RUNS:-$PWD/runs}
export PATH=$PWD/.venv/bin:$PATH

hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts%%$'\n'*}
# Twenty ports of its own for each job, below those that Linux gives out by itself, so that two jobs may share a node.
port=$((20000 + SLURM_JOB_ID % 600 * 20))
export RAY_ADDRESS=$head:$port

# Ray on every node; --cpus-per-task is said again because srun does not take it over from sbatch (Slurm 22.05 on).
# shellcheck disable=SC2016 # the variables are those of the node on which it runs
start_node='
    common=(--block --disable-usage-stats --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_PER_TASK:-0}"
        --min-worker-port=0 --max-worker-port=0 --metrics-export-port=$(($0 + 1))
        --dashboard-agent-listen-port=$(($0 + 2)) --dashboard-agent-grpc-port=$(($0 + 3)))
    if [ "$SLURM_PROCID" -eq 0 ]; then
        exec ray start --head --port="$0" --dashboard-port=$(($0 + 4)) --ray-client-server-port=$(($0 + 5)) \
            --temp-dir="/tmp/ray-$SLURM_JOB_ID" "${common[@]}"
    fi
    exec ray start --address="$RAY_ADDRESS" "${common[@]}"'
srun --nodes="$SLURM_NNODES" --ntasks="$SLURM_NNODES" --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    --kill-on-bad-exit=0 bash -c "$start_node" "$port" &
nodes=$!
trap 'kill -TERM "$nodes" 2>/dev/null || true; wait "$nodes" || true' EXIT

# Ray itself says when all nodes are there; until the head answers, asking fails and is tried again.
ask_ray='import ray, sys; ray.init("auto", log_to_driver=False, logging_level="ERROR")
sys.exit(sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]))'
until python -c "$ask_ray" "$SLURM_NNODES" 2>/dev/null; do
    kill -0 "$nodes" 2>/dev/null || { echo "error: Ray ended before all nodes were there" >&2; exit 1; }
    [ "$SECONDS" -lt "$nodes_deadline_s" ] || { echo "error: no $SLURM_NNODES nodes in $nodes_deadline_s s" >&2; exit 1; }
    sleep 2
done

[ "${SLURM_RESTART_COUNT:-0}" -eq 0 ] || set -- "$@" resume=auto
python -m launch.train cluster=ray "$@" &
run=$!
heard=no
trap 'heard=yes; kill -TERM "$run" 2>/dev/null || true' TERM
trap 'heard=yes; kill -USR1 "$run" 2>/dev/null || true' USR1
code=0
wait "$run" || code=$?
while [ "$heard" = yes ]; do # the signal ended the wait alone; the run goes on, or saves the planner
    heard=no
    ended=0
    wait "$run" || ended=$?
    [ "$ended" -eq 127 ] || code=$ended # 127: it had ended before
done

again=no
case $code in
    0 | 2) ;; # done; or a configuration to mend, which another start does not
    130) # asked to end: by the time limit, or by scancel, after which nothing starts again
        [ $((${SLURM_JOB_END_TIME:-9999999999} - $(date +%s))) -gt 300 ] || again=yes ;;
    *) [ "${SLURM_RESTART_COUNT:-0}" -ge "$most_restarts" ] || again=yes ;;
esac
if [ "$again" = yes ]; then
    echo "the run ended with code $code; the job goes back into the queue and on from the newest checkpoint"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
