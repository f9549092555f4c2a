#!/usr/bin/env bash
# Dispatch over 1,000 endpoints executes as many instructions as over one. Needs valgrind.
set -euo pipefail
cd "$(dirname "$0")/../.."

requests=2000
cargo build --quiet --release --package tachyon-callgrind
program=${CARGO_TARGET_DIR:-target}/release/count_dispatch

# Instructions inside `serve`, over all requests.
count() {
    local out
    out=$(mktemp)
    valgrind --tool=callgrind --callgrind-out-file="$out" --toggle-collect='*count_dispatch::serve*' \
        "$program" "$1" "$requests" 2>/dev/null
    sed -n 's/^\(totals\|summary\): \([0-9]*\).*/\2/p' "$out" | tail -n 1
    rm -f "$out"
}

one=$(count 1)
thousand=$(count 1000)
echo "dispatch of $requests requests: $one instructions over 1 endpoint, $thousand over 1000"
if [ "$one" != "$thousand" ]; then
    echo "dispatch depends on the number of endpoints" >&2
    exit 1
fi
