#!/usr/bin/env bash
# Builds the peers of `make bench-peers` and of the link's benchmark into a directory: the program `peer`, an
# environment for the Python packages, and a list of the crates in the program. Peers that do not build are left out,
# with a message.
set -euo pipefail

into=$(mkdir -p "$1" && cd "$1" && pwd)
python=$2
cd "$(dirname "$0")"

crates=(iceoryx2 tonic)
packages=(iceoryx2==0.10.0 pyzmq==27.3.0 grpcio==1.85.3)

# tachyon-ipc 0.5.1 is C++23 with std::expected, and needs link-time optimisation: Debian 12 has clang 19 and its linker
# beside an older gcc. The crate's bindgen needs libclang.
needed=(clang-19 lld-19 libclang-19-dev)
have_compiler() { command -v clang++-19 >/dev/null && command -v ld.lld-19 >/dev/null; }
if ! have_compiler && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "==> installing ${needed[*]}"
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${needed[@]}" >/dev/null; } ||
        echo "apt-get could not install ${needed[*]}" >&2
fi
if have_compiler; then
    crates+=(tachyon-ipc)
    export CC=clang-19 CXX=clang++-19
else
    echo "tachyon-ipc 0.5.1 is skipped: it needs a C++23 compiler; install one as root by apt-get install ${needed[*]}" >&2
fi

features=$(IFS=,; echo "${crates[*]}")
CARGO_TARGET_DIR=$into/target cargo build --quiet --release --no-default-features --features "$features"
cp "$into/target/release/peer" "$into/peer"

[ -x "$into/venv/bin/python" ] || "$python" -m venv "$into/venv"
"$into/venv/bin/python" -m pip install --quiet "${packages[@]}"
if have_compiler; then
    # The package's objects are LLVM bitcode, which the system's linker does not read.
    LDFLAGS=-fuse-ld=lld "$into/venv/bin/python" -m pip install --quiet tachyon-ipc==0.5.1 ||
        echo 'the Python package tachyon-ipc 0.5.1 is skipped: its build failed' >&2
fi

printf 'crates = [%s]\n' "$(printf '"%s", ' "${crates[@]}")" >"$into/built.toml"
