#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
#
# The first of the two commands: from a clone to a mounted volume, again, down,
# up again with the data still there, and gone.

set -u
top=$(cd "$(dirname "$0")/../.." && pwd -P)
dir=$CLUSTERFS_TEST_WORK/q
mnt=$dir/mnt

quickstart() { "$top/extras/quickstart.sh" --dir "$dir" "$@"; }
pids() { "$top/extras/procs.sh" "$dir/run" "$@"; }

# t NAME COMMAND...: one test, passed if the command succeeds.
t() {
    local name=$1 out

    shift
    if out=$("$@" 2>&1); then
        echo "ok - $name"
    else
        echo "not ok - $name"
        printf '%s\n' "$out" | sed 's/^/# /'
    fi
}

bricks_run() { [ "$(pids brickd | grep -c .)" = 3 ]; }
is_mounted() { mountpoint -q "$mnt"; }
is_gone() { ! mountpoint -q "$mnt" && [ -z "$(pids)" ]; }

t "one command mounts a volume" quickstart
t "it is a mount" is_mounted
is_mounted || exit 1
t "three bricks serve it" bricks_run
t "files can be copied onto it" cp -r "$top/extras" "$mnt/"
t "and are what they were" diff -r "$top/extras" "$mnt/extras"
before=$(pids)
t "running it again is harmless" quickstart
t "and starts nothing anew" [ "$before" = "$(pids)" ]
t "--stop takes it down" quickstart --stop
t "nothing of it runs or is mounted" is_gone
t "--stop again is harmless" quickstart --stop
t "it starts again" quickstart
t "with its data" diff -r "$top/extras" "$mnt/extras"
t "--clean removes everything" quickstart --clean
t "nothing is left" [ ! -e "$dir" ]
