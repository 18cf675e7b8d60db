#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# quickstart.sh - from a clone to a mounted volume of three replicas.
#
#   extras/quickstart.sh [--dir DIR] [MOUNTPOINT]
#   extras/quickstart.sh [--dir DIR] --stop
#   extras/quickstart.sh [--dir DIR] --clean
#
# Installs what is needed, builds a release in build-release/, starts a
# management daemon, creates volume `demo` of three bricks (sparse files), starts
# it and mounts it. Run it again at any time: what is done already is left as it
# is, what has died is started again, and another MOUNTPOINT adds a mount.
#
#   MOUNTPOINT  default: /mnt/clusterfs; with --dir: DIR/mnt
#   --dir DIR   where all state goes: configuration, bricks, logs, sockets
#               (default: /var/lib/clusterfs-quickstart). Several can live side
#               by side. An installed clusterfs service is never touched.
#   --stop      unmount, stop the volume and every process; data stays
#   --clean     --stop, and remove the data too
#
# Nothing is installed outside the clone and DIR but the distribution's packages.

set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=extras/install-deps.sh
. "$top/extras/install-deps.sh"

build=$top/build-release
stage=$build/stage
volume=demo
first_port=24107 # above an installed mgmtd's 24007 and its neighbours

dir='' mnt='' verb=up
while [ $# -gt 0 ]; do
    case $1 in
    -h|--help) sed -n '4,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --dir) [ $# -ge 2 ] || { echo "quickstart: --dir needs a directory" >&2
                             exit 2; }
           dir=$2; shift ;;
    --dir=*) dir=${1#--dir=} ;;
    --stop) verb=stop ;;
    --clean) verb=clean ;;
    -*) echo "quickstart: unknown option $1; try --help" >&2; exit 2 ;;
    *) [ -z "$mnt" ] || { echo "quickstart: one mount point, please" >&2
                          exit 2; }
       mnt=$1 ;;
    esac
    shift
done
if [ -n "$mnt" ] && [ $verb != up ]; then
    echo "quickstart: --$verb takes down all mounts: name none" >&2
    exit 2
fi
if [ -n "$dir" ]; then
    [ -n "$mnt" ] || mnt=$dir/mnt
    here="$0 --dir $dir"
else
    dir=/var/lib/clusterfs-quickstart
    [ -n "$mnt" ] || mnt=/mnt/clusterfs
    here=$0
