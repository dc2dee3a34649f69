#!/usr/bin/env bash
# Fuzzes every reader of bytes that come from somebody else, each for a bounded time.
#
#   scripts/fuzz.sh [SECONDS [TARGET...]]     default: 10 seconds, all targets of fuzz/Cargo.toml
#
# Works with the pinned stable toolchain: coverage needs no nightly, and no sanitizer is used, for
# all Rust code that is fuzzed here but opaque-seal's handles forbids `unsafe`. What is built and
# found stays in ~/.cache/opaque/fuzz, so that a later run starts where this one ended. An input
# that fails is written to fuzz/artifacts/TARGET.
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

# Debug assertions and overflow checks are on in what cargo-fuzz builds.
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
