#!/usr/bin/env bash
# gpu_pack.sh BUILD DIR: what a machine with a GPU needs to run tools/gpu_check.sh --bin DIR without building anything:
# programs, jq, and the shared libraries that such a machine may lack; the C library, CUDA and the driver are its own.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:?usage: gpu_pack.sh BUILD DIR} dir=${2:?usage: gpu_pack.sh BUILD DIR}
cmake --build "$build" -j "$(nproc)" --target test_gpu bench_gpu bench_models train_hmoe
rm -rf "$dir"
mkdir -p "$dir/lib"
cp "$build"/tests/test_gpu "$build"/bench_gpu "$build"/bench_models apps/train_hmoe "$(command -v jq)" "$dir"
strip --strip-debug "$dir"/{test_gpu,bench_gpu,bench_models,train_hmoe,jq}
copy_libraries() { # of the given programs or libraries
  ldd "$@" 2> /dev/null | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/(libc|libm|libdl|librt|libpthread|ld-linux.*|libcuda.*|libcublas.*|libcudnn.*|libnccl.*)\.so' | xargs -r cp -Lnt "$dir/lib" || true
}
copy_libraries "$dir"/{test_gpu,bench_gpu,bench_models,train_hmoe,jq}
# Open MPI opens its parts by name, below OPAL_PREFIX
plugins=$(find /usr/lib -type d -path '*/openmpi/lib/openmpi3' | head -n 1)
if [[ -n $plugins ]]; then
  mkdir -p "$dir/openmpi/lib" "$dir/openmpi/share"
  cp -rL "$plugins" "$dir/openmpi/lib/"
  cp -rL /usr/share/openmpi "$dir/openmpi/share/"
  copy_libraries "$dir"/openmpi/lib/openmpi3/*.so
fi
du -sh "$dir"
