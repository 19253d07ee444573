#!/usr/bin/env bash
# ptxas_log.sh COMPILER ARGUMENTS...: compiles; what ptxas says about registers and memory (-Xptxas -v) goes to
# <object>.ptxas, for cuda_report.sh, all other messages to standard error.
set -uo pipefail
object=
for ((i = 1; i < $#; ++i)); do
  next=$((i + 1))
  [[ ${!i} == -o ]] && object=${!next}
done
[[ $object == *.o ]] || exec "$@"
"$@" 2>"$object.ptxas"
status=$?
grep -vE '^ptxas info|^ +[0-9]+ bytes stack frame|^$' "$object.ptxas" >&2
exit $status
