#!/usr/bin/env bash
# The same bits wherever it runs (docs/design.md): 8 ranks in 1, 2, 3, 4 and 8 processes, with 1 and 2
# threads, E = 8 and E = 2, after updates with dropout, capacity drops and accumulation.
source "$(dirname "$0")/lib.sh" "$1"
updates=${2:-50}
train=("$apps/train_hmoe" --preset tiny --ranks 8 --max-update "$updates" --update-freq 2 --dropout 0.1 --max-tokens 128
  --attention-dropout 0.1 --moe-capacity-factor 1 --validate-interval-updates 0 --log-interval 10)

for experts in 8 2; do
  strata=(--moe-expert-count $experts --hmoe-layer 2 --hmoe-dynamic "$((experts / 2)),$((experts / 2))")
  reference= reference_losses= reference_text=
  for layout in "1 1" "2 1" "3 1" "4 1" "8 1" "1 2" "2 2"; do
    read -r processes threads <<<"$layout"
    run=$work/e$experts.p$processes.t$threads
    OMP_NUM_THREADS=$threads mpi "$processes" "${train[@]}" "${strata[@]}" --save-dir "$run" >"$run.log" 2>&1 ||
      { fail "E=$experts P=$processes ended with an error"; tail -n 5 "$run.log"; continue; }
    d=$(digest "$run")
    if [[ -z $reference ]]; then reference=$d reference_losses=$(losses "$run"); fi
    same "E=$experts digest with P=$processes, threads=$threads" "$reference" "$d"
    same "E=$experts losses with P=$processes, threads=$threads" "$reference_losses" "$(losses "$run")"
    if [[ $threads == 1 && $processes != 2 && $processes != 4 ]]; then
      mpi "$processes" "$apps/eval_hmoe" --path "$run" --ranks 8 --gen-subset test --beam 3 --max-sentences 24 \
        --results-path "$run.results" >"$run.eval" 2>&1 || { fail "eval_hmoe P=$processes"; tail -n 5 "$run.eval"; }
      text=$(cat "$run.results"/*.hyp* | sha256sum)
      [[ -n $reference_text ]] || reference_text=$text
      same "E=$experts beam search with P=$processes" "$reference_text" "$text"
    fi
  done
done

# bf16 as well
reference=
for layout in "1 1" "3 1" "2 2"; do
  read -r processes threads <<<"$layout"
  run=$work/bf16.p$processes.t$threads
  OMP_NUM_THREADS=$threads mpi "$processes" "${train[@]}" --precision bf16 --save-dir "$run" >"$run.log" 2>&1 ||
    { fail "bf16 P=$processes ended with an error"; tail -n 5 "$run.log"; continue; }
  d=$(digest "$run")
  [[ -n $reference ]] || reference=$d
  same "digest in bf16 with P=$processes, threads=$threads" "$reference" "$d"
done
grep -o '"decoder/1/moe/over_capacity":\[[^]]*' "$work/e8.p1.t1/log.jsonl" | grep -q '\[[1-9]' || fail "nothing was dropped"
finish
