#!/usr/bin/env bash
# Checks a cargo feature that the compiler does not check. Shipped programs must not have
# `Client::with_randomness`, because two lookups with the same seed reveal their buckets.
set -euo pipefail
cd "$(dirname "$0")/.."

# tree EDGES: prints the dependency paths to opaque-client and its features.
tree() {
    cargo tree --locked --workspace --target all --prefix none --edges "features,$1" --invert opaque-client
}

# The feature is also searched where it must be enabled, so that a renamed feature is noticed.
if ! grep --quiet test-randomness <<<"$(tree all)"; then
    echo "opaque-client's tests are built without the feature test-randomness" >&2
    exit 1
fi
if grep test-randomness <<<"$(tree no-dev)"; then
    echo "a program is built with opaque-client's feature test-randomness" >&2
    exit 1
fi
