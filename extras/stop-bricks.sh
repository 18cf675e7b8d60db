#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# stop-bricks.sh - ask all brick servers of an instance to stop, and wait.
#
#   stop-bricks.sh [--timeout SECONDS]
#
# The instance is that of $CLUSTERFS_RUN_DIR, else /run/clusterfs. On SIGTERM a
# brick server writes a checkpoint, marks its brick clean and ends. One that is
# not done in time is left as it is, not killed: its journal covers it, and the
# system's own shutdown has the last word.

set -u
timeout=150
case ${1-} in
'') ;;
--timeout) timeout=${2:?--timeout needs seconds} ;;
*) sed -n '4,11s/^# \{0,1\}//p' "$0"; exit 1 ;;
esac
run_dir=${CLUSTERFS_RUN_DIR:-/run/clusterfs}
procs=$(dirname "$(readlink -f "$0")")/procs.sh

pids=$("$procs" "$run_dir" brickd)
[ -n "$pids" ] || exit 0
# shellcheck disable=SC2086
kill -TERM $pids 2>/dev/null

# Of @pids those that have not ended. One that is about to has no command line
# any more, but may still have its device open: procs.sh does not see it.
not_ended()
{
    for p in $pids; do
        grep -q '^State:	[^ZX]' "/proc/$p/status" 2>/dev/null && echo "$p"
    done
}

left=$((timeout * 5))
while pids=$({ not_ended; "$procs" "$run_dir" brickd; } | sort -nu) &&
      [ -n "$pids" ]; do
    if [ $left -le 0 ]; then
        printf "stop-bricks: after %s s there still runs: %s\n" \
            "$timeout" "$(echo "$pids" | tr "\n" " ")" >&2
        exit 1
    fi
    left=$((left - 1))
    sleep 0.2
done
exit 0
