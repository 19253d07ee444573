#!/usr/bin/env bash
# Lines of code by folder: non-blank lines that are not only comment, without tests, bench and tools.
set -euo pipefail
cd "$(dirname "$0")/.."
total=0
for folder in tensor autograd dist nn moe data apps; do
  n=$(git ls-files "$folder/*.h" "$folder/*.cpp" "$folder/*.cu" | xargs -r cat | grep -vcE '^\s*(//.*)?$' || true)
  printf '%-10s %6d\n' "$folder" "$n"
  total=$((total + n))
done
printf '%-10s %6d\n' total "$total"
git ls-files '*.h' '*.cpp' '*.cu' | xargs wc -l | awk '$2 != "total" && $1 > 400 {print "over 400 lines: " $2 " " $1}'
