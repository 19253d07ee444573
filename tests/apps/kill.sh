#!/usr/bin/env bash
# Safe to kill at any moment: kill -9 of one process at random times (during checkpoint writes too), then
# the newest complete checkpoint loads and the resumed run, on another number of processes, ends in the
# digest of the uninterrupted one.  kill.sh APPS [CASES]
source "$(dirname "$0")/lib.sh" "$1"
cases=${2:-20} killed=0
train=("$apps/train_hmoe" --preset tiny --ranks 4 --max-update 60 --save-interval-updates 4 --keep-interval-updates 2
  --validate-interval-updates 20 --log-interval 5 --max-tokens 128)
mpi 2 "${train[@]}" --save-dir "$work/whole" >"$work/whole.log" 2>&1 || { cat "$work/whole.log"; exit 1; }
reference=$(digest "$work/whole")
begin=$(date +%s%N); mpi 3 "${train[@]}" --save-dir "$work/timing" >/dev/null 2>&1; span=$((($(date +%s%N) - begin) / 1000000))

for ((i = 0; i < cases; i++)); do
  run=$work/kill$i
  extra=(); ((i % 2)) && extra=(--write-checkpoints-asynchronously)
  mpi 3 "${train[@]}" "${extra[@]}" --save-dir "$run" >"$run.log" 2>&1 &
  job=$!
  wait_ms=$((span * (10 + (i * 83) / cases + RANDOM % 5) / 100))
  sleep "$(printf '%d.%03d' $((wait_ms / 1000)) $((wait_ms % 1000)))"
  victim=$(pgrep -P "$(pgrep -f "^mpirun.*--save-dir $run\$" | head -n 1)" 2>/dev/null | shuf -n 1)
  [[ -n $victim ]] && kill -9 "$victim" 2>/dev/null
  begin=$(date +%s)
  wait $job; code=$?
  (($(date +%s) - begin <= 5)) || fail "case $i: the job took more than 5 s to end"
  if [[ $code -ne 0 ]]; then
    killed=$((killed + 1))
    grep -qiE 'signal 9|killed' "$run.log" || fail "case $i: no message"
  fi
  processes=$((1 + i % 4))
  mpi "$processes" "${train[@]}" --save-dir "$run" --resume latest >"$run.resume" 2>&1 ||
    { fail "case $i: resume ended with an error"; tail -n 3 "$run.resume"; continue; }
  same "case $i (killed after $wait_ms ms, resumed on $processes)" "$reference" "$(digest "$run")"
  ls -d "$run"/checkpoints/*tmp* 2>/dev/null && fail "case $i: a temporary folder was left"
  rm -rf "$run"
done
((killed * 2 >= cases)) || fail "only $killed of $cases jobs were still running when killed"
finish
