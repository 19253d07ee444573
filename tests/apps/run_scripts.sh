#!/usr/bin/env bash
# tools/run_m4.sh, run_m15.sh and run_multi30k.sh: from a folder of raw text to scores, for base, eom and cmr; --eval-only
# scores the same again; wrong calls.  run_scripts.sh APPS [MAX_UPDATE]
source "$(dirname "$0")/lib.sh" "$1"
export MAX_UPDATE=${2:-50} PRESET=tiny RANKS=2 VOCAB_SIZE=60 DATA=$work/raw
cd "$(dirname "$0")/../.." || exit 1
mkdir "$work/tree" && ln -s "$PWD/tools" "$apps" "$work/tree" && export SLURM_SUBMIT_DIR=$work/tree  # the programs under test

# Languages that number the same words differently; aa-en also compressed
mkdir "$DATA"
sentences() { # SPLIT COUNT LANG SEED
  awk -v n="$2" -v lang="$3" -v seed="$4" 'BEGIN {
    srand(seed); split("en aa bb", langs); shift = lang == "aa" ? 7 : lang == "bb" ? 3 : 0
    for (i = 0; i < n; ++i) {
      line = ""; length_ = 3 + int(rand() * 5)
      for (j = 0; j < length_; ++j) line = line " " substr("kaletomiruposenuvadi", 1 + 2 * ((int(rand() * 10) + shift) % 10), 2) lang
      print substr(line, 2)
    } }' >"$DATA/$1.$5.$3"
}
seed=0
for pair in en-aa en-bb; do
  for split in train:400 valid:20 test:20; do
    seed=$((seed + 1))
    for lang in ${pair/-/ }; do sentences "${split%:*}" "${split#*:}" "$lang" $seed $pair; done
  done
done
gzip "$DATA/train.en-aa.aa"

run() { # NAME SCRIPT ARGS: scores of a run
  local name=$1 script=$2; shift 2
  bash "tools/$script" "$work/$name" "$@" >"$work/$name.log" 2>&1 || { fail "$script $*: $(tail -n 1 "$work/$name.log")"; return; }
  if grep -q BLEU "$work/$name/scores.txt" && [[ $(ls "$work/$name"/translations/*.hyp | wc -l) == 4 ]]; then pass; else fail "$script $*: no scores"; fi
}
run base run_m4.sh base 8 4 2,2,2,2
run eom run_m4.sh eom 8 0
run cmr run_m4.sh cmr 8 0
run m15 run_m15.sh base 4 2 2,2
# Multi30k's file names, one direction
mkdir "$work/multi30k"
for split in train:train valid:val test:test_2016_flickr; do
  cp "$DATA/${split%:*}.en-bb.en" "$work/multi30k/${split#*:}.en" && cp "$DATA/${split%:*}.en-bb.bb" "$work/multi30k/${split#*:}.de"
done
if VOCAB_SIZE=45 bash "$work/tree/tools/run_multi30k.sh" "$work/multi30k" "$work/30k" --preset tiny --max-update 4 >"$work/30k.log" 2>&1 &&
  grep -q BLEU "$work/30k/scores.txt" && [[ $(ls "$work"/30k/translations/*.hyp) == *test.en-de.hyp ]]; then pass; else fail "run_multi30k.sh: $(tail -n 1 "$work/30k.log")"; fi
bash tools/run_multi30k.sh 2>/dev/null; [[ $? == 2 ]] && pass || fail "run_multi30k.sh without arguments"
cp "$work/base/scores.txt" "$work/first"
run base run_m4.sh base 8 4 2,2,2,2 --eval-only
cmp -s "$work/first" "$work/base/scores.txt" && pass || fail "--eval-only scores otherwise"

refuses() { # WHAT MESSAGE COMMAND...
  local what=$1 message=$2 rc=0; shift 2
  "$@" >"$work/out" 2>&1 || rc=$?
  [[ $rc == 2 ]] && grep -q -- "$message" "$work/out" && pass || fail "$what: exit $rc: $(tail -n 1 "$work/out")"
}
mkdir "$work/empty"
refuses "no arguments" SAVE_PATH bash tools/run_m4.sh
refuses "empty DATA" "no train" env DATA="$work/empty" bash tools/run_m4.sh "$work/x" base 8 4 2,2,2,2
refuses "unknown type" moe-type bash tools/run_m4.sh "$work/x" wide 8 4 2,2,2,2
refuses "wrong sum" hmoe-dynamic bash tools/run_m4.sh "$work/x" base 8 4 2,2,2,3
finish
