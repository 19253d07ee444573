#!/usr/bin/env bash
# Collectives of four ranks that share an emulated GPU, over processes:  gpu_exchange.sh PROGRAM PROCESSES
set -uo pipefail
export EMULATED_GPU_OPEN=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
out=$(mpirun -np "$2" --oversubscribe --bind-to none "$1" 4 1 2>&1) || { echo "$out"; exit 1; }
echo "$out"
grep -q 'MPI through pinned memory.*; 4 ranks on 1 GPU' <<<"$out"
