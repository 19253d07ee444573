#!/usr/bin/env bash
# Installs the Debian packages that the build and the tests need and that are missing, with apt.
set -euo pipefail
packages=(
  g++ cmake make pkg-config git ca-certificates   # build
  openmpi-bin libopenmpi-dev                      # dist/
  libhdf5-dev hdf5-tools                          # tensor/hdf5, h5ls for looking at checkpoints
  libsentencepiece-dev                            # data/tokenizer
  libarchive-dev                                  # data/text_files: gzip, zstd
  libicu-dev                                      # Unicode classes: BLEU, cleaning
  libxxhash-dev nlohmann-json3-dev libcli11-dev   # hashes, JSON, flags
  libgtest-dev libbenchmark-dev                   # tests, bench
  jq                                              # tools/compare_hmoe.sh
)
missing=()
for p in "${packages[@]}"; do
  [[ $(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null) == installed ]] || missing+=("$p")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0
echo "installing with apt: ${missing[*]}"
sudo=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null || { echo "these packages are missing and neither root nor sudo is here to install them: ${missing[*]}" >&2; exit 2; }
  sudo=(sudo)
fi
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
