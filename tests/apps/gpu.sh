#!/usr/bin/env bash
# Runs of train_hmoe on a GPU, as on the emulated one:  gpu.sh APPS TRAIN_ON_GPU
# The same bits in 1, 2 and 4 processes and between GPUs; losses as on the CPU; checkpoints go on on the other device;
# without a GPU --device cuda is refused.
source "$(dirname "$0")/lib.sh" "$1"
gpu=$2
export EMULATED_GPU_OPEN=1 OMP_NUM_THREADS=1
options=(--preset tiny --ranks 4 --max-update 3 --dropout 0.1 --max-tokens 64 --moe-expert-count 4 --moe-capacity-factor 1 --validate-interval-updates 0
  --save-interval-updates 2 --log-interval 1)
train() { # NAME PROCESSES PROGRAM OPTIONS...
  local name=$1 processes=$2; shift 2
  mpi "$processes" "$@" --save-dir "$work/$name" >"$work/$name.log" 2>&1 || { fail "$name"; tail -n 3 "$work/$name.log"; }
}
for p in 1 2 4; do train gpu$p $p "$gpu" --device cuda "${options[@]}"; done
EMULATED_GPUS=4 train own 1 "$gpu" --device auto "${options[@]}"  # a GPU for each rank
EMULATED_GPUS=2 train two 1 "$gpu" --device auto "${options[@]}"
train cpu 2 "$apps/train_hmoe" --device cpu "${options[@]}"
for run in gpu2 gpu4 own two; do same "digest of $run" "$(digest "$work/gpu1")" "$(digest "$work/$run")"; done
grep -q '^device .*GPU' "$work/gpu1.log" && pass || fail "the banner names no GPU"
exchange() { # RUN WAY: the banner of a run
  grep -q "^exchange *$2\$" "$work/$1.log" && pass || fail "the banner of $1 does not say: exchange $2"
}
exchange gpu1 "device copies; 4 ranks on 1 GPU"
exchange gpu2 "device copies, MPI through pinned memory between processes; 4 ranks on 1 GPU"
exchange gpu4 "MPI through pinned memory between processes; 4 ranks on 1 GPU"
exchange own "NCCL, one GPU a rank"
exchange two "device copies; 4 ranks on 2 GPUs"
grep -q '^device *CPU' "$work/cpu.log" && pass || fail "the banner names no CPU"

# bf16: one digest as well
train half 1 "$gpu" --device cuda --precision bf16 "${options[@]}"
train half2 2 "$gpu" --device cuda --precision bf16 "${options[@]}"
EMULATED_GPUS=4 train half4 1 "$gpu" --device cuda --precision bf16 "${options[@]}"
for run in half2 half4; do same "digest of $run" "$(digest "$work/half")" "$(digest "$work/$run")"; done

# NCCL's own sums
EMULATED_GPUS=4 train fast 1 "$gpu" --device auto --reduction fast "${options[@]}"
refused 'every rank needs a GPU of its own' "$gpu" --reduction fast --device cuda --preset tiny --ranks 2 --max-update 1 --save-dir "$work/none"
refused 'exchange here: on the CPU' "$apps/train_hmoe" --reduction fast --device cpu --preset tiny --ranks 2 --max-update 1 --save-dir "$work/none"

# Losses and norms of the updates agree to rounding.
numbers() { grep '"kind":"train"' "$1/log.jsonl" | grep -o '"\(loss\|gnorm\)":[^,}]*' | cut -d: -f2; }
close() { # WHAT A B
  if paste <(numbers "$2") <(numbers "$3") | awk 'function off(a, b) { return a > b ? a - b : b - a }
    off($1, $2) > 1e-5 * $1 { bad = 1 } END { exit bad || NR != 6 }'; then pass; else fail "$1"; fi
}
close "losses with NCCL's sums" "$work/fast" "$work/own"
[[ $(digest "$work/fast") != "$(digest "$work/own")" ]] && pass || fail "--reduction fast sums as the tree does"
close "losses on GPU and CPU" "$work/gpu1" "$work/cpu"

# Both ways: two updates here, the third there
for way in "$gpu cuda $apps/train_hmoe cpu" "$apps/train_hmoe cpu $gpu cuda"; do
  read -r first on then on2 <<<"$way"
  train moved.$on 1 "$first" --device "$on" "${options[@]}" --max-update 2
  train moved.$on 2 "$then" --device "$on2" --resume latest --max-update 3
  close "losses of a run that moves from $on to $on2" "$work/moved.$on" "$work/cpu"
done
if ! "$apps/train_hmoe" --device auto --dry-run | grep -q '^device .*GPU'; then
  refused 'device cuda: no usable GPU' "$apps/train_hmoe" --device cuda --max-update 1 --save-dir "$work/none"
fi
refused 'device' "$apps/train_hmoe" --device tpu
finish
