#!/usr/bin/env bash
# mpirun -np N apps/train_hmoe simply works, with no other argument.
source "$(dirname "$0")/lib.sh" "$1"
cd "$work" || exit 1
for p in 1 2 4 8 16; do
  mpi $p "$apps/train_hmoe" --max-update 20 >log 2>&1 && grep -q 'synthetic' log && pass || { fail "mpirun -np $p"; tail -n 3 log; }
  sleep 1  # the run folder's name holds the second
done
mpi 3 "$apps/train_hmoe" --max-update 20 --moe-expert-count 6 >log 2>&1 && pass || { fail "3 processes, E = 6"; tail -n 3 log; }
sleep 1
"$apps/train_hmoe" --ranks 16 --max-update 20 >log 2>&1 && pass || { fail "16 thread ranks"; tail -n 3 log; }
same "runs" 7 "$(ls -d runs/train_hmoe-* | wc -l)"
"$apps/train_hmoe" --help | grep -- --hmoe-layer >/dev/null && pass || fail "--help"
"$apps/train_hmoe" --version | grep MPI >/dev/null && pass || fail "--version"
"$apps/train_hmoe" --preset m4 --dry-run --ranks 2 | grep 'parameters' >/dev/null && pass || fail "--dry-run"
finish
