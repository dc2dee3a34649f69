#!/usr/bin/env bash
# Installs the missing dependencies of Opaque. Installed ones are not changed, so a second run does
# nothing.
#
#   scripts/setup.sh           C++ compiler, CMake, libclang, Rust
#   scripts/setup.sh --tools   cargo-deny, cargo-fuzz and checkov, in ~/.cache/opaque/tools
#   scripts/setup.sh --arm     C compiler, Rust standard library and emulator for ARM (`make arm`)
#   scripts/setup.sh --kubernetes
#                              Kubernetes for the tests in e2e/: Debian's containerd, runc and network
#                              tools (no daemon is started), and servers and tools built with Go in
#                              ~/.cache/opaque/kubernetes/VERSION/bin; about 25 minutes the first time
set -euo pipefail
cd "$(dirname "$0")/.."

tools="$HOME/.cache/opaque/tools"
cargo_deny=0.20.2
cargo_fuzz=0.13.2
checkov=3.3.30
helm=v3.20.2
coredns=v1.14.7
minio=v0.0.0-20260212201848-7aac2a2c5b7c
kubeconform=v0.8.0
# Builds all of these. It is downloaded if Go is missing or older.
go=1.26.8
go_sha256_amd64=30c2b1bf7dcc88d3eb0a1364e47ddd9128edb3110a30e8a0ef61cd5856b31de7
go_sha256_arm64=02b36b6787b3ac767668f630e2998df45a3b1f9ffee08d1bf3ef6487cd658d99
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

# SEAL is C++ and built with CMake. libclang reads its headers for the bindings.
missing_packages() {
    have g++ || echo g++
    have clang || echo clang
    have_libclang || echo libclang-dev
    have cmake || echo cmake
    have make || echo make
    have git || echo git
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

# install_packages [PACKAGE...]
install_packages() {
    [ $# -gt 0 ] || return 0
    have apt-get || fail "install these packages (names are Debian's): $*"
    say "installing $*"
    as_root "apt-get install $*" apt-get update --quiet --quiet
    as_root "apt-get install $*" apt-get install --yes --quiet --no-install-recommends "$@"
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
        fail "Rust $found is older than $wanted: install rustup or a newer Rust"
    fi
}

# install_target TARGET: installs Rust's standard library for TARGET.
install_target() {
    [ ! -d "$(rustc --print sysroot)/lib/rustlib/$1" ] || return 0
    have rustup || fail "Rust's standard library for $1 is missing: install rustup or that library"
    rustup target add "$1"
}

# ARM machines need no emulator.
install_arm() {
    [ "$(uname -m)" != aarch64 ] || return 0
    local packages=()
    have qemu-aarch64 || packages+=(qemu-user)
    have aarch64-linux-gnu-gcc || packages+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
    install_packages "${packages[@]}"
    install_target aarch64-unknown-linux-gnu
}

# install_tool NAME VERSION
install_tool() {
    [ "$("$1" --version 2>/dev/null)" = "$1 $2" ] && return
    say "building $1 $2, once; two minutes or so on two cores"
    cargo install --quiet --locked --root "$tools" --target-dir "$tools/target" --version "$2" "$1"
    rm -rf "$tools/target"
}

# Installs checkov, which scans rendered charts, in a Python virtual environment.
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

# get_etcd FOLDER: unpacks Debian's package. Its installation would start a daemon.
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

# Programs that a Kubernetes node needs: containerd and its runtime, and the tools of kube-proxy and
# CNI. Each line has a program or file and its package.
node_packages() {
    local program package
    while read -r program package; do
        have "$program" || [ -e "$program" ] || echo "$package"
    done <<'PACKAGES'
containerd containerd
runc runc
/usr/lib/cni/bridge containernetworking-plugins
iptables iptables
nft nftables
conntrack conntrack
ip iproute2
socat socat
unshare util-linux
strip binutils
curl curl
unzip unzip
/etc/ssl/certs/ca-certificates.crt ca-certificates
PACKAGES
}

install_node_packages() {
    local packages policy=/usr/sbin/policy-rc.d
    packages=$(PATH="$PATH:/usr/sbin:/sbin" node_packages | xargs)
    [ -n "$packages" ] || return 0
    have apt-get || fail "install these packages (names are Debian's): $packages"
    say "installing $packages; no daemon is started"
    as_root "apt-get install $packages" apt-get update --quiet --quiet
    # This file stops packages from starting their daemons. An existing one is not changed. The list
    # is split into words on purpose. The inner Bash expands the variables of its script.
    # shellcheck disable=SC2016,SC2086
    as_root "apt-get install $packages" bash -c '
        set -euo pipefail
        policy=$1
        shift
        if [ ! -e "$policy" ]; then
            trap "rm -f $policy" EXIT
            printf "#!/bin/sh\nexit 101\n" >"$policy"
            chmod 755 "$policy"
        fi
        apt-get install --yes --quiet --no-install-recommends "$@"
    ' bash "$policy" $packages
}

# Puts a sufficiently new Go first in PATH: the installed one, or one from the Go module proxy,
# which offers toolchains as modules.
need_go() {
    local wanted found arch sum name folder proxy
    wanted=$(sed -n 's/^go //p' e2e/servers/go.mod)
    if have go; then
        found=$(GOTOOLCHAIN=local go env GOVERSION | sed 's/^go//')
        [ "$(printf '%s\n' "$wanted" "$found" | sort --version-sort | head -n 1)" != "$wanted" ] || return 0
    fi
    case $(uname -m) in
    x86_64) arch=amd64 sum=$go_sha256_amd64 ;;
    aarch64) arch=arm64 sum=$go_sha256_arm64 ;;
    *) fail "install Go $wanted or newer from https://go.dev/dl" ;;
    esac
    folder="$HOME/.cache/opaque/go/$go"
    if [ ! -x "$folder/bin/go" ]; then
        say "fetching Go $go"
        name="golang.org/toolchain@v0.0.1-go$go.linux-$arch"
        # Use the first proxy of the list. `direct` and `off` offer no toolchains.
        proxy=${GOPROXY:-https://proxy.golang.org}
        proxy=${proxy%%[,|]*}
        case $proxy in direct | off) proxy=https://proxy.golang.org ;; esac
        mkdir -p "$HOME/.cache/opaque/go"
        (
            work=$(mktemp -d "$HOME/.cache/opaque/go/fetch.XXXXXX")
            trap 'rm -rf "$work"' EXIT
            curl --silent --show-error --fail --location --retry 3 --output "$work/go.zip" \
                "$proxy/golang.org/toolchain/@v/${name#*@}.zip"
            echo "$sum  $work/go.zip" | sha256sum --check --quiet || fail "Go $go from $proxy has an unexpected digest"
            unzip -q "$work/go.zip" -d "$work"
            # Files of a module are not executable.
            chmod -R u+x "$work/$name/bin" "$work/$name/pkg/tool"
            mv "$work/$name" "$folder"
        )
    fi
    export PATH="$folder/bin:$PATH"
}

