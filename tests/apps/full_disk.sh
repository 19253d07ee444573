#!/usr/bin/env bash
# A full disk: training goes on with a counted warning, what was saved stays whole, and only a failing last
# save ends in exit code 2. Needs the right to mount a small tmpfs (else skipped).
source "$(dirname "$0")/lib.sh" "$1"
disk=$work/disk
mkdir "$disk"
mount -t tmpfs -o size=7m tmpfs "$disk" 2>/dev/null || exit 77
trap 'umount "$disk"; rm -rf "$work"' EXIT
"$apps/train_hmoe" --ranks 2 --max-update 30 --save-interval-updates 5 --validate-interval-updates 0 --save-dir "$disk/run" >"$work/log" 2>&1
same "exit code" 2 $?
grep -q 'update 30/30' "$work/log" && pass || fail "training did not go on"
grep -q '^warning: checkpoint not written' "$work/log" && pass || fail "no warning"
grep -q '"failed_saves":[1-9]' "$disk/run/log.jsonl" && pass || fail "the log does not count the warning"
"$apps/inspect" --check "$disk/run" >/dev/null && pass || fail "the saved checkpoint is damaged"
ls -A "$disk/run/checkpoints" | grep -q tmp && fail "a temporary folder was left"
finish
