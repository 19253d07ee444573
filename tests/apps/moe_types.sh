#!/usr/bin/env bash
# Every --moe-type trains to the same bits in 1, 2, 4 and 8 processes, with dropout, drops, masks and the CMR budget
# over all ranks, and with what changes no bit: activation checkpointing.  moe_types.sh APPS [UPDATES]
source "$(dirname "$0")/lib.sh" "$1"
updates=${2:-10}
train=("$apps/train_hmoe" --preset tiny --ranks 8 --max-update "$updates" --update-freq 2 --max-tokens 128 --dropout 0.1
  --moe-capacity-factor 1 --validate-interval-updates 0 --log-interval 5)
try() { # try NAME OPTION...
  local name=$1 reference= losses= p routing=(); shift
  for p in 1 2 4 8; do
    local run=$work/$name.$p checkpoint=$((p == 2))
    mpi $p "${train[@]}" "$@" --checkpoint-activations $checkpoint --save-dir "$run" >"$run.log" 2>&1 ||
      { fail "$name P=$p ended with an error"; tail -n 3 "$run.log"; continue; }
    [[ -n $reference ]] || { reference=$(digest "$run"); losses=$(losses "$run"); }
    same "$name digest with P=$p" "$reference" "$(digest "$run")"
    same "$name losses with P=$p" "$losses" "$(losses "$run")"
    [[ $p -le 2 ]] || continue
    mpi $p "$apps/eval_hmoe" --path "$run" --ranks 8 --loss-only --routing-report --results-path "$run" >"$run.eval" 2>&1 ||
      fail "$name eval_hmoe P=$p: $(tail -n 1 "$run.eval")"
    routing+=("$(cat "$run/test.routing.json" <(grep -o '"flops_per_token":[^,}]*' "$run/log.jsonl"))")
  done
  same "$name routing report and logged FLOPs with P=2" "${routing[0]}" "${routing[1]:-}"
  seen+=("$reference")
}
seen=()
try dense --moe-type dense
try vanilla --moe-type base --hmoe-layer 0
try switch --moe-type base --hmoe-layer 0 --moe-top1-expert
try strata --moe-type base --hmoe-layer 4 --hmoe-dynamic 2,2,2,2
try strata_eom --moe-type eom --hmoe-layer 2 --moe-fom 0.1 --moe-local-drop 0.2 --use-moe-pad-mask 1
try cmr --moe-type cmr --hmoe-layer 0 --cmr-gate-drop 0.1 --moe-cmr-xgpu 1
try eom_cmr --moe-type eom-cmr --hmoe-layer 0 --moe-expert-count 2 --moe-normalize-expert-grad sqrt_world_size
same "different types, different models" ${#seen[@]} "$(printf '%s\n' "${seen[@]}" | sort -u | wc -l)"
finish
