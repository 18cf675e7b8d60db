#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# umount.clusterfs - unmount a clusterfs volume, and wait for its client.
#
#   umount.clusterfs [-flnrv] MOUNTPOINT
#
# Called by umount(8), which looks for it as umount.fuse.clusterfs. A plain
# umount returns while the client still says goodbye to its bricks: a volume
# stop or a power-off right after it would find it at that. So wait for the
# client's process, as long as nothing else holds the file system.

set -u
me=umount.clusterfs
wait_s=${CLUSTERFS_UMOUNT_WAIT:-30}

usage()
{
    cat <<EOT
Usage: $me [-flnrv] MOUNTPOINT

  -f  even if the client does not answer (what it still had to write is lost)
  -l  detach now, end when the last user has gone
  -n  do not write mount's table    -r  if busy, make it read-only
  -v  say what is done
EOT
}

die()
{
    code=$1
    shift
    printf '%s: %s\n' "$me" "$*" >&2
    exit "$code"
}

mnt='' verbose='' lazy='' pass=''
while [ $# -gt 0 ]; do
    case $1 in
    -h|--help) usage; exit 0 ;;
    -N|-t|-O) [ $# -ge 2 ] || die 1 "$1 needs an argument"; shift ;;
    --) ;;
    -[flnrv]*)
        flags=${1#-}
        while [ -n "$flags" ]; do
            case $flags in
            f*) pass="$pass -f" ;;
            l*) pass="$pass -l"; lazy=1 ;;
            n*) pass="$pass -n" ;;
            r*) pass="$pass -r" ;;
            v*) verbose=1 ;;
            *) die 1 "unknown flag -$flags; try --help" ;;
            esac
            flags=${flags#?}
        done ;;
    -*) die 1 "unknown flag $1; try --help" ;;
    *) [ -z "$mnt" ] || die 1 "too many arguments: $1"
       mnt=$1 ;;
    esac
    shift
done
if [ -z "$mnt" ]; then
    usage >&2
    exit 1
fi

# Not through the mount itself: its client may be dead or hang.
case $mnt in
/) ;;
*)  mnt=${mnt%/}
    base=${mnt##*/}
    case $base in
    .|..) mnt=$(cd -P -- "$mnt" && pwd -P) || exit 1 ;;
    *)  dir=$(dirname -- "$mnt")
        dir=$(cd -P -- "$dir" && pwd -P) || exit 1
        mnt=${dir%/}/$base ;;
    esac ;;
esac

# mountinfo writes blanks and backslashes in octal.
dev_of()
{
    awk -v m="$(printf '%s' "$1" | sed -e 's/\\/\\134/g' -e 's/ /\\040/g' \
        -e 's/	/\\011/g' -e 's/\\/\\\\/g')" \
        '$5 == m { d = $3 } END { print d }' /proc/self/mountinfo
}

dev=$(dev_of "$mnt")
[ -n "$dev" ] || die 32 "$mnt: not mounted"

# The clients of this mount: mount.clusterfs gives them the mount point last.
clients=
for p in /proc/[0-9]*; do
    case $(tr '\0' '\n' <"$p/cmdline" 2>/dev/null | sed -n '1p') in
    *clusterfs-client) ;;
    *) continue ;;
    esac
    last=$(tr '\0' '\n' <"$p/cmdline" 2>/dev/null | tail -n 1)
    [ "$last" = "$mnt" ] && clients="$clients ${p#/proc/}"
done

[ -z "$verbose" ] || echo "$me: umount -i$pass $mnt (client:${clients:- none})"
# shellcheck disable=SC2086
umount -i $pass -- "$mnt" || exit $?
[ -z "$lazy" ] || exit 0

# Bound elsewhere, it goes on.
if awk -v d="$dev" '$3 == d { found = 1 } END { exit !found }' \
    /proc/self/mountinfo; then
    exit 0
fi

left=$((wait_s * 20))
for pid in $clients; do
    while [ -d "/proc/$pid" ] &&
          ! grep -q '^State:	[ZX]' "/proc/$pid/status" 2>/dev/null; do
        if [ $left -le 0 ]; then
            echo "$me: $mnt is unmounted, but its client (process $pid)" \
                 "still runs after $wait_s s" >&2
            exit 0
        fi
        left=$((left - 1))
        sleep 0.05
    done
done
exit 0
