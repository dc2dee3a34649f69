#!/usr/bin/env bash
# Installs what Opaque needs and this machine lacks; what is there is left alone, so that running
# it again costs nothing.
#
#   scripts/setup.sh           C++ compiler, CMake, libclang, OpenSSL's headers, Rust
#   scripts/setup.sh --tools   cargo-deny, cargo-fuzz and checkov, put into ~/.cache/opaque/tools
#   scripts/setup.sh --kubernetes
#                              etcd and kube-apiserver for the tests of e2e/, put into
#                              ~/.cache/opaque/kubernetes/VERSION/bin; no daemon is installed or started
set -euo pipefail
cd "$(dirname "$0")/.."

tools="$HOME/.cache/opaque/tools"
cargo_deny=0.20.2
cargo_fuzz=0.13.2
checkov=3.3.30
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

# as_root WHY COMMAND...
as_root() {
    local why=$1 sudo=()
    shift
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || fail "run as root: $why"
        sudo=(sudo)
    fi
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive "$@"
}

install_packages() {
    local packages
    packages=$(missing_packages | xargs)
    [ -n "$packages" ] || return 0
    have apt-get || fail "needs these, under Debian's names: $packages"
    say "installing $packages"
    as_root "apt-get install $packages" apt-get update --quiet --quiet
    # One line for all: the list is split into words on purpose.
    # shellcheck disable=SC2086
    as_root "apt-get install $packages" \
        apt-get install --yes --quiet --no-install-recommends $packages
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

# A Python program in a virtual environment of its own; it scans what the charts render.
install_checkov() {
    local folder="$tools/checkov"
    [ "$("$folder/bin/checkov" --version 2>/dev/null)" = "$checkov" ] && return
    say "installing checkov $checkov, once; a minute or so"
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        have apt-get || fail "needs python3 with its modules venv and ensurepip"
        as_root "apt-get install python3-venv" apt-get update --quiet --quiet
        as_root "apt-get install python3-venv" \
            apt-get install --yes --quiet --no-install-recommends python3-venv
    fi
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check "checkov==$checkov"
}

# Debian's package unpacked, not installed: its installation would start a daemon.
# get_etcd FOLDER
get_etcd() {
    [ ! -x "$1/etcd" ] || return 0
    have apt-get || fail "needs etcd as $1/etcd"
    say "unpacking etcd from Debian's etcd-server"
    local work
    work=$(mktemp -d "$1/etcd.XXXXXX")
    (
        cd "$work"
        chmod 755 .
        apt-get download --quiet --quiet etcd-server 2>/dev/null || {
            as_root "apt-get update" apt-get update --quiet --quiet
            apt-get download --quiet --quiet etcd-server
        }
        dpkg-deb --extract etcd-server_*.deb unpacked
        mv unpacked/usr/bin/etcd ../etcd
    )
    rm -rf "$work"
}

# build_server FOLDER VERSION NAME: no release has it for every platform, and `go install` refuses a
# module with `replace` lines, so that e2e/servers is a module around it.
build_server() {
    [ ! -x "$1/$3" ] || return 0
    have go || fail "needs Go $(sed -n 's/^go //p' e2e/servers/go.mod) or newer, from https://go.dev/dl"
    say "building $3 $2, once; four minutes or so on two cores"
    local minor version=k8s.io/component-base/version
    minor=${2#*.}
    (
        cd e2e/servers
        CGO_ENABLED=0 go build -trimpath -mod=readonly -o "$1/$3.new" -ldflags "-s -w \
            -X $version.gitVersion=v$2 -X $version.gitMajor=${2%%.*} -X $version.gitMinor=${minor%%.*}" \
            "k8s.io/kubernetes/cmd/$3"
    )
    mv "$1/$3.new" "$1/$3"
}

get_kubernetes() {
    local version bin
    version=$(sed -n 's|^\t*k8s.io/kubernetes v\([^ ]*\).*|\1|p' e2e/servers/go.mod)
    bin="$HOME/.cache/opaque/kubernetes/$version/bin"
    mkdir -p "$bin"
    # Two clones may come here at once.
    exec 9>"$bin/.lock"
    flock 9
    get_etcd "$bin"
    build_server "$bin" "$version" kube-apiserver
}

case "${1:-}" in
"")
    install_packages
    install_rust
    ;;
--tools)
    install_tool cargo-deny "$cargo_deny"
    install_tool cargo-fuzz "$cargo_fuzz"
    install_checkov
    ;;
--kubernetes) get_kubernetes ;;
*) fail "usage: scripts/setup.sh [--tools | --kubernetes]" ;;
esac
