# Trains an HMoE and evaluates it; sourced by run_m4.sh and run_m15.sh, which set the defaults.
#   bash (sbatch) tools/run_m4.sh SAVE_PATH MOE_TYPE TOTAL_EXPERTS HMOE_LAYER EXPERTS_PER_LAYER [--eval-only] [OPTION VALUE ...]
#   bash tools/run_m4.sh runs/m4 base 8 4 2,2,2,2      # MOE_TYPE: base, eom, cmr, eom-cmr, dense
# What follows goes to apps/train_hmoe. A second call goes on where the first one stopped.
# Environment:
#   DATA        a corpus of apps/prepare, or a folder of aligned raw text (train.en-fr.en, train.en-fr.fr, valid..., test...,
#               plain or .gz .zst); default: this machine's message catalogues   (tools/corpus.sh)
#   MAX_UPDATE  updates (of the preset)       RANKS  ranks (4)      PROCESSES  MPI processes (2; under Slurm its tasks)
#   PRESET      size of the model: m4 and m15 as the original; default: those from 32 CPUs on, else demo
#   VOCAB_SIZE  pieces (8000)
set -euo pipefail
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

if [[ $# -lt 1 || $1 == -* ]]; then
  sed -n '1,14s/^# \{0,1\}//p' tools/run_hmoe.sh >&2
  exit 2
fi
save=$1 type=${2:-base} experts=${3:-$experts} strata=${4:-$strata}
[[ $# -ge 4 ]] && per_stratum=${5:-}
shift $(($# < 5 ? $# : 5))
eval_only=0
if [[ ${1:-} == --eval-only ]]; then eval_only=1; shift; fi
[[ $strata == 0 ]] && per_stratum=
cpus=${SLURM_NTASKS:-$(nproc)}
preset=${PRESET:-$( ((cpus >= 32)) && echo $preset || echo demo)}
ranks=${RANKS:-${SLURM_NTASKS:-4}}
if [[ -n ${SLURM_JOB_ID:-} ]]; then run=(srun --mpi=pmix); else run=(mpirun -np "${PROCESSES:-2}" --oversubscribe --bind-to none); fi

source tools/corpus.sh
prepare_corpus "$save" "$langs" --vocab-size "${VOCAB_SIZE:-8000}"

if ((!eval_only)); then
  options=(--preset "$preset" --ranks "$ranks" --data "$corpus" --moe-type "$type" --moe-expert-count "$experts" --hmoe-layer "$strata")
  [[ -n $per_stratum ]] && options+=(--hmoe-dynamic "$per_stratum")
  [[ -n ${MAX_UPDATE:-} ]] && options+=(--max-update "$MAX_UPDATE")
  "${run[@]}" apps/train_hmoe "${options[@]}" "$@" --save-dir "$save" --resume latest
fi
# Generation as the original's: best checkpoint, beam 5, capacity fraction 1 (no drops)
"${run[@]}" apps/eval_hmoe --path "$save" --ranks "$ranks" --results-path "$save/translations" | tee "$save/scores.txt"
