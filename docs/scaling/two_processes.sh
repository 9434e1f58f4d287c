#!/usr/bin/env bash
# Trains on two workers on this machine, which shows all that several hosts do, but not their speed:
#   docs/scaling/two_processes.sh configs/p2net_small_lsp_128x128.yaml --out runs/two [--resume]
# Ends with 75 or 76 where the same command with --resume goes on.
set -euo pipefail

port=${P2NET_PORT:-23450}
addresses="\"127.0.0.1:$port\", \"127.0.0.1:$((port + 1))\""
workers=()

start() {
    TF_CONFIG="{\"cluster\": {\"worker\": [$addresses]}, \"task\": {\"type\": \"worker\", \"index\": $1}}" \
        p2net train "${@:2}" &
    workers+=($!)
}

# `wait` also returns when a signal was passed on; the worker then still runs.
exit_code_of() {
    local code=0
    wait "$1" || code=$?
    while kill -0 "$1" 2> /dev/null; do
        code=0
        wait "$1" || code=$?
    done
    return "$code"
}

trap 'kill -TERM "${workers[@]}" 2> /dev/null || true' TERM INT
start 0 "$@"
start 1 "$@"
code=0
for worker in "${workers[@]}"; do
    # Of a worker that was killed and one that noticed, the one that noticed says how to go on.
    exit_code_of "$worker" || { found=$?; if ((code == 0 || found < code)); then code=$found; fi; }
done
exit "$code"
