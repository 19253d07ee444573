# prepare_corpus FOLDER LANGS [OPTION ...]: sets $corpus to a corpus file of apps/prepare. Sourced by the scripts that train.
# DATA in the environment: a corpus file, or a folder of aligned raw text (train.en-fr.en, train.en-fr.fr, valid..., test...,
# plain or compressed), whose pairs are then taken; without it, this machine's message catalogues in LANGS.
prepare_corpus() {
  local folder=$1 langs=$2 input=(--gettext) pairs
  shift 2
  corpus=${DATA:-$folder/corpus.h5}
  [[ -f $corpus ]] && return
  [[ -z ${DATA:-} || -d $DATA ]] || { echo "$DATA: no such file or folder" >&2; exit 2; }
  if [[ -n ${DATA:-} ]]; then
    pairs=$(ls "$DATA" | sed -nE 's/^train\.([^.]+-[^.]+)\..*/\1/p' | sort -u | paste -sd,)
    [[ -n $pairs ]] || { echo "$DATA: no train.<a>-<b>.<lang> files" >&2; exit 2; }
    input=(--train-prefix "$DATA/train" --valid-prefix "$DATA/valid" --test-prefix "$DATA/test" --lang-pairs "$pairs")
    langs=$(tr ',-' '\n\n' <<<"$pairs" | sort -u | paste -sd,)
  fi
  corpus=$folder/corpus.h5
  mkdir -p "$folder"
  [[ -s $corpus ]] || apps/prepare translation "${input[@]}" --langs "$langs" "$@" --output "$corpus"
}
