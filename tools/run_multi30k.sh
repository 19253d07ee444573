#!/usr/bin/env bash
# Text-only Multi30k, English to German: a small HMoE within half an hour of training on 2 cores, and its scores.
#   bash tools/run_multi30k.sh DATA_FOLDER SAVE_PATH [OPTION VALUE ...]
# DATA_FOLDER holds {train,val,test_2016_flickr}.{en,de}, plain or .gz: folder data/task1/raw of the repository multi30k/dataset.
# What follows goes to apps/train_hmoe; VOCAB_SIZE in the environment: pieces (6000). A second call goes on where the first one stopped.
# Results beside published ones: docs/hmoe_results.md.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
if [[ $# -lt 2 || $1 == -* ]]; then
  sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
data=$1 save=$2
shift 2
mkdir -p "$save"
corpus=$save/corpus.h5
[[ -s $corpus ]] || apps/prepare translation --train-prefix "$data/train" --valid-prefix "$data/val" --test-prefix "$data/test_2016_flickr" \
  --langs de --vocab-size "${VOCAB_SIZE:-6000}" --output "$corpus"
run=(mpirun -np 2 --oversubscribe --bind-to none)
"${run[@]}" apps/train_hmoe --preset demo --ranks 2 --data "$corpus" --lang-pairs en-de --moe-expert-count 4 --hmoe-layer 2 \
  --max-tokens 1024 --dropout 0.2 --lr 3e-3 --lr-scheduler polynomial_decay --warmup-updates 400 --total-num-update 5800 --max-update 5800 \
  --validate-interval-updates 580 --log-interval 100 "$@" --save-dir "$save" --resume latest
"${run[@]}" apps/eval_hmoe --path "$save" --source-lang en --results-path "$save/translations" | tee "$save/scores.txt"
