#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# procs.sh - print the process ids of one instance's daemons.
#
#   procs.sh RUN_DIR [PROGRAM...]      for example: /run/clusterfs brickd client
#
# An instance is known by its run directory, which each daemon has on its
# command line (--run-dir) or in its environment; the default is
# /run/clusterfs. Without a program: all of them.

set -u
[ $# -ge 1 ] || { sed -n '4,10s/^# \{0,1\}//p' "$0"; exit 1; }
run_dir=$1
shift
[ $# -gt 0 ] || set -- mgmtd brickd client shd dlmfs

is_wanted()
{
    name=$1
    shift
    for w in "$@"; do
        [ "$name" = "clusterfs-$w" ] && return 0
    done
    return 1
}

for p in /proc/[0-9]*; do
    pid=${p#/proc/}
    # A process may end while we look at it.
    args=$(tr '\0' '\n' 2>/dev/null <"$p/cmdline") 2>/dev/null || continue
    name=${args%%
*}
    is_wanted "${name##*/}" "$@" || continue
    grep -q '^State:	[ZX]' "$p/status" 2>/dev/null && continue
    dir=$(printf '%s\n' "$args" | awk '
        found { print; exit }
        $0 == "--run-dir" { found = 1 }
        sub(/^--run-dir=/, "") { print; exit }')
    if [ -z "$dir" ]; then
        dir=$(tr '\0' '\n' 2>/dev/null <"$p/environ" |
              sed -n 's/^CLUSTERFS_RUN_DIR=//p')
    fi
    if [ "${dir:-/run/clusterfs}" = "$run_dir" ]; then
        echo "$pid"
    fi
done 2>/dev/null | sort -n
