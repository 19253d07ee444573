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
finish() { echo "$passed passed, $failures failed"; [[ $failures -eq 0 ]]; exit $?; }
