#!/usr/bin/env bash
# Runs the cluster tests once for each kernel of this machine and each kind of keys. Results must
# not depend on either.
#
#   scripts/kernels.sh COMMAND...      for example: cargo test --release --test cluster
#
# Nodes read the kernel's name from OPAQUE_KERNEL, and clients the kind of keys from OPAQUE_KEYS.
set -euo pipefail
if [ $# -eq 0 ]; then
    echo "usage: scripts/kernels.sh COMMAND..." >&2
    exit 2
fi

kernels=(scalar)
# Name of each kernel, and the processor flag in /proc/cpuinfo that it requires.
while read -r kernel flag; do
    if grep -qw "$flag" /proc/cpuinfo; then
        kernels+=("$kernel")
    else
        echo "kernels: no $kernel on this machine"
    fi
done <<'FLAGS'
avx2 avx2
avx-vnni avx_vnni
avx512-vnni avx512_vnni
amx amx_int8
neon-dotprod asimddp
FLAGS

for kernel in "${kernels[@]}"; do
    for keys in inline registered; do
        echo "kernels: $kernel, $keys keys"
        OPAQUE_KERNEL=$kernel OPAQUE_KEYS=$keys "$@"
    done
done
