#!/usr/bin/env bash
#SBATCH --job-name=hmoe-m4 --nodes=4 --ntasks-per-node=8 --time=24:00:00
#SBATCH --signal=USR1@120 --requeue --open-mode=append
# M4-like many-to-many translation, English with four languages; see tools/run_hmoe.sh.
langs=fr,sv,da,eo experts=8 strata=2 per_stratum=4,4 preset=m4 set_name=m4
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}" || exit 2
source tools/run_hmoe.sh
