#!/usr/bin/env bash
# gpu_check.sh: everything that only a GPU can show, in under ten minutes: docs/gpu.md.
#   --stages LIST   of build,parity,moe,train,sanitizer,bench,model (default: all, in this order)
#   --bin DIR       programs made elsewhere (tools/gpu_pack.sh) in place of a build here
#   --build DIR     build folder (default build-gpu)
#   --only PART     parity, bench, model: only tests, kernels and models whose name has PART
#   --log FILE      full output (default gpu_check.log)
#   --dry           without a GPU: the emulated GPU and the CPU take its place, sizes are tiny
# A short table comes last. exit code: 1 when a stage failed. Failing results stop bench and model.
set -uo pipefail
cd "$(dirname "$0")/.."
all=build,parity,moe,train,sanitizer,bench,model
stages=$all bin= build=build-gpu only= log=gpu_check.log dry=
usage() { sed -n '2,10s/^# \{0,1\}//p' "$0"; exit 2; }
while [[ $# -gt 0 ]]; do
  case "$1" in
    --dry) dry=1; shift; continue ;;
    --stages|--bin|--build|--only|--log) [[ $# -ge 2 ]] || usage; printf -v "${1#--}" %s "$2"; shift 2 ;;
    *) usage ;;
  esac
done
for s in ${stages//,/ }; do
  [[ ",$all," == *",$s,"* ]] || { echo "unknown stage '$s': one of $all" >&2; exit 2; }
done

jobs=4 test_limit=60 # tests at a time, seconds for one
[[ -z $dry ]] || jobs=$(nproc) test_limit=600
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
: > "$log"
say() { echo "$*" | tee -a "$log"; }

[[ -z $bin || -z $dry ]] || { echo "--dry builds its own programs: leave out --bin" >&2; exit 2; }
[[ -z $bin ]] || bin=$(realpath "$bin")
# The programs. The dry run takes those of the emulated GPU.
if [[ -n $bin ]]; then
  tests=$bin/test_gpu bench=$bin/bench_gpu models=$bin/bench_models train=$bin/train_hmoe
  LD_LIBRARY_PATH=$bin/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} PATH=$PATH:$bin
  # one process, without the helper program that Open MPI would start
  [[ ! -d $bin/openmpi ]] || export OPAL_PREFIX=$bin/openmpi OMPI_MCA_ess_singleton_isolated=1
else
  tests=$build/tests/test_gpu bench=$build/bench_gpu models=$build/bench_models train=apps/train_hmoe
  [[ -z $dry ]] || tests=$build/tests/test_cuda train=$build/tests/train_hmoe_emulated
fi
LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/local/cuda/lib64
PATH=$PATH:/usr/local/cuda/bin
export PATH LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-} OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# --- stages: each prints to the log, leaves one line in $detail, and returns 0, 1 or 77 (left out) ---------------
logged() { # SECONDS COMMAND...
  local limit=$1 status; shift
  echo "\$ $*" >> "$log"
  timeout -k 5 "$limit" "$@" 2>&1 | tee -a "$log" > "$work/out"
  status=${PIPESTATUS[0]}
  [[ $status -ne 124 && $status -ne 137 ]] || echo "TIMEOUT after $limit s" | tee -a "$log" >> "$work/out"
  return "$status"
}
last_line() { grep -v '^ *$' "$work/out" | tail -n 1 | cut -c1-110; }

stage_build() {
  if command -v nvidia-smi > /dev/null; then
    nvidia-smi >> "$log" 2>&1
    detail=$(nvidia-smi --query-gpu=name,driver_version,clocks.max.sm --format=csv,noheader 2>&1 | head -n 1)
  else
    detail="no nvidia-smi"
  fi
  if [[ -z $bin ]]; then
    local targets=(test_gpu bench_gpu bench_models train_hmoe)
    [[ -z $dry ]] || targets=(test_cuda bench_gpu bench_models train_hmoe_emulated)
    logged 120 cmake -S . -B "$build" || { detail="cmake: $(last_line)"; return 1; }
    grep -q '^-- CUDA: none' "$work/out" && [[ -z $dry ]] && { detail="cmake found no CUDA compiler"; return 1; }
    grep -q '^-- CUDA: none' "$work/out" && targets=("${targets[@]/bench_gpu}")
    logged 900 cmake --build "$build" -j "$(nproc)" --target ${targets[@]} || { detail="build: $(last_line)"; return 1; }
  fi
  local program missing
  for program in "$tests" "$bench" "$models" "$train"; do
    [[ -x $program ]] || { [[ -n $dry && $program == "$bench" ]] && continue; detail="$program is missing"; return 1; }
    missing=$(ldd "$program" 2> /dev/null | awk '/not found/ {printf " %s", $1}')
    [[ -z $missing ]] || { detail="$program: libraries not found:$missing"; return 1; }
  done
  if [[ -z $dry ]] && command -v cuobjdump > /dev/null; then # which instructions the matrix kernels really use
    cuobjdump --dump-sass "$tests" 2> /dev/null |
      awk '/Function :/ {f = $3} /HGMMA/ {++n[f " HGMMA"]} /HMMA/ {++n[f " HMMA"]} / LDG\.E.*128/ {++n[f " LDG.128"]} / (LDL|STL)/ {++n[f " LOCAL"]}
           END {for (k in n) print n[k], k}' | c++filt | sort -k2 >> "$log"
  fi
}

