#!/usr/bin/env bash
# make demo: real multilingual text that is already on this machine -> a small HMoE on 4 ranks -> a test set
# translated and scored. A second call reuses what is there. DEMO_DIR: where (runs/demo).
set -euo pipefail
cd "$(dirname "$0")/.."
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
dir=${DEMO_DIR:-runs/demo}
corpus=$dir/corpus.h5 run=$dir/hmoe
mkdir -p "$dir"
title() { printf '\n== %s\n' "$*"; }

title "1. Text: message catalogues of this machine (French, Swedish, Danish, Esperanto <-> English)"
data=()
if [[ -s $corpus ]]; then
  echo "reusing $corpus"; data=(--data "$corpus")
elif apps/prepare translation --gettext --langs fr,sv,da,eo --vocab-size 4000 --output "$corpus"; then
  data=(--data "$corpus")
else
  echo "This machine has no catalogues to learn from (slim images strip /usr/share/locale): taking the built-in synthetic task."
fi

title "2. Training: 8 experts in strata 2,2,2,2 on 4 ranks, 2 processes"
train=(apps/train_hmoe --preset demo --ranks 4 "${data[@]}" --save-dir "$run" --resume latest)
mpirun -np 2 --oversubscribe --bind-to none "${train[@]}"

title "3. Test set: translated with beam 5, beside copying the source"
mpirun -np 2 --oversubscribe --bind-to none apps/eval_hmoe --path "$run" --ranks 2 --results-path "$run/translations" |
  tee "$dir/scores.txt"
echo
echo "The same with every source replaced by another sentence's (nll must rise: the model reads its source):"
mpirun -np 2 --oversubscribe --bind-to none apps/eval_hmoe --path "$run" --ranks 2 --loss-only --shuffle-sources | tail -n 1

title "4. A few sentences"
for direction in $(ls "$run"/translations/*.hyp | sed -E 's/.*test\.(.*)\.hyp/\1/;4q'); do
  echo "-- $direction"
  paste -d '\n' <(sed 's/^/  source     /;3q' "$run/translations/test.$direction.src") \
    <(sed 's/^/  translated /;3q' "$run/translations/test.$direction.hyp") \
    <(sed 's/^/  reference  /;3q' "$run/translations/test.$direction.ref")
done

title "Done"
cat <<TXT
checkpoint    $run/checkpoints/checkpoint_best   (h5ls -r $run/checkpoints/checkpoint_best/model.h5)
logs          $run/log.jsonl, $run/tb            (tensorboard --logdir $run/tb)
translations  $run/translations

Four things to try next:
  echo "The file could not be opened." | apps/translate --path $run --source-lang en --target-lang fr
  apps/inspect $run                              # parameters, sizes, norms, experts by rank
  apps/report $run                               # one HTML page: curves, expert load, time, scores
  apps/train_hmoe --ranks 4 ${data[*]} --preset demo --hmoe-layer 0 --save-dir $dir/vanilla   # MoE without strata
TXT
