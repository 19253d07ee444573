#!/usr/bin/env bash
# Saved by 4 processes, loaded by 1, 2, 3: same digest and validation loss; at another R: same loss without
# drops. h5ls shows every parameter with its full shape.
source "$(dirname "$0")/lib.sh" "$1"
train=("$apps/train_hmoe" --preset tiny --max-update 6 --ranks 4 --moe-expert-count 6 --hmoe-layer 0 --validate-interval-updates 0)
loss() { # loss of the validation set at R ranks in P processes
  mpi "$2" "$apps/eval_hmoe" --path "$work/run" --ranks "$1" --gen-subset valid --loss-only 2>&1 | grep '^mean' | awk "{ print \$${3:-2} }"
}
refusal=$(mpi 4 "${train[@]}" --save-dir "$work/run" 2>&1); grep -q 'multiple' <<<"$refusal" && pass || fail "E=6 on 4 ranks: $refusal"
train=("$apps/train_hmoe" --preset tiny --max-update 6 --ranks 4 --validate-interval-updates 0 --checkpoint-activations)
mpi 4 "${train[@]}" --save-dir "$work/run" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
reference=$(digest "$work/run") reference_loss=$(loss 4 4)
for p in 1 2 3; do
  same "loss of 4 ranks in $p processes" "$reference_loss" "$(loss 4 $p)"
  cp -r "$work/run" "$work/run$p"
  mpi $p "${train[@]}" --save-dir "$work/run$p" --resume latest --max-update 6 >"$work/log" 2>&1 || cat "$work/log"
  same "digest loaded by $p processes" "$reference" "$(digest "$work/run$p")"
done
# At another R the gate loss differs by its definition (balance is taken per rank); the likelihood does not.
for r in 1 2 8; do same "nll at R=$r, no drops" "$(loss 4 1 3)" "$(loss $r 1 3)"; done
model=$work/run/checkpoints/checkpoint_last/model.h5
same "shape of the experts" "Dataset {8, 64, 32}" \
  "$(h5ls -r "$model" | grep '^/model/decoder/1/moe/experts/fc1/weight ' | grep -o 'Dataset.*')"
h5dump -d /model/embed/weight "$model" | grep -qi nan && fail "h5dump shows NaN: a shard was not found" || pass
# the same bits without activation checkpointing
train=("$apps/train_hmoe" --preset tiny --max-update 6 --ranks 4 --validate-interval-updates 0)
mpi 2 "${train[@]}" --save-dir "$work/plain" >"$work/log" 2>&1 || cat "$work/log"
same "activation checkpointing changes no bit" "$reference" "$(digest "$work/plain")"
# a new run from the parameters, at another R
mpi 2 "$apps/train_hmoe" --preset tiny --max-update 2 --ranks 2 --restore-file "$work/run" --save-dir "$work/restored" >"$work/log" 2>&1 &&
  pass || { fail "--restore-file"; tail -n 3 "$work/log"; }
finish
