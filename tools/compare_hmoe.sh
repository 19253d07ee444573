#!/usr/bin/env bash
# make compare-hmoe: dense, Switch, top-2, EOM, CMR and a stratified model of equal size on one multilingual set with equal
# updates -> docs/hmoe_results.md and a page of the runs. About an hour on 2 cores; a second call goes on where the first stopped.
# Environment: QUICK=1 (minutes: is everything in place?)   DATA (tools/corpus.sh)   COMPARE_DIR (runs/compare-hmoe)
#   SEEDS ("1 2"; the main contrast dense, top-2, HMoE takes all, the others the first)   MAX_UPDATE (400)   REPORT (docs/hmoe_results.md)
set -euo pipefail
cd "$(dirname "$0")/.."
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 LC_ALL=C
dir=${COMPARE_DIR:-runs/compare-hmoe} updates=${MAX_UPDATE:-400} seeds=(${SEEDS:-1 2}) size=(--preset demo) eval=() report=${REPORT:-docs/hmoe_results.md}
if [[ -n ${QUICK:-} ]]; then
  dir=$dir-quick updates=${MAX_UPDATE:-20} seeds=(${SEEDS:-1}) size=(--preset tiny) eval=(--max-sentences 8)
  report=${REPORT:-$dir/hmoe_results.md}
fi
declare -A options=(
  [dense]="--moe-type dense --hmoe-layer 0"
  [switch]="--moe-type base --hmoe-layer 0 --moe-top1-expert"
  [top-2]="--moe-type base --hmoe-layer 0"
  [eom]="--moe-type eom --hmoe-layer 0"
  [cmr]="--moe-type cmr --hmoe-layer 0"
  [hmoe]="--moe-type base --hmoe-layer 4 --hmoe-dynamic 2,2,2,2"
)
systems=(dense switch top-2 eom cmr hmoe) contrast=(dense top-2 hmoe)
source tools/corpus.sh
prepare_corpus "$dir" fr,sv,da,eo --vocab-size "${VOCAB_SIZE:-4000}"

runs=()
for seed in "${seeds[@]}"; do
  names=("${contrast[@]}")
  [[ $seed == "${seeds[0]}" ]] && names=("${systems[@]}")
  for name in "${names[@]}"; do
    run=$dir/$name-$seed
    runs+=("$run")
    [[ -s $run/translations/test.routing.json ]] && continue
    echo "== $name, seed $seed"
    mpirun -np 2 --oversubscribe --bind-to none apps/train_hmoe "${size[@]}" --ranks 4 --data "$corpus" --moe-expert-count 8 ${options[$name]} \
      --seed "$seed" --max-update "$updates" --validate-interval-updates $((updates / 4)) --save-dir "$run" --resume latest
    mpirun -np 2 --oversubscribe --bind-to none apps/eval_hmoe --path "$run" --ranks 4 "${eval[@]}" --routing-report \
      --results-path "$run/translations" >"$run/scores.txt"
  done
done

scores() { cat "$dir/$1-$2/translations/test.scores.json"; }
# means over the seeds of a system: expressions of jq on the two files of each run
mean() { # NAME FILE EXPRESSION DIGITS
  local files=("$dir/$1"-*/translations/"test.$2.json")
  jq -rn --argjson digits "$4" "[inputs | $3] | add / length | . * pow(10; \$digits) | round / pow(10; \$digits)" "${files[@]}"
}
# Differences of a score, paired by direction and seed: mean and 95 % interval (Student's t)
difference() { # A B SCORE
  for seed in "${seeds[@]}"; do
    paste <(scores "$1" "$seed" | jq ".directions[].\"$3\"") <(scores "$2" "$seed" | jq ".directions[].\"$3\"")
  done | awk '
    { d = $1 - $2; n++; sum += d; squares += d * d }
    END {
      split("12.71 4.30 3.18 2.78 2.57 2.45 2.36 2.31 2.26 2.23 2.20 2.18 2.16 2.14 2.13", t)
      mean = sum / n; t95 = n - 1 in t ? t[n - 1] : 2.04
      printf "%+.2f ± %.2f (n = %d)", mean, t95 * sqrt((squares - n * mean * mean) / (n - 1) / n), n
    }'
}
{
  echo "# HMoE and its baselines"
  echo
  echo "Written by \`${QUICK:+QUICK=1 }make compare-hmoe\` on $(date -I), $(nproc) CPUs, $(git rev-parse --short HEAD 2>/dev/null || echo 'no commit')."
  echo "Data: ${DATA:-the message catalogues of the machine}, $(jq -r '.directions | length' <<<"$(scores dense "${seeds[0]}")") directions. Every system: ${size[1]} size, 8 experts (dense: none), $updates updates on 4 ranks, seeds ${seeds[*]} (those outside the main contrast: ${seeds[0]}). Beam 5 on the test set; means over directions and seeds. FLOPs: forward, of one source and one target token, from the measured routing (specs: 2 FLOPs per weight)."
  echo
  echo "| system | BLEU | chrF | perplexity | rounds per token | MFLOPs per token | parameters, M | active, M |"
  echo "|---|---:|---:|---:|---:|---:|---:|---:|"
  for name in "${systems[@]}"; do
    echo "| $name | $(mean $name scores .mean.BLEU 2) | $(mean $name scores .mean.chrF2 2) | $(mean $name scores .mean.ppl 2) | $(
      mean $name routing '(if .blocks == [] then 0 else ([.blocks[].rounds_per_token] | add / length) end)' 3) | $(
      mean $name routing '.flops_per_token / 1e6' 2) | $(mean $name routing '.parameters / 1e6' 2) | $(mean $name routing '.active_parameters / 1e6' 2) |"
  done
  echo
  echo "## Main contrast"
  echo
  echo "Differences paired by direction and seed, with the 95 % interval of their mean."
  echo
  echo "| contrast | BLEU | chrF |"
  echo "|---|---:|---:|"
  for pair in "top-2 dense" "hmoe dense" "hmoe top-2"; do
    echo "| ${pair/ / − } | $(difference $pair BLEU) | $(difference $pair chrF2) |"
  done
  echo
  echo "## By direction"
  echo
  echo "BLEU / chrF, means over seeds."
  echo
  echo "| direction | $(printf '%s | ' "${systems[@]}")"
  echo "|---|$(printf -- '---:|%.0s' "${systems[@]}")"
  for direction in $(scores dense "${seeds[0]}" | jq -r '.directions | keys[]'); do
    printf '| %s |' "$direction"
    for name in "${systems[@]}"; do printf ' %s / %s |' "$(mean "$name" scores ".directions.\"$direction\".BLEU" 1)" "$(mean "$name" scores ".directions.\"$direction\".chrF2" 1)"; done
    echo
  done
} >"$report.new"
# What a person wrote below this line stays.
mark="<!-- text by people below -->"
{ echo; echo "$mark"; sed "1,/^$mark\$/d" "$report" 2>/dev/null || true; } >>"$report.new"
mv "$report.new" "$report"
apps/report "${runs[@]}" --output "$dir/report.html"
echo "wrote $report and $dir/report.html"
