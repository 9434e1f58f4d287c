#!/usr/bin/env bash
#SBATCH --job-name=p2net
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=p2net_%j.log
#
# One worker per node. The time limit and a preemption save the run, and the job goes back into the queue until
# the training is done:
#   sbatch docs/scaling/slurm.sh configs/p2net_resnet50_coco_256x192.yaml --out /shared/runs/r50
set -euo pipefail

port=$((20000 + SLURM_JOB_ID % 20000))
export P2NET_WORKERS=""
for host in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
    P2NET_WORKERS+="${P2NET_WORKERS:+, }\"$host:$port\""
done

# Every node runs this; a worker that others have left ends by itself, so none has to be killed while it saves.
srun --kill-on-bad-exit=0 bash -c '
    task="{\"type\": \"worker\", \"index\": $SLURM_PROCID}"
    export TF_CONFIG="{\"cluster\": {\"worker\": [$P2NET_WORKERS]}, \"task\": $task}"
    exec p2net train "$@" --resume
' worker "$@" &
step=$!
trap 'kill -TERM "$step"' TERM # srun passes it on to the workers

code=0
wait "$step" || code=$?
while kill -0 "$step" 2> /dev/null; do # a signal interrupts `wait`, and the step still runs
    code=0
    wait "$step" || code=$?
done
if ((code == 75 || code == 76)); then # saved, or a worker was lost
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
