# Helpers of the shell tests. Usage in a test: source lib.sh APPS_DIR
set -uo pipefail
apps=$(cd "${1:?folder of the programs}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 NO_COLOR=1
failures=0 passed=0

fail() { echo "FAILED: $*"; failures=$((failures + 1)); }
pass() { passed=$((passed + 1)); }
same() { # same WHAT EXPECTED GOT
  if [[ "$2" == "$3" && -n "$2" ]]; then pass; else fail "$1: expected '$2', got '$3'"; fi
}
mpi() { local n=$1; shift; mpirun -np "$n" --oversubscribe --bind-to none "$@"; }
digest() { "$apps/inspect" --digest "$1" | tail -n 1; }
losses() { # every loss of a run's log, all digits
  grep -o '"\(loss\|nll_loss\|gnorm\)":[^,}]*' "$1/log.jsonl" | tr '\n' ' '
}
refused() { # refused PATTERN COMMAND...: exit code 2 within 30 s, and a line that matches
  local pattern=$1 out code; shift
  out=$(timeout 30 "$@" 2>&1 >/dev/null </dev/null); code=$?
  if [[ $code -ne 2 ]]; then fail "exit code $code instead of 2: $*"; echo "$out" | tail -n 3
  elif ! grep -qiE -- "$pattern" <<<"$out"; then fail "no line like /$pattern/: $*"; echo "$out" | tail -n 3
  elif [[ $1 != mpirun && $(grep -vc "^prepare: .*\(pairs from\|training\)" <<<"$out") -gt 1 ]]; then fail "more than one line: $*"; echo "$out" | head -n 6
  else pass; fi
}
finish() { echo "$passed passed, $failures failed"; [[ $failures -eq 0 ]]; exit $?; }