fi
dir=$(realpath -m -- "$dir")
case $mnt in /*) ;; *) mnt=$PWD/$mnt ;; esac
mnt=$(realpath -m -- "$(dirname -- "$mnt")")/$(basename -- "$mnt")
mnt=/${mnt##/}
run_dir=$dir/run
log_dir=$dir/log
marker=$dir/.clusterfs-quickstart
procs=$top/extras/procs.sh

say() { printf '==> %s\n' "$*"; }

# fail REASON [LOG]
fail() {
    printf 'quickstart: %s\n' "$1" >&2
    if [ -n "${2-}" ] && [ -s "$2" ]; then
        printf 'The end of %s:\n' "$2" >&2
        tail -n 15 "$2" | sed 's/^/    /' >&2
    fi
    exit 1
}

# Run a program of ours. Daemons must not inherit the lock.
cfs() { "$@" 9>&-; }

find_program() {
    local d

    for d in "$stage/bin" "$stage/sbin"; do
        if [ -x "$d/$1" ]; then
            echo "$d/$1"
            return
        fi
    done
    fail "the build has no $1"
}

# ------------------------------------------------------------- the instance

check_dir() {
    case $dir in
    *[[:space:],:\"\'\\]*)
        fail "--dir $dir: blanks, commas, colons and quotes cannot be in it" ;;
    esac
    # A Unix socket's path has at most 107 bytes.
    [ ${#run_dir} -le 62 ] ||
        fail "--dir $dir: too long for the sockets in it (at most 58 bytes)"
}

claim_dir() {
    if [ -e "$dir" ] && [ ! -e "$marker" ] && [ -n "$(ls -A "$dir")" ]; then
        fail "--dir $dir: not empty, and not made by quickstart"
    fi
    mkdir -p "$dir"
    : >>"$marker"
    mkdir -p "$dir"/{etc,lib,run,log,bricks}
    chmod 0700 "$dir/lib"
}

lock_dir() {
    exec 9>>"$marker"
    flock -n 9 || { say "Waiting for another quickstart in $dir"; flock 9; }
}

use_instance() {
    export CLUSTERFS_CONFIG_DIR=$dir/etc CLUSTERFS_STATE_DIR=$dir/lib
    export CLUSTERFS_RUN_DIR=$run_dir CLUSTERFS_LOG_DIR=$log_dir
    if [ -s "$dir/port" ]; then
        CLUSTERFS_PORT=$(cat "$dir/port")
        export CLUSTERFS_PORT
    fi
}

# A client has its mount point last on its command line.
mountpoint_of() {
    [ -r "/proc/$1/cmdline" ] && tr '\0' '\n' <"/proc/$1/cmdline" | tail -n 1
}

# Print this instance's client whose mount is at $1.
client_at() {
    local pid

    for pid in $("$procs" "$run_dir" client); do
        if [ "$(mountpoint_of "$pid")" = "$1" ]; then
            echo "$pid"
        fi
    done
}

# Is anything mounted at $1? Not through the mount: its client may be dead.
mounted_type() {
    local escaped=${1//\\/\\134}

    escaped=${escaped// /\\040}
    awk -v m="${escaped//\\/\\\\}" '
        { for (i = 7; i < NF && $i != "-"; i++); if ($5 == m) t = $(i + 1) }
        END { print t }' /proc/self/mountinfo
}

# ------------------------------------------------------------------- build

build_release() {
    local log=$log_dir/build.log

    say "Building a release in $build (log: $log)"
    cfs "$top/extras/build.sh" "$build" "$log" --buildtype=release || exit 1
}

# ------------------------------------------------------------------ daemon

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start_mgmtd() {
    local pid port log=$log_dir/clusterfs-mgmtd.log out tried=0 mgmtd

    mgmtd=$(find_program clusterfs-mgmtd)
    pid=$("$procs" "$run_dir" mgmtd)
    if [ -n "$pid" ]; then
        say "The management daemon runs already (process $pid," \
            "port $CLUSTERFS_PORT)"
        case $(readlink "/proc/$pid/exe") in
        *'(deleted)')
            say "  It is of an earlier build; to change: $here --stop," \
                "then again" ;;
        esac
        return
    fi
    port=${CLUSTERFS_PORT:-$first_port}
    while :; do
        until port_is_free "$port"; do
            port=$((port + 1))
            [ "$port" -lt 24907 ] ||
                fail "no free port from $first_port to 24906"
        done
        say "Starting the management daemon on port $port (log: $log)"
        if out=$(cfs "$mgmtd" --config-dir "$dir/etc" \
                --state-dir "$dir/lib" --run-dir "$run_dir" \
                --log-dir "$log_dir" --port "$port" 2>&1 </dev/null); then
            break
        fi
        # Somebody else may have been faster.
        if port_is_free "$port" || [ $tried -ge 3 ]; then
            fail "clusterfs-mgmtd does not start: $out" "$log"
        fi
        tried=$((tried + 1))
    done
    echo "$port" >"$dir/port"
    export CLUSTERFS_PORT=$port
}

# ------------------------------------------------------------------ volume

# Print the volume's state (created, started, stopped); nothing: no such volume.
volume_state() {
    cfs "$cli" volume info "$volume" --json 2>/dev/null </dev/null |
        python3 -c '
import json, sys
volume = json.load(sys.stdin)
if isinstance(volume, list):
    volume = volume[0]
print(volume["state"])' 2>/dev/null
}

# A brick of 10 GiB is nothing until it is used, but never promise more than
# nine tenths of what the disk has for all three.
brick_size() {
    local free_gib

    free_gib=$(df --output=avail -B1G "$dir/bricks" | tail -n 1)
    free_gib=$((free_gib * 9 / 10 / 3))
    [ $free_gib -ge 1 ] ||
        fail "too little space in $dir: three bricks of 1 GiB are the least"
    echo $((free_gib < 10 ? free_gib : 10))G
}

create_volume() {
    local host size out

    [ -z "$(volume_state)" ] || return 0
    host=localhost
    size=$(brick_size)
    say "Creating volume $volume: 3 replicas of $size, sparse, in $dir/bricks"
    out=$(cfs "$cli" volume create "$volume" replica 3 \
        "$host:$dir/bricks/brick1.img" "$host:$dir/bricks/brick2.img" \
        "$host:$dir/bricks/brick3.img" --brick-size "$size" --sparse \
        2>&1 </dev/null) || fail "volume create: $out"
}

start_volume() {
    local out

    if [ "$(volume_state)" = started ]; then
        say "Volume $volume is started"
        return
    fi
    say "Starting volume $volume"
    out=$(cfs "$cli" volume start "$volume" 2>&1 </dev/null) ||
        fail "volume start: $out (more in $log_dir)"
}

mount_volume() {
    local type log out helper

    helper=$(find_program mount.clusterfs)
    type=$(mounted_type "$mnt")
    log=$log_dir/client-$(printf '%s' "${mnt#/}" | tr -c 'A-Za-z0-9._-' -).log
    if [ -n "$type" ] && [ -n "$(client_at "$mnt")" ]; then
        say "It is mounted at $mnt"
        return
    fi
    if [ "$type" = fuse.clusterfs ]; then
        # Nobody serves a dead client's mount.
        if stat "$mnt/." >/dev/null 2>&1; then
            fail "$mnt is a mount of another clusterfs: name another place"
        fi
        say "Unmounting $mnt, whose client has died"
        umount -i -l "$mnt"
    elif [ -n "$type" ]; then
        fail "$mnt is a mount point of $type: name another place"
    fi
    if [ ! -d "$mnt" ]; then
        mkdir -p "$mnt"
        printf '%s\n' "$mnt" >>"$dir/made"
    fi
    say "Mounting it at $mnt (log: $log)"
    out=$(cfs "$helper" "$volume" "$mnt" \
        -o "run-dir=$run_dir,port=$CLUSTERFS_PORT,log-file=$log" \
        2>&1 </dev/null) || fail "mount: $out" "$log"
}

write_env() {
    cat >"$dir/env" <<EOT
# . $dir/env - for programs to find this clusterfs
export CLUSTERFS_CONFIG_DIR=$dir/etc CLUSTERFS_STATE_DIR=$dir/lib
export CLUSTERFS_RUN_DIR=$run_dir CLUSTERFS_LOG_DIR=$log_dir
export CLUSTERFS_PORT=$CLUSTERFS_PORT
export PATH=$stage/bin:$stage/sbin:\$PATH
EOT
}

tell() {
    cat <<EOT

Volume $volume, three replicas, is mounted at $mnt.
  state   $dir   (bricks/, log/, run/; . $dir/env for the programs)
  mgmtd   process $("$procs" "$run_dir" mgmtd), port $CLUSTERFS_PORT
  bricks  $("$procs" "$run_dir" brickd | tr '\n' ' ')

EOT
    df -h "$mnt"
    cat <<EOT

Try next:
  sudo cp -r /usr/include "$mnt"/ && diff -r /usr/include "$mnt/include" && echo same
  sudo sh -c '. $dir/env; clusterfs volume status $volume'
  sudo kill -9 $("$procs" "$run_dir" brickd | sed -n 1p) && ls "$mnt"   # one brick dies; nobody notices
To take it down: sudo $here --stop    (--clean removes the data too)
EOT
}

up() {
    install_deps build run || exit 1
    claim_dir
    lock_dir
    use_instance
    build_release
    cli=$(find_program clusterfs)
    start_mgmtd
    write_env
    create_volume
    start_volume
    mount_volume
    tell
}

# -------------------------------------------------------------------- down

unmount_all() {
    local pid at out users

    for pid in $("$procs" "$run_dir" client); do
        at=$(mountpoint_of "$pid") || continue
        [ "$(mounted_type "$at")" = fuse.clusterfs ] || continue
        say "Unmounting $at"
        if ! out=$("$top/extras/umount.sh" "$at" 2>&1); then
            users=$(fuser -m "$at" 2>/dev/null || :)
            fail "umount $at: $out${users:+ (used by processes$users)}"
        fi
    done
}

# wait_gone SECONDS PROGRAM...: until none of them is left.
wait_gone() {
    local end=$((SECONDS + $1))

    shift
    while [ -n "$("$procs" "$run_dir" "$@")" ]; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.1
    done
}

# stop_daemons SECONDS PROGRAM: ask, wait, and in the end insist.
stop_daemons() {
    local pids

    pids=$("$procs" "$run_dir" "$2")
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086
    kill -TERM $pids 2>/dev/null || :
    wait_gone "$1" "$2" && return
    pids=$("$procs" "$run_dir" "$2")
    # shellcheck disable=SC2086
    say "clusterfs-$2 did not end within $1 s; killing" $pids
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null || :
    wait_gone 10 "$2" || fail "clusterfs-$2 cannot be ended: see $log_dir"
}

down() {
    local cli out

    if [ ! -e "$marker" ]; then
        say "There is no quickstart in $dir"
        return
    fi
    lock_dir
    use_instance
    unmount_all
    stop_daemons 30 client
    if [ -n "$("$procs" "$run_dir" mgmtd)" ]; then
        # Without the build there is still SIGTERM.
        cli=$(find_program clusterfs 2>/dev/null) || cli=false
        if [ "$(volume_state)" = started ]; then
            say "Stopping volume $volume"
            out=$(cfs "$cli" volume stop "$volume" --yes 2>&1 </dev/null) ||
                fail "volume stop: $out (more in $log_dir)"
        fi
        say "Stopping the management daemon"
        stop_daemons 30 mgmtd
    fi
    stop_daemons 60 shd
    stop_daemons 60 brickd
    say "Nothing of it runs any more; the data is in $dir"
}

clean() {
    local d

    [ -e "$marker" ] || return 0
    if [ -s "$dir/made" ]; then
        while IFS= read -r d; do
            [ -n "$(mounted_type "$d")" ] ||
                rmdir --ignore-fail-on-non-empty -- "$d" 2>/dev/null || :
        done <"$dir/made"
    fi
    (cd "$dir" && rm -rf etc lib run log bricks port env made "$marker")
    rmdir --ignore-fail-on-non-empty "$dir"
    say "The data is gone: $dir"
}

check_dir
if [ "$(id -u)" != 0 ]; then
    fail "only root can mount: run it by sudo"
fi
case $verb in
up) up ;;
stop) down ;;
clean) down; clean ;;
esac
