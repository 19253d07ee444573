#!/usr/bin/env bash
# Every type learns the toy task (specs/hmoe.md 7.18): the loss falls by a clear factor, no expert is left unused,
# and the balance loss ends between 1 and 1.5.  learning.sh APPS [UPDATES]
source "$(dirname "$0")/lib.sh" "$1"
updates=${2:-300}
number() { grep "\"kind\":\"$2\"" "$work/$1/log.jsonl" | sed -n "$3p" | grep -oE "\"$4\":[0-9.]+" | cut -d: -f2; }
for type in base:4 base:0 eom:0 cmr:0 eom-cmr:0 dense:0; do
  name=${type/:/-}
  "$apps/train_hmoe" --preset tiny --ranks 2 --moe-type "${type%:*}" --hmoe-layer "${type#*:}" --max-update "$updates" --log-interval 5 \
    --no-save --save-dir "$work/$name" >"$work/log" 2>&1 || { fail "$type: $(tail -n 1 "$work/log")"; continue; }
  first=$(number "$name" train 1 nll_loss) last=$(number "$name" valid '$' nll_loss) balance=$(number "$name" valid '$' gate_loss)
  awk -v a="$first" -v b="$last" 'BEGIN { exit !(a > 0 && b < 0.65 * a) }' && pass || fail "$type: nll from $first to $last bits"
  [[ $type == dense:0 ]] && continue
  awk -v b="$balance" 'BEGIN { exit !(b >= 1 && b <= 1.5) }' && pass || fail "$type: balance loss $balance"
  served=$(grep '"kind":"train"' "$work/$name/log.jsonl" | tail -n 1 | grep -oE '/tokens_per_expert":\[[^]]*\]')
  same "$type: blocks with experts, and of these with an unused one" "2 0" "$(grep -c : <<<"$served") $(grep -cE '[[,]0[],.]' <<<"$served")"
done
finish
