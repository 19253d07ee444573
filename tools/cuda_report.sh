#!/usr/bin/env bash
# cuda_report.sh BUILD [-v]: registers, stack and spills of every CUDA kernel, as ptxas reported them while BUILD was
# made (tools/ptxas_log.sh). Fails on spills, on a stack frame and on more registers than tools/cuda_budget.txt
# allows, and where ptxas says that it serialised wgmma or ignored setmaxnreg. -v: all kernels, not only the worst.
# exit code 77: BUILD has no CUDA objects.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?usage: cuda_report.sh BUILD [-v]} verbose=${2:-}
mapfile -t logs < <(find "$build" -name '*.cu.o.ptxas' | sort)
[[ ${#logs[@]} -gt 0 ]] || { echo "no CUDA objects in $build"; exit 77; }

# one line for each kernel and architecture: file, arch, registers, stack, spill bytes, name
table=$(for log in "${logs[@]}"; do
  file=${log##*/}
  [[ -e tensor/cuda/${file%.o.ptxas} ]] || continue # an object of a source that is gone
  awk -v file="${file%.o.ptxas}" '
    /Compiling entry function/ { split($0, part, "\047"); name = part[2]; arch = part[4]; stack = spill = 0 }
    /bytes stack frame/ { if ($1 > stack) stack = $1; spill += $5 + $9 } # also of the functions that it calls
    /Used [0-9]+ registers/ {
      match($0, /Used [0-9]+/)
      print file, arch, substr($0, RSTART + 5, RLENGTH - 5), stack, spill, name
    }' "$log"
done | c++filt | sed -E 's/\(anonymous namespace\):://g; s/switchyard::(cuda::)?//g')

failed=0
awk -v verbose="$verbose" '
  FNR == NR {
    if ($0 !~ /^ *(#|$)/) { pattern[++n] = $1; limit[n] = $2; may_stack[n] = $3 == "stack" }
    next
  }
  {
    name = $6; for (i = 7; i <= NF; ++i) name = name " " $i
    sub(/^void /, "", name)
    short = name; sub(/\(.*/, "", short)
    for (i = 1; i <= n && short !~ pattern[i]; ++i) {}
    bad = ""
    if ($5 > 0) bad = bad " spills"
    if ($4 > 0 && !may_stack[i]) bad = bad " stack"
    if ($3 > limit[i]) bad = bad " registers>" limit[i]
    if (bad) ++failures
    ++kernels[$2]; if ($3 > most[$2]) { most[$2] = $3; worst[$2] = short }
    if (bad || verbose) printf "%-22s %-7s %3d registers %4d stack %4d spilled  %s%s\n", $1, $2, $3, $4, $5, short, bad ? "  <--" bad : ""
  }
  END {
    for (arch in kernels) printf "%s: %d kernels, most registers %d (%s)\n", arch, kernels[arch], most[arch], worst[arch]
    exit failures > 0
  }' tools/cuda_budget.txt <(printf '%s\n' "$table") || failed=1
if grep -hE 'C7508|C7510|[Ww]gmma.*serializ|setmaxnreg.*ignored' "${logs[@]}"; then failed=1; fi
[[ $failed -eq 0 ]] && echo "within the budget" || { echo "over the budget"; exit 1; }
