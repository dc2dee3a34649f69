#!/usr/bin/env bash
# Checks a feature that no compiler checks: what ships has no `Client::with_randomness`, because two lookups with one seed
# show both their buckets.
set -euo pipefail
cd "$(dirname "$0")/.."

# tree EDGES: what brings opaque-client with which features into the workspace's packages.
tree() {
    cargo tree --locked --workspace --target all --prefix none --edges "features,$1" --invert opaque-client
}

# The feature's name is looked for where it must be found, too.
if ! grep --quiet test-randomness <<<"$(tree all)"; then
    echo "opaque-client's tests are built without the feature test-randomness" >&2
    exit 1
fi
if grep test-randomness <<<"$(tree no-dev)"; then
    echo "a program is built with opaque-client's feature test-randomness" >&2
    exit 1
fi
