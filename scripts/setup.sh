#!/usr/bin/env bash
# Installs what Opaque needs and this machine lacks; what is there is left alone, so that running
# it again costs nothing.
#
#   scripts/setup.sh           C++ compiler, CMake, libclang, OpenSSL's headers, Rust
#   scripts/setup.sh --tools   cargo-deny and cargo-fuzz, built into ~/.cache/opaque/tools
set -euo pipefail
cd "$(dirname "$0")/.."

tools="$HOME/.cache/opaque/tools"
cargo_deny=0.20.2
cargo_fuzz=0.13.2
export PATH="$tools/bin:$HOME/.cargo/bin:$PATH"

say() { echo "setup: $*"; }
fail() {
    echo "setup: $*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

have_libclang() {
    local folder
    for folder in ${LIBCLANG_PATH:+"$LIBCLANG_PATH"} /usr/lib/llvm*/lib /usr/lib64 /usr/lib/*-linux-gnu; do
        compgen -G "$folder/libclang*.so*" >/dev/null && return
    done
    return 1
}

# SEAL is C++ built with CMake; libclang reads its headers for the bindings. OpenSSL is linked only
# into SEAL's build script (deny.toml tells how it gets there).
missing_packages() {
    have g++ || echo g++
    have clang || echo clang
    have_libclang || echo libclang-dev
    have cmake || echo cmake
    have make || echo make
    have git || echo git
    if ! have pkg-config; then
        echo pkg-config libssl-dev
    elif ! pkg-config --exists openssl; then
        echo libssl-dev
    fi
    have rustup || have cargo || echo curl ca-certificates
}

install_packages() {
    local packages as_root=()
    packages=$(missing_packages | xargs)
    [ -n "$packages" ] || return 0
    have apt-get || fail "needs these, under Debian's names: $packages"
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || fail "run as root: apt-get install $packages"
        as_root=(sudo)
    fi
    say "installing $packages"
    # One line for all: the list is split into words on purpose.
    # shellcheck disable=SC2086
    {
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update --quiet --quiet
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install --yes --quiet --no-install-recommends $packages
    }
}

install_rust() {
    local wanted found
    wanted=$(sed -n 's/^channel *= *"\(.*\)"/\1/p' rust-toolchain.toml)
    if ! have cargo; then
        if ! have rustup; then
            say "installing rustup"
            curl --proto '=https' --tlsv1.2 --silent --show-error --fail https://sh.rustup.rs |
                sh -s -- -y --no-modify-path --profile minimal --default-toolchain none
        fi
    fi
    if have rustup && ! rustup which --toolchain "$wanted" cargo-clippy >/dev/null 2>&1; then
        say "installing Rust $wanted"
        rustup toolchain install "$wanted" --profile minimal --component clippy,rustfmt
    fi
    found=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n' "$wanted" "$found" | sort --version-sort | head -n 1)" != "$wanted" ]; then
        fail "Rust $found is older than $wanted, and rustup is not there to install it"
    fi
}

# install_tool NAME VERSION
install_tool() {
    [ "$("$1" --version 2>/dev/null)" = "$1 $2" ] && return
    say "building $1 $2, once; two minutes or so on two cores"
    cargo install --quiet --locked --root "$tools" --target-dir "$tools/target" --version "$2" "$1"
    rm -rf "$tools/target"
}

case "${1:-}" in
"")
    install_packages
    install_rust
    ;;
--tools)
    install_tool cargo-deny "$cargo_deny"
    install_tool cargo-fuzz "$cargo_fuzz"
    ;;
*) fail "usage: scripts/setup.sh [--tools]" ;;
esac
