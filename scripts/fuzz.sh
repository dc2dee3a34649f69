#!/usr/bin/env bash
# Fuzzes every parser of untrusted bytes, each for a limited time.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]     default: 10 seconds, all targets of fuzz/Cargo.toml
#
# It uses the pinned stable toolchain, because coverage needs no nightly. It uses no sanitizer,
# because all fuzzed Rust code except opaque-seal's handles forbids `unsafe`. Builds and the corpus
# stay in ~/.cache/opaque/fuzz, so that a later run continues from this one. A failing input is
# written to fuzz/artifacts/TARGET.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-10}
case "$seconds" in
'' | *[!0-9]* | 0)
    echo "usage: scripts/fuzz.sh [SECONDS [TARGET...]]" >&2
    exit 2
    ;;
esac
shift || true

cache="$HOME/.cache/opaque/fuzz"
export PATH="$HOME/.cache/opaque/tools/bin:$HOME/.cargo/bin:$PATH"
command -v cargo-fuzz >/dev/null || scripts/setup.sh --tools

targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(cargo fuzz list)
fi

# cargo-fuzz builds with debug assertions and overflow checks.
CARGO_TARGET_DIR="$cache/target"
export CARGO_TARGET_DIR
echo "fuzz: building ${#targets[@]} targets (SEAL takes minutes, once)"
for target in "${targets[@]}"; do
    CARGO_TERM_QUIET=true cargo fuzz build --sanitizer none "$target"
done
programs="$cache/target/$(rustc -vV | sed -n 's/^host: //p')/release"

run_target() {
    local target=$1 log
    log="$cache/$target.log"
    mkdir -p "$cache/corpus/$target" "fuzz/artifacts/$target"
    if "$programs/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="fuzz/artifacts/$target/" \
        "$cache/corpus/$target" "fuzz/seeds/$target" >"$log" 2>&1; then
        echo "fuzz: $target: $(grep '^Done' "$log")"
    else
        tail -n 40 "$log" >&2
        echo "fuzz: $target FAILED; the input is under fuzz/artifacts/$target" >&2
        return 1
    fi
}
export -f run_target
export cache programs seconds

# Each target uses one core.
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'run_target {}'
