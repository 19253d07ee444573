#!/usr/bin/env bash
# Signals (docs/running.md): one ends the run after the current update with a checkpoint and exit code 0,
# during a save too; a second ends it at once. An exception in one thread rank ends all.
source "$(dirname "$0")/lib.sh" "$1"
long=("$apps/train_hmoe" --preset tiny --ranks 4 --max-update 100000 --validate-interval-updates 0 --log-interval 5)

try() { # try NAME SIGNAL TARGET(mpirun|child) EXTRA...
  local name=$1 signal=$2 target=$3 run=$work/$1 pid code; shift 3
  mpi 2 "${long[@]}" "$@" --save-dir "$run" >"$run.log" 2>&1 &
  local job=$!
  for _ in {1..100}; do [[ -s $run/log.jsonl ]] && break; sleep 0.1; done
  pid=$(pgrep -f "^mpirun.*--save-dir $run\$" | head -n 1)
  [[ $target == mpirun ]] || pid=$(pgrep -P "$pid" | tail -n 1)
  kill "-$signal" "$pid"
  wait $job; code=$?
  same "$name: exit code" 0 $code
  "$apps/inspect" --check "$run" >/dev/null 2>&1 && pass || fail "$name: no whole checkpoint"
  local last; last=$(grep -o '"kind":"train".*"update":[0-9]*' "$run/log.jsonl" | tail -n 1 | grep -o '[0-9]*$')
  same "$name: the checkpoint holds the last update" "step_$(printf %08d "$last")" "$(readlink "$run/checkpoints/checkpoint_last")"
}
try usr1_to_mpirun USR1 mpirun --save-interval-updates 0
try usr2_to_mpirun USR2 mpirun --save-interval-updates 0
try term_to_process TERM child --save-interval-updates 0
try usr1_to_process USR1 child --save-interval-updates 0
try term_during_saves TERM child --save-interval-updates 1 --keep-interval-updates 2
try term_during_async TERM child --save-interval-updates 1 --keep-interval-updates 2 --write-checkpoints-asynchronously
finish
