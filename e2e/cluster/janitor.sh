#!/usr/bin/env bash
# Holds a cluster: starts its namespaces, and removes everything when the process that started it
# ends, however it ends. `janitor.sh FOLDER LOCK CGROUP LINK`, in a separate session.
#
# Standard input is a pipe whose other end only the starter holds: its end is the starter's end.
# Standard output shows the process id of `unshare`, which holds the namespaces.
set -uo pipefail
folder=$1 lock=$2 cgroup=$3 link=$4
# A closed terminal or Ctrl-C is the starter's to see; this one goes when the pipe closes.
trap '' HUP INT TERM PIPE

exec 9>"$lock"
if ! flock --nonblock 9; then
    echo "e2e: another cluster runs on this machine ($lock); waiting for its end" >&2
    # The starter may end while this waits.
    until flock --timeout 1 9; do
        read -r -t 0.01
        # Above 128: nothing came in time. 1: the end of the pipe.
        if [ $? -eq 1 ]; then
            rm -rf "$folder"
            exit 1
        fi
    done
fi

remove_cgroups() {
    find /sys/fs/cgroup/*/"$cgroup" -depth -type d -exec rmdir {} \; 2>/dev/null
    ! compgen -G "/sys/fs/cgroup/*/$cgroup" >/dev/null
}

clean() {
    local _
    # What the starter ran may have outlived it: it carries the folder in its environment.
    for _ in 1 2 3; do
        grep -lzxF "OPAQUE_E2E_FOLDER=$folder" /proc/[0-9]*/environ 2>/dev/null |
            sed 's|/proc/\([0-9]*\)/.*|\1|' | xargs --no-run-if-empty kill -KILL 2>/dev/null || break
    done
    ip link delete "$link" 2>/dev/null
    # A control group can be removed a moment after its last process has ended.
    for _ in $(seq 100); do
        remove_cgroups && break
        sleep 0.1
    done
    for _ in $(seq 50); do
        rm -rf "$folder" 2>/dev/null && break
        sleep 0.1
    done
}

# Left by a machine that lost power, or by a janitor that was killed.
ip link delete "$link" 2>/dev/null
remove_cgroups
for controller in cpu cpuacct cpuset memory pids devices freezer blkio systemd; do
    mkdir -p "/sys/fs/cgroup/$controller/$cgroup"
done

# The namespaces end with `unshare`, and `unshare` with this process. The lock is not theirs to hold.
setpriv --pdeathsig KILL -- unshare --net --mount --pid --fork --kill-child --mount-proc \
    "$folder/inside.sh" </dev/null >"$folder/log/inside.log" 2>&1 9>&- &
holder=$!
echo "$holder"

while kill -0 "$holder" 2>/dev/null; do
    read -r -t 1
    [ $? -ne 1 ] || break
done
# Bash would tell that its child was killed.
exec 2>/dev/null
kill -KILL "$holder"
wait "$holder"
clean