# build FOLDER NAME VERSION COMMAND...: runs COMMAND, which creates FOLDER/NAME, unless a stamp file
# shows that this version exists.
build() {
    local folder=$1 name=$2 version=$3
    shift 3
    [ ! -x "$folder/$name" ] || [ ! -e "$folder/.$name-$version" ] || return 0
    need_go
    say "building $name $version, once"
    CGO_ENABLED=0 GOBIN="$folder" GOFLAGS=-buildvcs=false "$@"
    rm -f "$folder/.$name"-*
    touch "$folder/.$name-$version"
}

# build_kubernetes FOLDER VERSION NAME: builds one server. No release has binaries for every
# platform, and `go install` refuses modules with `replace` lines, so e2e/servers is a module that
# requires Kubernetes.
build_kubernetes() {
    local minor version=k8s.io/component-base/version
    minor=${2#*.}
    (
        cd e2e/servers
        go build -trimpath -mod=readonly -o "$1/$3" -ldflags "-s -w \
            -X $version.gitVersion=v$2 -X $version.gitMajor=${2%%.*} -X $version.gitMinor=${minor%%.*}" \
            "k8s.io/kubernetes/cmd/$3"
    )
}

build_cert_manager() {
    (
        cd e2e/servers/cert-manager
        go build -trimpath -mod=readonly -ldflags "-s -w" -o "$1/cert-manager" .
        # The module contains the CRDs of cert-manager.
        rm -rf "$1/../cert-manager-crds"
        cp -r "$(go list -m -f '{{.Dir}}' github.com/cert-manager/cert-manager)/deploy/crds" \
            "$1/../cert-manager-crds"
        chmod -R u+w "$1/../cert-manager-crds"
        rm -f "$1/../cert-manager-crds/README.md"
    )
}

get_kubernetes() {
    local version cert_manager bin name
    version=$(sed -n 's|^\t*k8s.io/kubernetes v\([^ ]*\).*|\1|p' e2e/servers/go.mod)
    cert_manager=$(sed -n 's|^\t*github.com/cert-manager/cert-manager \(v[^ ]*\).*|\1|p' \
        e2e/servers/cert-manager/go.mod)
    bin="$HOME/.cache/opaque/kubernetes/$version/bin"
    mkdir -p "$bin"
    # Two clones may run this at the same time.
    exec 9>"$bin/.lock"
    flock 9
    install_node_packages
    get_etcd "$bin"
    for name in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
        build "$bin" "$name" "$version" build_kubernetes "$bin" "$version" "$name"
    done
    local install=(go install -trimpath -ldflags "-s -w")
    build "$bin" helm "$helm" "${install[@]}" "helm.sh/helm/v3/cmd/helm@$helm"
    build "$bin" coredns "$coredns" "${install[@]}" "github.com/coredns/coredns@$coredns"
    build "$bin" minio "$minio" "${install[@]}" "github.com/minio/minio@$minio"
    build "$bin" kubeconform "$kubeconform" "${install[@]}" "github.com/yannh/kubeconform/cmd/kubeconform@$kubeconform"
    build "$bin" cert-manager "$cert_manager" build_cert_manager "$bin"
}

case "${1:-}" in
"")
    # The list is split into words on purpose.
    # shellcheck disable=SC2046
    install_packages $(missing_packages)
    install_rust
    ;;
--tools)
    install_tool cargo-deny "$cargo_deny"
    install_tool cargo-fuzz "$cargo_fuzz"
    install_target wasm32-unknown-unknown
    install_checkov
    ;;
--arm) install_arm ;;
--kubernetes) get_kubernetes ;;
*) fail "usage: scripts/setup.sh [--tools | --arm | --kubernetes]" ;;
esac
