#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# bench/run.sh - measure clusterfs beside its rivals, on this machine, now.
#
#   bench/run.sh [--quick] [--rounds N] [--only TARGET,...] [--run GROUP,...]
#                [--base TARGET] [--json FILE] [--work DIR]
#
#   --quick    less work and two rounds: for a look, not for a page
#   --rounds   how often everything is measured on every target (default 3)
#   --only     of: local passthrough glusterfs clusterfs (default: all)
#   --run      of: small tree fio sqlite (default: all)
#   --base     ratios are given for this target (default: clusterfs)
#   --json     write everything measured there
#   --work     an empty or new directory on the disk to measure
#              (default: a new one in /var/tmp)
#
# Targets: a local directory; the local FUSE pass-through that comes with libfuse
# (passthrough_ll, its defaults); GlusterFS and clusterfs with three replicas on
# three bricks. All on one disk; targets take turns, and ratios are taken within
# a round, because the speed of a shared disk changes from minute to minute.
#
# Everything runs in namespaces of its own (mounts, processes, network), so
# the machine's mounts, daemons, ports and GlusterFS configuration are neither
# used nor changed, and nothing outlives the run. Packages that are missing are
# installed.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=extras/install-deps.sh
. "$top/extras/install-deps.sh"

die() { echo "bench: $*" >&2; exit 1; }

args=() work='' only=''
while [ $# -gt 0 ]; do
    case $1 in
    -h|--help) sed -n '4,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --quick) args+=("$1") ;;
    --rounds|--only|--run|--base|--json|--work)
        [ $# -ge 2 ] || die "$1 needs a value"
        case $1 in
        --work) work=$2 ;;
        --json) args+=("$1" "$(realpath -m "$2")") ;;
        *) args+=("$1" "$2") ;;
        esac
        [ "$1" != --only ] || only=$2
        shift ;;
    *) die "unknown option $1; try --help" ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || die "only root can mount and drop caches: run it by sudo"
[ -e /dev/fuse ] || modprobe fuse 2>/dev/null || die "no /dev/fuse here"

groups=(bench)
case ,${only:-clusterfs}, in *,clusterfs,*) groups+=(build run) ;; esac
install_deps "${groups[@]}"

if [ -z "$work" ]; then
    work=$(mktemp -d /var/tmp/clusterfs-bench.XXXXXX)
else
    mkdir -p "$work"
    work=$(cd "$work" && pwd -P)
    [ -z "$(ls -A "$work")" ] || die "$work is not empty"
fi
child=''
# shellcheck disable=SC2317
cleanup() {
    if [ -n "$child" ]; then
        kill -KILL "$child" 2>/dev/null || :
        wait "$child" 2>/dev/null || :
    fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

example=/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c
mkdir "$work/bin" "$work/run"
cc=${CC:-gcc}
"$cc" -std=gnu17 -D_GNU_SOURCE -O2 -o "$work/bin/smallfile" \
    "$top/bench/smallfile.c" -pthread
if [ -r "$example" ]; then
    # shellcheck disable=SC2046
    "$cc" -O2 -o "$work/bin/passthrough_ll" "$example" \
        $(pkg-config --cflags --libs fuse3)
elif [ -r "$example.gz" ]; then
    # shellcheck disable=SC2046
    gzip -dc "$example.gz" | "$cc" -O2 -x c -o "$work/bin/passthrough_ll" - \
        -I"${example%/*}" $(pkg-config --cflags --libs fuse3)
fi

# Process 1 of the namespace is a shell that stays: it reaps daemons' orphans,
# and when it ends the kernel ends all that is left.
export BENCH_TOP=$top BENCH_WORK=$work
rc=0
# shellcheck disable=SC2016
unshare --mount --net --pid --fork --mount-proc --kill-child \
    bash -c '
        set -eu
        mount -t tmpfs -o mode=755 tmpfs /run
        mkdir -p /run/lock /run/mount
        ip link set lo up
        ip address add 192.0.2.1/32 dev lo
        rc=0
        python3 "$BENCH_TOP/bench/bench.py" "$@" || rc=$?
        exit $rc
    ' bench "${args[@]}" &
child=$!
wait "$child" || rc=$?
child=''
exit $rc
