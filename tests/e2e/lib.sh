# SPDX-License-Identifier: Apache-2.0
#
# lib.sh - sourced by the scripts beside it: a cluster of one node in
# $CLUSTERFS_TEST_DIR, and TAP lines.
#
#   cluster_up                  start mgmtd; the environment then finds it
#   volume_up NAME N            create and start a volume of N bricks
#   volume_mount NAME DIR       mount it
#   cluster_down NAME...        unmount all, stop these volumes and mgmtd
#   brick_image NAME I          the image file of brick I
#   pids PROGRAM                this cluster's processes (brickd, client, ...)
#   wait_until SECONDS COMMAND  until it succeeds
#   t NAME COMMAND...           one test: passed if the command succeeds
#   must WHAT COMMAND...        what the tests need: ends the script if it fails

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
base=${CLUSTERFS_TEST_DIR:?run it with tests/run.sh}

export CLUSTERFS_CONFIG_DIR=$base/etc CLUSTERFS_STATE_DIR=$base/lib
export CLUSTERFS_RUN_DIR=$base/run CLUSTERFS_LOG_DIR=$base/log

t() {
    local name=$1 out

    shift
    if out=$("$@" 2>&1); then
        echo "ok - $name"
    else
        echo "not ok - $name"
        printf '%s\n' "$out" | tail -n 40 | sed 's/^/# /'
    fi
}

must() {
    local what=$1 out

    shift
    out=$("$@" 2>&1) && return
    echo "not ok - $what"
    printf '%s\n' "$out" | tail -n 40 | sed 's/^/# /'
    show_logs
    exit 1
}

show_logs() {
    local f

    for f in "$base"/log/*; do
        [ -f "$f" ] || continue
        echo "# --- the end of ${f##*/}"
        tail -n 20 "$f" | sed 's/^/# /'
    done
}

pids() { "$top/extras/procs.sh" "$base/run" "$@"; }

wait_until() {
    local end=$((SECONDS + $1))

    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

count_is() { [ "$(pids "$2" | grep -c .)" = "$1" ]; }

free_port() {
    local port=$((25000 + RANDOM % 20000))

    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        port=$((port + 1))
    done
    echo $port
}

cluster_up() {
    mkdir -p "$base"/{etc,lib,run,log,bricks}
    if [ -z "${CLUSTERFS_PORT:-}" ]; then
        CLUSTERFS_PORT=$(free_port)
        export CLUSTERFS_PORT
    fi
    must "clusterfs-mgmtd starts" clusterfs-mgmtd --config-dir "$base/etc" \
        --state-dir "$base/lib" --run-dir "$base/run" \
        --log-dir "$base/log" --port "$CLUSTERFS_PORT"
}

brick_image() { echo "$base/bricks/$1-$2.img"; }

volume_up() {
    local name=$1 n=$2 i bricks=()

    for ((i = 1; i <= n; i++)); do
        bricks+=("$(uname -n):$(brick_image "$name" $i)")
    done
    must "volume $name is created" clusterfs volume create "$name" \
        replica "$n" "${bricks[@]}" --brick-size 8G --sparse
    must "volume $name is started" clusterfs volume start "$name"
}

volume_mount() {
    mkdir -p "$2"
    must "volume $1 is mounted" mount.clusterfs "$1" "$2" \
        -o "run-dir=$base/run,port=$CLUSTERFS_PORT"
}

# Everything goes in the order in which an administrator would do it.
cluster_down() {
    local at v mounts

    mapfile -t mounts < <(awk -v b="$base/" '/ - fuse.clusterfs / {
        if (index($5, b) == 1) print $5 }' /proc/self/mountinfo)
    for at in "${mounts[@]}"; do
        must "$at is unmounted" umount.clusterfs "$at"
    done
    for v in "$@"; do
        must "volume $v is stopped" clusterfs volume stop "$v" --yes
    done
    # shellcheck disable=SC2046
    kill -TERM $(pids mgmtd)
    must "mgmtd ends" wait_until 30 count_is 0 mgmtd
    must "no brick server is left" wait_until 30 count_is 0 brickd
}

# Same names, types, bytes, owners, modes, times, links.
same_tree() {
    local out

    out=$(rsync -aHX --checksum --dry-run --itemize-changes --delete \
        "$1/" "$2/") || return 1
    [ -z "$out" ] || { printf '%s\n' "$out"; return 1; }
}
