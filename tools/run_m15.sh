#!/usr/bin/env bash
#SBATCH --job-name=hmoe-m15 --nodes=4 --ntasks-per-node=8 --time=24:00:00
#SBATCH --signal=USR1@120 --requeue --open-mode=append
# M15-like many-to-many translation, English with fifteen languages; see tools/run_hmoe.sh.
langs=fr,es,sv,de,ru,uk,zh_CN,ja,it,tr,ko,pl,vi,ro,eo experts=16 strata=2 per_stratum=4,12 preset=m15 set_name=m15
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}" || exit 2
source tools/run_hmoe.sh
