#!/usr/bin/env bash
# No leaks: after many tiny steps live tensor bytes and open files equal those after a tenth of them, and
# resident memory is within 1 %. Read after validations, when nothing is cached; passing work still leaves
# some pages half used, so the least of many readings counts: of the tenths 2 to 5, and of the last half.
# leaks.sh APPS [STEPS]
source "$(dirname "$0")/lib.sh" "$1"
steps=${2:-2000}
# 1,024 tokens a batch: an epoch of the task is shorter than the first tenth
"$apps/train_hmoe" --preset tiny --ranks 2 --max-update "$steps" --max-tokens 1024 --log-interval $((steps / 10)) --save-interval-updates $((steps / 40)) \
  --keep-interval-updates 1 --validate-interval-updates $((steps / 100)) --save-dir "$work/run" >"$work/log" 2>&1 || { tail -n 3 "$work/log"; exit 1; }
readings() { # of key $1 for updates in ($2, $3]
  grep '"kind":"valid"' "$work/run/log.jsonl" | sed -E "s/.*\"$1\":([0-9.]+).*\"update\":([0-9]+).*/\2 \1/" |
    awk -v from="$2" -v to="$3" '$1 > from && $1 <= to { print $2 }'
}
for what in live_bytes open_files; do same "$what" "$(readings $what $((steps / 10 - 1)) $((steps / 10)))" "$(readings $what $((steps - 1)) "$steps")"; done
early=$(readings resident_mib $((steps / 10)) $((steps / 2)) | sort -n | head -n 1) late=$(readings resident_mib $((steps / 2)) "$steps" | sort -n | head -n 1)
[[ -n ${ASAN_OPTIONS:-} ]] && finish  # the sanitizer keeps what was freed
awk -v a="$early" -v b="$late" 'BEGIN { exit !(a > 0 && b > 0 && b <= a * 1.01) }' && pass || fail "resident memory grew from $early to $late MiB"
finish