# Every test in a process of its own, some side by side: one that dies or hangs takes no other with it.
gtests() { # SECONDS FILTER
  local limit=$1 list name status passed=0 skipped=0 failed=()
  list=$("$tests" --gtest_filter="$2" --gtest_list_tests 2>> "$log" |
    awk '/^[^ ]/ {suite = $1; next} {print suite $1}') || { detail="$tests does not start"; return 1; }
  [[ -n $list ]] || { detail="no tests"; return 77; }
  rm -rf "$work/tests"
  mkdir "$work/tests"
  export tests work limit
  xargs -P "$jobs" -I{} bash -c 'timeout -k 5 "$limit" "$tests" --gtest_filter={} > "$work/tests/out.${1//\//_}" 2>&1
    echo "$? $1 out.${1//\//_}" >> "$work/tests/status"' _ {} <<< "$list" 2>> "$log"
  while read -r status name out; do
    cat "$work/tests/$out" >> "$log"
    if grep -q '^\[  SKIPPED \]' "$work/tests/$out" && [[ $status -eq 0 ]]; then skipped=$((skipped + 1))
    elif [[ $status -eq 0 ]]; then passed=$((passed + 1))
    elif [[ $status -eq 124 || $status -eq 137 ]]; then failed+=("$name (hangs)")
    elif grep -q '^\[  FAILED  \]' "$work/tests/$out"; then failed+=("$name")
    else failed+=("$name (dies)")
    fi
  done < "$work/tests/status"
  detail="$passed passed, $skipped skipped, ${#failed[@]} failed"
  [[ ${#failed[@]} -eq 0 ]] || detail+=": $(printf '%s ' "${failed[@]:0:4}")"
  [[ ${#failed[@]} -eq 0 && $passed -gt 0 ]]
}
whole='*Moe*:*Training*:*Train*' # tests of more than one kernel
stage_parity() { gtests "$test_limit" "${only:+*$only*}-$whole"; }
stage_moe() {
  export EMULATED_GPU_OPEN=1 # from here on: quicker, its memory was watched over in parity
  gtests "$test_limit" "$whole"
}

# Losses of the first updates on the GPU, in both precisions, against those on the CPU
stage_train() {
  local updates=20 run device precision limit off config=(--preset tiny --log-interval 1 --validate-interval-updates 0 --save-interval-updates 0 --overwrite)
  [[ -z $dry ]] || updates=2
  detail="largest relative difference of $updates losses:"
  for run in "cpu fp32 0" "cuda fp32 1e-4" "cuda bf16 0.02"; do
    read -r device precision limit <<< "$run"
    logged 180 "$train" --device "$device" --precision "$precision" "${config[@]}" --max-update "$updates" --save-dir "$work/$device.$precision" ||
      { detail="--device $device --precision $precision: $(last_line)"; return 1; }
    cat "$work/$device.$precision/log.jsonl" >> "$log"
    [[ $device != cpu ]] || continue
    off=$(jq -n --slurpfile a "$work/cpu.fp32/log.jsonl" --slurpfile b "$work/$device.$precision/log.jsonl" '
      def losses: map(select(.kind == "train") | .loss);
      ($a | losses) as $x | ($b | losses) as $y |
      if ($x | length) == 0 or ($x | length) != ($y | length) then 1
      else [range($x | length) as $i | ($x[$i] - $y[$i]) / $x[$i] | fabs] | max end') || { detail="jq failed"; return 1; }
    detail+=" $precision $off (limit $limit)"
    jq -en "$off <= $limit" > /dev/null || return 1
  done
}

stage_sanitizer() {
  [[ -z $dry ]] || { detail="needs a GPU (the emulated one checks memory in parity)"; return 77; }
  command -v compute-sanitizer > /dev/null || { detail="no compute-sanitizer here"; return 77; }
  local tool errors status=0
  detail=
  for tool in memcheck racecheck initcheck; do
    # only what is small: a checked kernel takes ten times and more
    logged 60 compute-sanitizer --tool "$tool" --error-exitcode 9 "$tests" --gtest_filter="-$whole:*Large*:*Death*"
    case $? in
      0) errors=ok ;;
      124|137) errors="no error in 60 s"; grep -qE '^=========.*(Invalid|hazard|Uninitialized|error)' "$work/out" && { errors=errors; status=1; } ;;
      *) errors=$(grep -E 'ERROR SUMMARY|RACECHECK SUMMARY' "$work/out" | tail -n 1 | sed 's/=* *//'); errors=${errors:-$(last_line)}; status=1 ;;
    esac
    detail+="$tool: $errors, $(grep -c '^\[       OK \]' "$work/out") tests; "
  done
  return $status
}

stage_bench() {
  [[ -x $bench ]] || { detail="bench_gpu needs the CUDA toolkit"; return 77; }
  local options=(--only "$only") status
  [[ -z $dry ]] || options+=(--dry)
  logged 240 "$bench" "${options[@]}"
  status=$?
  cat "$work/out"
  detail=$(grep '^ceilings' "$work/out" || echo "$(grep -cE ' (GB/s|TFLOP/s) ' "$work/out") kernels")
  [[ $status -eq 0 ]] || detail="$(grep -c FAILED "$work/out") kernels failed; $(last_line)"
  return $status
}

stage_model() {
  local preset presets=(demo m4) updates=30 options=(--device cuda) dry_option=()
  [[ -z $dry ]] || { presets=(tiny); updates=3; options=(--device cpu); dry_option=(--dry); }
  detail=
  for preset in "${presets[@]}"; do
    logged 120 "$train" "${options[@]}" --precision bf16 --preset "$preset" --max-update "$updates" --log-interval $((updates / 3)) \
      --validate-interval-updates 0 --save-interval-updates 0 --overwrite --save-dir "$work/model" ||
      { detail+="$preset: $(last_line)"; return 1; }
    cat "$work/model/log.jsonl" >> "$log"
    # forward and backward: three times the forward FLOPs
    detail+="$preset: $(jq -rs 'map(select(.kind == "train")) | last |
      "\(.tokens_per_second | round) tokens/s, \(.tokens_per_second * .flops_per_token * 3 / 1e9 | round / 1000) TFLOP/s, \(.peak_mib | round) MiB"' \
      "$work/model/log.jsonl"); "
  done
  logged 180 "$models" "${options[@]}" "${dry_option[@]}" --only "$only" || { detail+="bench_models: $(last_line)"; return 1; }
  cat "$work/out"
  if python3 -c 'import torch' 2> /dev/null; then # what a user would take instead
    logged 240 python3 bench/pytorch_models.py "${dry_option[@]}" --only "$only" || detail+="PyTorch: $(last_line)"
    cat "$work/out"
  else
    say "no PyTorch here: nothing to compare with"
  fi
}

# --- run ----------------------------------------------------------------------------------------------------------
wrong=0 failed=0 table=
[[ -n $dry ]] || command -v nvidia-smi > /dev/null || say "warning: no nvidia-smi here; --dry runs without a GPU"
for s in ${all//,/ }; do
  [[ ",$stages," == *",$s,"* ]] || continue
  start=$SECONDS detail=
  echo "== $s" | tee -a "$log"
  if [[ $wrong -ne 0 && $s =~ ^(bench|model)$ ]]; then
    result=skipped detail="results are wrong"
  else
    "stage_$s"
    case $? in
      0) result=ok ;;
      77) result=skipped ;;
      *) result=FAILED failed=1
         [[ $s == sanitizer || $s == bench || $s == model ]] || wrong=1 ;;
    esac
  fi
  table+=$(printf '%-10s %-8s %5d s  %s' "$s" "$result" $((SECONDS - start)) "$detail")$'\n'
  [[ $s == build && $result == FAILED ]] && break
done
say
say "$(printf '%-10s %-8s %7s  %s' stage result time "")"
say "${table%$'\n'}"
say "full output: $log"
exit $failed
