#!/usr/bin/env bash
# apps/score: numbers of sacreBLEU 2.6.0 to the last digit, every user mistake, and the same numbers from eval_hmoe.
source "$(dirname "$0")/lib.sh" "$1"
score=$apps/score
cd "$work" || exit 1
printf '%s\n' 'The cat sat on the mat.' 'It costs 1,234.56 euros (today)!' 'Ein gutes „Zitat“ – ja.' 'well-known 2016-2017' >ref
printf '%s\n' 'The cat is on that mat.' 'It costs 1,234.56 euros today!' 'Ein gutes „Zitat“, ja.' 'known 2016' >ref2
printf '%s\n' 'The cat is on the mat.' 'it costs 1,234.56 euros today !' '' 'well-known 2016 - 2017' >hyp
got() { # got EXPECTED OPTIONS...: the numbers it prints, on one line
  local expected=$1; shift
  same "score $*" "$expected" "$("$score" --width 6 --score-only "$@" 2>&1 | paste -sd ' ')"
}
# as sacrebleu 2.6.0 prints them: sacrebleu ref [ref2] -i hyp -w 6 -b -f text -tok 13a ...
got '31.473472' --ref ref --metrics bleu --tokenize 13a hyp
got '21.416793' --ref ref --metrics bleu --tokenize intl hyp
got '27.980224' --ref ref --metrics bleu --tokenize zh hyp
got '61.837626' --ref ref --metrics bleu --tokenize char hyp
got '20.807791' --ref ref --metrics bleu --tokenize none hyp
got '38.037270' --ref ref --metrics bleu --lowercase hyp
got '57.447833' --ref ref --ref ref2 --metrics bleu hyp
got '35.826463' --ref ref --ref ref2 --metrics bleu --smooth floor --smooth-value 0.5 --tokenize none hyp
got '26.571084' --ref ref --metrics bleu --smooth-method add-k --tokenize none hyp
got '0.000000' --ref ref --metrics bleu --smooth none --tokenize none hyp
got '48.892302 24.598128 0.000000 100.000000' --ref ref --metrics bleu --sentence-level hyp
got '64.746009' --ref ref --metrics chrf hyp
got '68.267366' --ref ref --ref ref2 --metrics chrf++ hyp
got '72.732224 92.208166 0.000000 80.605159' --ref ref --ref ref2 --metrics chrf++ --sentence-level hyp
got '58.003341' --ref ref --metrics chrf++ --chrf-whitespace hyp
got '59.939590' --ref ref --metrics chrf++ --chrf-eps-smoothing hyp
got '66.184954' --ref ref --metrics chrf --chrf-lowercase hyp
same "a result line" "BLEU|#:2|c:lc|e:no|tok:intl|s:floor[0.10]|v:switchyard-0.1" \
  "$("$score" --ref ref --ref ref2 --metrics bleu --lowercase --tokenize intl --smooth floor --short hyp | sed 's/ = .*//')"
table=$("$score" --ref ref --metrics chrf,bleu hyp ref ref2 | awk '{ print $1, $2, $3 }' | head -n 3 | paste -sd ';')
same "a table" "system chrF2 BLEU;hyp 64.75 31.47;ref 100.00 100.00" "$table"
for i in $(seq 100); do echo 'a b c .'; done >tokenised
grep -q 'tokenised: warning: 100 lines' <<<"$("$score" --ref tokenised tokenised 2>&1)" && pass || fail "no warning about tokenised text"
same "--force" "nothing" "nothing$("$score" --force --ref tokenised tokenised 2>&1 >/dev/null)"

# mistakes
refused 'see --help' "$score"
refused 'see --help' "$score" hyp
refused 'none' "$score" --ref none hyp
refused 'none' "$score" --ref ref none
refused 'folder' "$score" --ref ref "$work"
: >empty; refused 'empty is empty' "$score" --ref ref empty
head -n 3 hyp >short; refused 'unequal.*short has 3' "$score" --ref ref short
refused 'unequal.*short has 3' "$score" --ref ref --ref short hyp
printf 'a\nb\xff\nc\nd\n' >bytes; refused 'bytes: line 2 .*UTF-8' "$score" --ref ref bytes
printf 'a\nb\nc\0\nd\n' >nul; refused 'nul: line 3 .*NUL' "$score" --ref nul hyp
refused "tokenizer '13b'" "$score" --ref ref --tokenize 13b hyp
refused 'flores200' "$score" --ref ref --tokenize flores200 hyp
refused 'spm-model' "$score" --ref ref --tokenize spm-mine hyp
refused 'none.model' "$score" --ref ref --tokenize spm-mine --spm-model none.model hyp
refused 'hyp is not a SentencePiece model' "$score" --ref ref --tokenize spm-mine --spm-model hyp hyp
refused 'empty is not a SentencePiece model' "$score" --ref ref --tokenize spm-mine --spm-model empty hyp
refused 'spm-NAME' "$score" --ref ref --spm-model hyp hyp
refused 'smooth-method' "$score" --ref ref --smooth epx hyp
refused 'smooth-value' "$score" --ref ref --smooth-value 1 hyp
refused 'smooth-value' "$score" --ref ref --smooth floor --smooth-value=-1 hyp
refused 'width' "$score" --ref ref --width 99 hyp
refused 'metrics.*ter' "$score" --ref ref --metrics bleu,ter hyp
refused 'one file' "$score" --ref ref --sentence-level hyp ref2
refused 'twice' "$score" --ref ref hyp hyp
refused 'chrF' "$score" --ref ref --metrics bleu --chrf-lowercase hyp
refused 'bleu' "$score" --ref ref --metrics chrf --tokenize intl hyp
refused 'did you mean' "$score" --ref ref --metric bleu hyp

# eval_hmoe: the same numbers from its files, and its own mistakes
"$apps/train_hmoe" --preset tiny --max-update 150 --ranks 2 --validate-interval-updates 0 --save-dir run >log 2>&1 || { fail "training"; cat log; }
eval=("$apps/eval_hmoe" --path run --source-lang syn1 --max-sentences 8 --beam 1 --tokenize char --lowercase --results-path out)
"${eval[@]}" --resource-groups 'near=syn2,syn1-syn3;far=syn4' >log 2>&1 || { fail "eval_hmoe"; cat log; }
files=(--ref out/test.syn1-syn3.ref out/test.syn1-syn3.hyp)
same "eval_hmoe and score" "$("$score" "${files[@]}" --tokenize char --lowercase | sed 's/^/syn1-syn3 /')" \
  "$(grep -E '^syn1-syn3 (BLEU|chrF)' log)"
value=$("$score" "${files[@]}" --metrics chrf++ --score-only --width 15)
grep -A12 '"syn1-syn3": {' out/test.scores.json | grep -qF "\"chrF2++\": ${value:0:12}" && pass || fail "scores.json lacks chrF2++ $value"
same "rows" "syn1-syn2 syn1-syn3 syn1-syn4 near far mean" \
  "$(sed -n '/^direction/,/^mean/p' log | awk 'NR > 1 { print $1 }' | paste -sd ' ')"
refused 'did you mean syn4' "${eval[@]}" --resource-groups 'a=syn44'
refused "found 'high'" "${eval[@]}" --resource-groups 'high'
refused 'spbleu needs' "${eval[@]}" --scoring spbleu
refused 'spm-model' "${eval[@]}" --tokenize spm-x
refused 'scoring ter' "${eval[@]}" --scoring ter
finish
