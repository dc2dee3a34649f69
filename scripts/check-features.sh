#!/usr/bin/env bash
# Checks two features that no compiler checks: what ships has no `Client::with_randomness` (two lookups with one seed show
# both their buckets), and servers have no code that handles secrets.
set -euo pipefail
cd "$(dirname "$0")/.."

# tree EDGES CRATE ARGUMENT...: what brings CRATE with which features into the packages that the arguments name.
tree() {
    cargo tree --locked --target all --prefix none --edges "features,$1" --invert "$2" "${@:3}"
}
everything=(--workspace --features opaque-seal/secrets,opaque-pir/secrets)

# The features' names are looked for where they must be found, too.
found() {
    if ! grep --quiet "$1" <<<"$2"; then
        echo "$3" >&2
        exit 1
    fi
}
absent() {
    if grep "$1" <<<"$2"; then
        echo "$3" >&2
        exit 1
    fi
}
found test-randomness "$(tree all opaque-client "${everything[@]}")" \
    "opaque-client's tests are built without the feature test-randomness"
absent test-randomness "$(tree no-dev opaque-client "${everything[@]}")" \
    "a program is built with opaque-client's feature test-randomness"
for crate in opaque-pir opaque-seal; do
    found 'feature "secrets"' "$(tree no-dev "$crate" --package opaque-client)" \
        "opaque-client is built without the feature secrets of $crate"
    absent 'feature "secrets"' "$(tree no-dev "$crate" --package opaque-node --package opaque-prepare --package opaque-operator)" \
        "a server is built with the feature secrets of $crate: only opaque-client may hold secrets"
done
