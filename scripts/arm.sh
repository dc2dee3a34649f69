#!/usr/bin/env bash
# Runs clippy for the engine and the tests of its scan for ARM, in QEMU, or natively on an ARM
# machine. `scripts/setup.sh --arm` installs missing tools.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
if [ "$(uname -m)" != aarch64 ]; then
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
fi
engine=(--locked --release --package opaque-pir --package opaque-secrets --lib --target "$target")
cargo clippy "${engine[@]}" --tests -- -D warnings
output=$(mktemp)
trap 'rm -f "$output"' EXIT
cargo test "${engine[@]}" -- --nocapture scan:: machine:: bits:: | tee "$output"
# The kernel uses an instruction set extension, and tests skip kernels that the processor cannot
# run.
if ! grep -q 'run here:.* neon-dotprod' "$output"; then
    echo "arm: this processor or emulator has no dotprod: the kernel for ARM was not tested" >&2
    exit 1
fi
