#!/usr/bin/env bash
# Process 1 of the cluster's namespaces: makes mounts and links that only they see, then starts the
# servers whose names come through a pipe, and starts each again when it ends. Bash, since process 1
# must also reap what containerd's shims leave behind, and Bash does.
set -uo pipefail
folder=@FOLDER@

mount --make-rprivate /
ip link set lo up

# The kubelet requires three settings of the whole machine. It sees private files instead.
mkdir -p "$folder/sysctl"
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
    name=${setting%=*}
    echo "${setting#*=}" >"$folder/sysctl/${name//\//_}"
    mount --bind "$folder/sysctl/${name//\//_}" "/proc/sys/$name"
done

# What is written there by CNI, kubelet and containerd lands in the folder.
mount -t tmpfs -o mode=755 tmpfs /run
for name in lib log; do
    mkdir -p "$folder/overlay/$name/upper" "$folder/overlay/$name/work"
    mount -t overlay overlay -o "lowerdir=/var/$name,upperdir=$folder/overlay/$name/upper,workdir=$folder/overlay/$name/work" "/var/$name"
done

# Whoever enters these namespaces asks the cluster's DNS.
mount --bind "$folder/resolv.conf" /etc/resolv.conf

# The node's address, on a bridge without ports.
ip link add node0 type bridge
ip address add @NODE@/24 dev node0
ip link set node0 up
# The kernel looks for a route before kube-proxy's rules turn a Service's address into a pod's: pods have
# one through the node, and what runs on the node itself needs one too.
ip route add 10.96.0.0/16 dev node0
echo 1 >/proc/sys/net/ipv4/ip_forward

# supervise NAME: runs servers/NAME again and again, until run/NAME.stopped exists.
supervise() {
    while [ ! -e "$folder/run/$1.stopped" ]; do
        "$folder/servers/$1" >>"$folder/log/$1.log" 2>&1
        sleep 0.2
    done
}

mkfifo "$folder/run/start"
# Opened for writing too, so that it never ends.
exec 3<>"$folder/run/start"
touch "$folder/run/inside"
while read -r name <&3; do
    supervise "$name" 3>&- &
done
