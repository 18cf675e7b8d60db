#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# install-deps.sh - what clusterfs needs from the distribution.
#
#   extras/install-deps.sh [build] [run] [test] [bench]     default: build run
#
# Run it, or source it and call install_deps with the same words. On Debian and
# Ubuntu what is missing is installed with apt-get; nothing is called when
# nothing is missing. On any other system it prints what is needed and fails.
# Without root it fails and says which command root has to run.

deps_build=(gcc libc6-dev meson ninja-build pkg-config libfuse3-dev libuv1-dev
            libprotobuf-c-dev protobuf-c-compiler liblz4-dev
            libcmocka-dev libsqlite3-dev libcurl4-openssl-dev libjansson-dev
            libssl-dev libxxhash-dev libblkid-dev libmount-dev uuid-dev)
deps_run=(fuse3 mount util-linux psmisc procps)
deps_test=(python3 python3-pytest python3-lz4 python3-xxhash acl attr
           e2fsprogs etcd-server fuse3 git iproute2 nftables openssl rsync
           sqlite3 systemd)
deps_bench=(python3 git fio sqlite3 attr iproute2 libfuse3-dev fuse3 gcc
            pkg-config xz-utils glusterfs-server glusterfs-client)

deps_elsewhere() {
    cat >&2 <<'EOT'
clusterfs needs, by what they provide:
  to build   a C compiler (gcc 10 or clang 12 and newer) and the C library's
             headers, meson 1.0 or newer, ninja, pkg-config, protoc-c;
             and, with their headers: libfuse 3.14 or newer,
             libuv 1.44, protobuf-c 1.3, lz4, sqlite 3, libcurl, jansson,
             openssl 3, xxhash, libblkid, libmount, libuuid, cmocka
  to run     fusermount3 and a kernel with fuse; umount, mount (util-linux);
             fuser, ps; for several nodes etcd 3.4 or newer
  to test    python 3 with pytest, lz4, xxhash; etcd, getfacl, getfattr, git, openssl,
             rsync, sqlite3, mkfs.ext4, ip, tc, nft, systemd
  to bench   fio, git, sqlite3, ip, nsenter, unshare; glusterd and gluster;
             libfuse's example passthrough_ll.c
Install them with this system's package manager; then run the command again
with CLUSTERFS_SKIP_DEPS=1 in the environment.
EOT
}

deps_have_apt() {
    local ID="" ID_LIKE=""

    command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
        return 1
    # shellcheck disable=SC1091
    [ -r /etc/os-release ] && . /etc/os-release
    case " $ID $ID_LIKE " in
    *" debian "*|*" ubuntu "*) return 0 ;;
    esac
    return 1
}

# Print those of the packages given that are not installed.
deps_missing() {
    local p

    for p in "$@"; do
        case $(dpkg-query -W -f '${db:Status-Status} ' "$p" 2>/dev/null) in
        *"installed "*) ;;
        *) echo "$p" ;;
        esac
    done | grep -v '^$' | sort -u
}

# install_deps GROUP...: 0 when all is there, or has been installed.
install_deps() {
    local group want=() missing log rc

    [ -z "${CLUSTERFS_SKIP_DEPS:-}" ] || return 0
    for group in "$@"; do
        case $group in
        build) want+=("${deps_build[@]}") ;;
        run) want+=("${deps_run[@]}") ;;
        test) want+=("${deps_test[@]}") ;;
        bench) want+=("${deps_bench[@]}") ;;
        *) echo "install-deps: no group '$group'" \
                "(build, run, test, bench)" >&2
           return 2 ;;
        esac
    done
    if ! deps_have_apt; then
        echo "install-deps: this is neither Debian nor Ubuntu." >&2
        deps_elsewhere
        return 1
    fi
    mapfile -t missing < <(deps_missing "${want[@]}")
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "install-deps: some packages are missing; as root, run:" >&2
        echo "  apt-get update && apt-get install --no-install-recommends" \
             "${missing[*]}" >&2
        return 1
    fi

    echo "Installing ${#missing[@]} packages: ${missing[*]}"
    log=$(mktemp "${TMPDIR:-/tmp}/clusterfs-deps.XXXXXX") || return 1
    rc=0
    {
        apt-get update &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y \
            --no-install-recommends "${missing[@]}"
    } >"$log" 2>&1 </dev/null || rc=$?
    if [ $rc != 0 ]; then
        grep -E '^(E|W|Err):?' "$log" | tail -n 8 >&2
        echo "install-deps: apt-get failed ($rc); all it said: $log" >&2
        return 1
    fi
    rm -f "$log"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -u
    case ${1-} in
    -h|--help)
        sed -n '4,/^$/s/^# \{0,1\}//p' "$0"
        exit 0 ;;
    esac
    [ $# -gt 0 ] || set -- build run
    install_deps "$@"
fi
