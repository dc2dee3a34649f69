#!/usr/bin/env bash
# Programs are built without `Client::with_randomness`: two lookups with one seed show both their buckets.
set -euo pipefail
cd "$(dirname "$0")/.."

features() {
    cargo tree --locked --workspace --features opaque-seal/secrets,opaque-pir/secrets \
        --target all --prefix none --edges "features,$1" --invert opaque-client
}

# The feature's name is looked for where it must be found, too.
if ! grep --quiet test-randomness <<<"$(features all)"; then
    echo "opaque-client's tests are built without the feature test-randomness" >&2
    exit 1
fi
shipped=$(features no-dev)
if grep test-randomness <<<"$shipped"; then
    echo "a program is built with opaque-client's feature test-randomness" >&2
    exit 1
fi
