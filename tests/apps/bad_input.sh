#!/usr/bin/env bash
# Every user mistake: one clear line that names its cause, exit code 2, no hang of any process.
source "$(dirname "$0")/lib.sh" "$1"
tiny=(--preset tiny --max-update 2 --ranks 2 --save-dir)
t=$apps/train_hmoe
# flags
refused 'max-updat.*max-update' "$t" --max-updat 3
refused 'max-update' "$t" --max-update many
refused 'max-update' "$t" --max-update=-5
refused 'dropout' "$t" "${tiny[@]}" "$work/a" --dropout 1.5
refused 'optimizer|adam' "$t" "${tiny[@]}" "$work/a" --optimizer sgdx
refused 'fp16|half' "$t" --fp16
refused 'moe-eom' "$t" --moe-eom 1.5
refused 'cmr' "$t" --moe-type cmr
refused 'preset' "$t" --preset huge
refused 'none.toml' "$t" --config "$work/none.toml"
refused 'lr' "$t" "${tiny[@]}" "$work/a" --lr nan
refused 'heads' "$t" "${tiny[@]}" "$work/a" --encoder-attention-heads 5
# layout
refused 'expert' "$t" --preset tiny --ranks 3 --moe-expert-count 4 --hmoe-layer 0 --max-update 1 --save-dir "$work/a"
refused 'strat|dynamic' "$t" "${tiny[@]}" "$work/a" --moe-expert-count 4 --hmoe-layer 2 --hmoe-dynamic 2,3
refused 'strat|dynamic' "$t" "${tiny[@]}" "$work/a" --moe-expert-count 4 --hmoe-layer 3 --hmoe-dynamic 4,0,0
refused 'ranks' mpirun -np 3 --oversubscribe "$t" --preset tiny --ranks 2 --max-update 1 --save-dir "$work/a"
# data
refused 'none.h5' "$t" "${tiny[@]}" "$work/a" --data "$work/none.h5"
: >"$work/empty.h5"; refused 'empty.h5' "$t" "${tiny[@]}" "$work/a" --data "$work/empty.h5"
head -c 5000 /dev/urandom >"$work/noise.h5"; refused 'noise.h5' "$t" "${tiny[@]}" "$work/a" --data "$work/noise.h5"
refused 'lang' "$t" "${tiny[@]}" "$work/a" --langs xx,yy
refused 'pair' "$t" "${tiny[@]}" "$work/a" --lang-pairs xx-yy
# run folder
mkdir "$work/file"; : >"$work/plain"
refused 'plain' "$t" "${tiny[@]}" "$work/plain/run"
"$t" "${tiny[@]}" "$work/run" >"$work/run.log" 2>&1 || { fail "the tiny run"; cat "$work/run.log"; }
refused 'resume latest.*overwrite|overwrite.*resume latest' "$t" "${tiny[@]}" "$work/run"
refused 'encoder-layers' "$t" "${tiny[@]}" "$work/run" --resume latest --encoder-layers 3
refused 'seed' "$t" "${tiny[@]}" "$work/run" --resume latest --seed 7
# damaged checkpoints
last=$(readlink -f "$work/run/checkpoints/checkpoint_last")
[[ -n $last ]] || fail "no checkpoint_last"
cp -r "$work/run" "$work/cut"; shard=$(ls "$work"/cut/checkpoints/step_*/shard_00000.h5 | tail -n 1)
truncate -s -100 "$shard"
refused 'shard_00000.h5' "$apps/inspect" --check "$work/cut"
refused 'shard_00000.h5' "$apps/eval_hmoe" --path "$work/cut"
cp -r "$work/run" "$work/flip"; shard=$(ls "$work"/flip/checkpoints/step_*/shard_00000.h5 | tail -n 1)
printf '\xff' | dd of="$shard" bs=1 seek=3000 conv=notrunc 2>/dev/null
refused 'shard_00000.h5' "$apps/inspect" --check "$work/flip"
cp -r "$work/run" "$work/half"; rm "$work"/half/checkpoints/step_*/manifest.json
refused 'manifest' "$apps/inspect" --check "$work/half"
refused 'lang' "$apps/eval_hmoe" --path "$work/run" --source-lang zz --target-lang qq
refused 'path' "$apps/eval_hmoe"
refused '.' "$apps/translate" --path "$work/none" --source-lang a --target-lang b
# raw text
printf 'one two three\nfour five six\n' >"$work/train.en-xx.en"; printf 'eins\n' >"$work/train.en-xx.xx"
refused 'line' "$apps/prepare" translation --train-prefix "$work/train" --lang-pairs en-xx --output "$work/c.h5"
: >"$work/void.en-xx.en"; : >"$work/void.en-xx.xx"
refused 'empty' "$apps/prepare" translation --train-prefix "$work/void" --lang-pairs en-xx --output "$work/c.h5"
refused 'gone' "$apps/prepare" translation --train-prefix "$work/gone" --lang-pairs en-xx --output "$work/c.h5"
refused '.' "$apps/prepare" translation --gettext "$work/file" --output "$work/c.h5"
printf 'zwei drei\n' >>"$work/train.en-xx.xx"
refused 'vocab' "$apps/prepare" translation --train-prefix "$work/train" --lang-pairs en-xx --output "$work/c.h5" --vocab-size 32000
# reports
refused 'run folder' "$apps/report"
refused 'none' "$apps/report" "$work/none"
refused 'log.jsonl' "$apps/report" "$work/file"
: >"$work/file/log.jsonl"; refused 'holds no record' "$apps/report" "$work/file"
refused 'none/page.html.*cannot be written' "$apps/report" "$work/run" --output "$work/none/page.html"
refused 'outputs.*output' "$apps/report" "$work/run" --outputs x
finish
