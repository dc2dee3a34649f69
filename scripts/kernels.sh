#!/usr/bin/env bash
# Runs the tests of whole clusters once for each kernel that this machine has and each kind of keys: what
# users see must not depend on either.
#
#   scripts/kernels.sh COMMAND...      for example: cargo test --release --test cluster
#
# Kernels are the names of OPAQUE_KERNEL, which the nodes read; keys those of OPAQUE_KEYS.
set -euo pipefail
if [ $# -eq 0 ]; then
    echo "usage: scripts/kernels.sh COMMAND..." >&2
    exit 2
fi

kernels=(scalar)
# Name of the kernel, and the flag by which Linux says that the processor has what it takes.
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
