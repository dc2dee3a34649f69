#!/usr/bin/env bash
# Checks that the modules directly under a crate's root have no dependency cycle.
#
# Dependencies are paths that begin with `crate::` in code outside tests. A name that the root
# re-exports counts as its module. `--list` prints the dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."

# Prints the modules that a crate's root declares, without test modules.
modules() {
    awk '/^#\[cfg\(test\)\]$/ { test = 1; next } test && /^#\[/ { next } !test { print } { test = 0 }' "$1/src/lib.rs" |
        sed -nE 's/^ *(pub(\([a-z]+\))? )?mod ([a-z0-9_]+);.*/\3/p' | sort -u
}

# Prints the names that a crate's root re-exports, as "name module".
exports() {
    tr '\n' ' ' <"$1/src/lib.rs" |
        grep -oE 'pub(\([a-z]+\))? use (self::)?[a-z0-9_]+::[^;]*;' |
        sed -E 's/^.*use (self::)?([a-z0-9_]+)::/\2 /; s/[{},;]/ /g' |
        awk '{ for (i = 2; i <= NF; i++) { name = $i; sub(/.*::/, "", name); print name, $1 } }' || true
}

# arrows CRATE: prints "from to" for each module that names another module of the crate.
arrows() {
    local crate=$1 file own
    while read -r file; do
        own=${file#"$crate/src/"} own=${own%%/*} own=${own%.rs}
        # The code before the file's tests, without comments, as one line.
        awk '/^#\[cfg\(test\)\]$/ { held = 1; next } held && /^mod tests \{/ { exit } { held = 0; sub(/\/\/.*/, ""); print }' "$file" |
            tr '\n' ' ' |
            grep -oE 'crate::(\{[^;]*\};|[A-Za-z0-9_]+)' |
            sed -E 's/crate:://; s/[{,}]/\n/g' |
            sed -nE 's/^ *([A-Za-z0-9_]+)(::.*|;? *)?$/\1/p' |
            sed "s/^/$own /" || true
    done < <(find "$crate/src" -name '*.rs' ! -path '*/tests/*' ! -name tests.rs ! -name lib.rs ! -name main.rs) |
        sort -u |
        awk 'FILENAME == ARGV[1] { module[$1]; next }
             FILENAME == ARGV[2] { of[$1] = $2; next }
             $2 in of { $2 = of[$2] }
             $1 in module && $2 in module && $1 != $2' <(modules "$crate") <(exports "$crate") - |
        sort -u
}

failed=0
for manifest in */Cargo.toml pir/secrets/Cargo.toml pir/seal/Cargo.toml pir/seal/secrets/Cargo.toml; do
    crate=${manifest%/Cargo.toml}
    [ -f "$crate/src/lib.rs" ] || continue
    found=$(arrows "$crate")
    if [ "${1-}" = --list ]; then
        [ -z "$found" ] || sed "s|^|$crate: |" <<<"$found"
        continue
    fi
    if ! loop=$(tsort <<<"$found" 2>&1 >/dev/null); then
        echo "check-circles: modules of crate $crate depend on each other in a cycle:" >&2
        sed -n 's/^tsort: //p' <<<"$loop" | grep -v 'input contains' >&2 || true
        failed=1
    fi
done
[ "$failed" = 0 ] || exit 1
[ "${1-}" = --list ] || echo "check-circles: no cycles"
