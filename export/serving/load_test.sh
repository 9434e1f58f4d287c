#!/bin/sh
# Loads a running server over gRPC, then over REST, and holds every answer against the model in MODEL_DIR.
# usage: load_test.sh MODEL_DIR [HOST] [SECONDS] [CLIENTS]     ends with 1 where an answer was wrong or missing
set -eu
model_dir=${1:?usage: load_test.sh MODEL_DIR [HOST] [SECONDS] [CLIENTS]}
host=${2:-127.0.0.1}
seconds=${3:-60}
clients=${4:-32}
p2net bench load "$host:${GRPC_PORT:-8500}" "$model_dir" --seconds "$seconds" --clients "$clients"
p2net bench load "$host:${REST_PORT:-8501}" "$model_dir" --seconds "$seconds" --clients "$clients" --rest
