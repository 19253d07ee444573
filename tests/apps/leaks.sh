#!/usr/bin/env bash
# No leaks: after many tiny steps live tensor bytes and open files equal those after a tenth of them, and
# resident memory is within 1 %.  leaks.sh APPS [STEPS]
source "$(dirname "$0")/lib.sh" "$1"
steps=${2:-2000}
# 1,024 tokens a batch: an epoch of the task is shorter than the first tenth
"$apps/train_hmoe" --preset tiny --ranks 2 --max-update "$steps" --max-tokens 1024 --log-interval $((steps / 10)) --save-interval-updates $((steps / 40)) \
  --keep-interval-updates 1 --validate-interval-updates $((steps / 20)) --save-dir "$work/run" >"$work/log" 2>&1 || { tail -n 3 "$work/log"; exit 1; }
at() { grep "\"kind\":\"train\"" "$work/run/log.jsonl" | grep "\"update\":$1[,}]" | grep -o "\"$2\":[0-9.]*" | grep -o '[0-9.]*$'; }
for what in live_bytes open_files; do same "$what" "$(at $((steps / 10)) $what)" "$(at "$steps" $what)"; done
early=$(at $((steps / 10)) resident_mib) late=$(at "$steps" resident_mib)
awk -v a="$early" -v b="$late" 'BEGIN { exit !(b <= a * 1.01) }' && pass || fail "resident memory grew from $early to $late MiB"
finish
