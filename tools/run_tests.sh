#!/usr/bin/env bash
# run_tests.sh BUILD SANITIZE: runs ctest with what each kind of build needs.
set -euo pipefail
build=$1 sanitize=${2:-}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
args=()
case "$sanitize" in
  thread)  # one process, thread ranks, one OpenMP thread: libgomp and Open MPI are not instrumented
    export OMP_NUM_THREADS=1 TSAN_OPTIONS="suppressions=$PWD/tools/tsan.supp halt_on_error=1"
    args+=(-LE mpi) ;;
  ?*)      # leaks inside Open MPI and HDF5 at exit are theirs
    export ASAN_OPTIONS="detect_leaks=1" LSAN_OPTIONS="suppressions=$PWD/tools/lsan.supp print_suppressions=0"
    export UBSAN_OPTIONS="print_stacktrace=1" ;;
esac
exec ctest --test-dir "$build" --output-on-failure --no-tests=error "${args[@]}"
