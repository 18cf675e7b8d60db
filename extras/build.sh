#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# build.sh - build clusterfs, and put the programs where they can be run.
#
#   extras/build.sh BUILD_DIR LOG [OPTION OF MESON SETUP...]
#
# The programs go to BUILD_DIR/stage (bin, sbin, lib, ...): nothing outside of
# BUILD_DIR is written but LOG (which may be in it). In a user's clone it is the
# user who builds, also under sudo, since root's files would be in that user's
# way. Two calls at a time take turns. A failure is shown with the errors and the
# end of the log.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)
[ $# -ge 2 ] || { sed -n '4,/^$/s/^# \{0,1\}//p' "$0"; exit 2; }
build=$(realpath -m -- "$1")
log=$2
shift 2
stage=$build/stage

exec 8<"$0"
flock 8

as_owner() {
    local owner

    owner=$(stat -c %U "$top")
    if [ "$(id -u)" = 0 ] && [ "$owner" != root ] &&
       id "$owner" >/dev/null 2>&1; then
        runuser -u "$owner" -- "$@"
    else
        "$@"
    fi
}

step() {
    as_owner "$@" >>"$log" 2>&1 </dev/null 8<&- && return
    {
        echo "build: $1 failed; the log is $log"
        grep -E -m 10 '(error|ERROR|undefined reference)[: ]' "$log" |
            sed 's/^/    /'
        echo "    ..."
        tail -n 12 "$log" | sed 's/^/    /'
    } >&2
    exit 1
}

as_owner mkdir -p "$build"
rm -f "$log" # it may be root's, from another time
: >"$log"
if [ ! -f "$build/build.ninja" ]; then
    step meson setup "$build" "$top" --prefix="$stage" --sysconfdir=etc \
        --localstatedir=var "$@"
fi
step ninja -C "$build"
step meson install -C "$build" --no-rebuild --only-changed
