#!/usr/bin/env bash
# Clippy and tests of the engine for ARM: in QEMU's emulator, or as they are on an ARM machine. What the
# machine lacks, `scripts/setup.sh --arm` installs.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
if [ "$(uname -m)" != aarch64 ]; then
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
fi
engine=(--locked --release --package opaque-pir --features secrets --lib --target "$target")
cargo clippy "${engine[@]}" --tests -- -D warnings
# `dotprod` is an extension: that the emulator has it is seen from the kernels' names.
cargo test "${engine[@]}" -- --nocapture scan:: kernels:: | tee /dev/stderr | grep 'run here:.* neon-dotprod' >/dev/null
