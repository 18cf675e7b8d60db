#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# needs: fuse
#
# What mount.clusterfs makes of mount's options, with a client that only says
# how it was called.

set -u
mount=$CLUSTERFS_PREFIX/sbin/mount.clusterfs
mnt="$CLUSTERFS_TEST_WORK/a mount point"
mkdir "$mnt"
unset CLUSTERFS_RUN_DIR CLUSTERFS_PORT

# FAIL names a message to fail with.
cat >"$CLUSTERFS_TEST_WORK/client" <<'EOT'
#!/bin/sh
if [ -n "${FAIL:-}" ]; then
    echo "clusterfs-client: $FAIL" >&2
    exit 1
fi
for a; do printf '%s|' "$a"; done
EOT
chmod +x "$CLUSTERFS_TEST_WORK/client"
export CLUSTERFS_CLIENT=$CLUSTERFS_TEST_WORK/client

# t NAME STATUS PATTERN ARG...: the whole output must match the pattern.
t() {
    local name=$1 want=$2 pattern=$3 out rc

    shift 3
    out=$("$mount" "$@" 2>&1)
    rc=$?
    # shellcheck disable=SC2254
    case $out in
    $pattern) [ $rc = "$want" ] && { echo "ok - $name"; return; } ;;
    esac
    echo "not ok - $name"
    echo "# status $rc, wanted $want; said: $out"
}

t "a volume alone" 0 "--volume|demo|$mnt|" demo "$mnt"
t "a host" 0 "--volume|demo|--volfile-server|h|$mnt|" h:/demo "$mnt"
t "a host, and a volume without a slash" 0 \
    "--volume|demo|--volfile-server|h|$mnt|" h:demo "$mnt"
t "hosts, one of them an IPv6 address" 0 \
    "--volume|demo|--volfile-server|h|--volfile-server|\[fe80::1\]|$mnt|" \
    "h,[fe80::1]:/demo" "$mnt"
t "backup servers, with a port" 0 \
    "*|--volfile-server|a:99|--volfile-server|b:99|--port|99|$mnt|" \
    a:/demo "$mnt" -o backup-volfile-servers=b,port=99
t "read-only, and options for the kernel" 0 \
    "--volume|demo|--ro|-o|nosuid,allow_other|$mnt|" \
    demo "$mnt" -o ro,nosuid,allow_other
t "what fstab and systemd add is left out" 0 "--volume|demo|$mnt|" \
    demo "$mnt" -o defaults,_netdev,nofail,noauto,x-systemd.automount
t "a value with a comma in quotes is one option" 0 \
    "*|-o|context=\"a,b\",noatime|$mnt|" \
    demo "$mnt" -o 'context="a,b",noatime'
t "the last of ro and rw wins" 0 "--volume|demo|$mnt|" demo "$mnt" -o ro,rw
t "logs, time-out, directory" 0 \
    "*--run-dir|$mnt|--log-level|debug|--log-file|/l|--mount-timeout|7|$mnt|" \
    demo "$mnt" -o "log-level=debug,log-file=/l,mount-timeout=7,run-dir=$mnt"
CLUSTERFS_RUN_DIR=/r CLUSTERFS_PORT=5 \
    t "the instance from the environment" 0 "*|--run-dir|/r|--port|5|$mnt|" \
    demo "$mnt"
t "fake: nothing is called" 0 "" demo "$mnt" -f
t "an option misspelt" 1 "*unknown option 'log_level=x'*mean log-level=*" \
    demo "$mnt" -o log_level=x
t "an option half known" 1 "*mean backup-volfile-servers=*" \
    demo "$mnt" -o backup-server=x
t "an option like no other" 1 "*unknown option 'qqqq' (*" \
    demo "$mnt" -o qqqq
t "an unknown option with -s" 0 "--volume|demo|$mnt|" -s demo "$mnt" -o qqqq
t "an option without its value" 1 "*'log-level' needs a value*" \
    demo "$mnt" -o log-level
t "a log level that is none" 1 "*expected error, warning*" \
    demo "$mnt" -o log-level=loud
t "a port that is none" 1 "*from 1 to 65535*" demo "$mnt" -o port=65536
t "a volfile that is not there" 1 "*cannot read it*" \
    demo "$mnt" -o volfile=/nonexistent
t "a folder of a volume" 1 "*'demo/a' is no name*" h:/demo/a "$mnt"
t "no host before the colon" 1 "*no host*" :/demo "$mnt"
t "a mount point that is not there" 32 "*No such file*" demo "$mnt/none"
t "a mount point that is a file" 32 "*not a directory*" \
    demo "$CLUSTERFS_TEST_WORK/client"
t "no arguments" 1 "Usage:*"
FAIL="volume 'demo' is stopped" \
    t "the client's reason is shown" 32 \
    "clusterfs-client: volume 'demo' is stopped" demo "$mnt"
CLUSTERFS_CLIENT=/nonexistent t "no client" 2 "*not installed*" demo "$mnt"
t "remount of what is no mount" 32 "*no clusterfs is mounted*" \
    demo "$mnt" -o remount,ro
