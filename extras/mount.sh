#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# mount.clusterfs - mount a clusterfs volume.
#
#   mount.clusterfs [-fnsv] VOLUME|HOST:/VOLUME MOUNTPOINT [-o OPTION[,...]]
#
# Called by mount(8) for `mount -t clusterfs` and for lines of fstab, and, as
# mount.fuse.clusterfs, to remount. It turns mount's options into those of
# clusterfs-client, which goes into the background by itself once the file
# system serves. Until then we wait; when it cannot serve, the client says why
# on stderr, and nothing stays mounted.
#
# Exit codes are mount(8)'s: 0 mounted, 1 wrong usage, 2 system error,
# 32 the mount failed.

set -u
umask 022
me=mount.clusterfs

# Every option that takes or may take a value ends with '='.
own_options='ro rw log-level= log-file= backup-volfile-servers= credentials= volfile=
mount-timeout= run-dir= port= volfile-server-port= allow_other
default_permissions'
fuse_options='suid nosuid dev nodev exec noexec atime noatime diratime
nodiratime relatime norelatime strictatime nostrictatime lazytime nolazytime
sync async dirsync max_read= fsname= subtype= context= fscontext= defcontext=
rootcontext= kernel-lease= read-ahead= spin= detach-grace= max-background=
max-calls='
# What mount(8), fstab and systemd keep for themselves.
other_options='defaults auto noauto _netdev nofail user nouser users nousers
owner noowner group nogroup remount loop= comment= mand nomand silent loud
iversion noiversion helper= uhelper= symfollow nosymfollow user_id= group_id=
rootmode= fd= blksize='

usage()
{
    cat <<EOT
Usage: $me [-fnsv] VOLUME|HOST:/VOLUME MOUNTPOINT [-o OPTION[,OPTION...]]

  VOLUME        a volume of the cluster that this machine belongs to
  HOST:/VOLUME  ask HOST's clusterfs-mgmtd for the volume; HOST,HOST2:/VOLUME
                and an IPv6 address in brackets are understood

  -f  check everything, but do not mount      -n  do not write mount's table
  -s  ignore options that are not known       -v  say what is called

Options:
  ro                            no changes through this mount
  log-level=error|warning|info|debug|trace
  log-file=FILE                 default: under /var/log/clusterfs
  backup-volfile-servers=A:B    hosts to ask when the first does not answer
  credentials=FILE              what 'clusterfs client add' made
                                (/etc/clusterfs/client.pem)
  volfile=FILE                  use this volfile and ask nobody
  mount-timeout=SECONDS         how long to wait for the volume to serve
  allow_other, default_permissions
                                both are the default for root
  run-dir=DIR, port=N           find a clusterfs-mgmtd that is not the system's
                                (as CLUSTERFS_RUN_DIR and CLUSTERFS_PORT do)
  kernel-lease=MS               how long the kernel may keep names and attributes
  read-ahead=KIB, max-background=N, max-calls=N, spin=US, detach-grace=MS
                                see the manual page
and mount's own: nosuid, nodev, noexec, noatime, _netdev, nofail, x-...
EOT
}

die()
{
    code=$1
    shift
    printf '%s: %s\n' "$me" "$*" >&2
    exit "$code"
}

# The known options nearest to $1 by edit distance, in words for a person.
nearest()
{
    # shellcheck disable=SC2086
    printf '%s\n' $own_options $fuse_options $other_options |
    awk -v want="${1%%=*}" '
    function dist(a, b,    i, j, la, lb, d, c, t) {
        la = length(a); lb = length(b)
        for (i = 0; i <= la; i++) d[i, 0] = i
        for (j = 0; j <= lb; j++) d[0, j] = j
        for (i = 1; i <= la; i++)
            for (j = 1; j <= lb; j++) {
                c = substr(a, i, 1) != substr(b, j, 1)
                t = d[i - 1, j - 1] + c
                if (d[i - 1, j] + 1 < t) t = d[i - 1, j] + 1
                if (d[i, j - 1] + 1 < t) t = d[i, j - 1] + 1
                d[i, j] = t
            }
        return d[la, lb]
    }
    {
        name = $0; sub(/=$/, "", name)
        near = dist(want, name)
        far = 1 + int(length(want) / 3)
        if (near > far && substr(name, 1, 4) == substr(want, 1, 4)) near = far
        if (near > far) next
        if (best == "" || near < low) { low = near; best = $0 }
        else if (near == low) best = best " or " $0
    }
    END { if (best != "") print best }'
}

is_one_of()
{
    for w in $2; do
        case $w in
        *=) case $1 in "$w"?*) return 0 ;; esac ;;
        *) [ "$1" = "$w" ] && return 0 ;;
        esac
    done
    return 1
}

is_number()
{
    case $1 in ''|*[!0-9]*) return 1 ;; esac
    [ ${#1} -le 9 ]
}

# HOST:HOST2, with IPv6 addresses in brackets, one a line.
split_hosts()
{
    printf '%s\n' "$1" | sed -e 's/\(\[[^]]*\]\)/\n\1\n/g' | awk '
        /^\[/ { print; next }
        { n = split($0, h, /[:,]/)
          for (i = 1; i <= n; i++) if (h[i] != "") print h[i] }'
}

# mountinfo's way to write a path.
escape_path()
{
    printf '%s' "$1" |
        sed -e 's/\\/\\134/g' -e 's/ /\\040/g' -e 's/	/\\011/g'
}

# Type and source, as mountinfo writes them, of what is mounted at $1.
mount_at()
{
    awk -v m="$(escape_path "$1" | sed 's/\\/\\\\/g')" '
        { for (i = 7; i < NF && $i != "-"; i++);
          if ($5 == m) t = $(i + 1) " " $(i + 2) }
        END { print t }' /proc/self/mountinfo
}

find_client()
{
    if [ -n "${CLUSTERFS_CLIENT:-}" ]; then
        printf '%s\n' "$CLUSTERFS_CLIENT"
        return
    fi
    here=$(dirname "$(readlink -f "$0")")
    for d in "$here" "$here/../sbin" /usr/sbin /usr/local/sbin; do
        if [ -x "$d/clusterfs-client" ]; then
            printf '%s\n' "$d/clusterfs-client"
            return
        fi
    done
    command -v clusterfs-client
}

case ${1-} in
-h|--help) usage; exit 0 ;;
esac

# mount(8) puts its options after the two names, a person perhaps before.
spec='' mnt='' opts='' fake='' sloppy='' verbose='' nomtab=''
while [ $# -gt 0 ]; do
    case $1 in
    -o) [ $# -ge 2 ] || die 1 "-o needs options"
        opts=${opts:+$opts,}$2; shift ;;
    -o*) opts=${opts:+$opts,}${1#-o} ;;
    -N|-t) [ $# -ge 2 ] || die 1 "$1 needs an argument"; shift ;;
    -h|--help) usage; exit 0 ;;
    --) ;;
    -r) opts=${opts:+$opts,}ro ;;
    -w) opts=${opts:+$opts,}rw ;;
    -[fnsv]*)
        flags=${1#-}
        while [ -n "$flags" ]; do
            case $flags in
            f*) fake=1 ;;
            n*) nomtab=1 ;;
            s*) sloppy=1 ;;
            v*) verbose=1 ;;
            *) die 1 "unknown flag -$flags; try --help" ;;
            esac
            flags=${flags#?}
        done ;;
    -*) die 1 "unknown flag $1; try --help" ;;
    *)  if [ -z "$spec" ]; then spec=$1
        elif [ -z "$mnt" ]; then mnt=$1
        else die 1 "too many arguments: $1"
        fi ;;
    esac
    shift
done
if [ -z "$spec" ] || [ -z "$mnt" ]; then
    usage >&2
    exit 1
fi

case $spec in
*:*)
    servers=$(split_hosts "${spec%:*}")
    volume=${spec##*:}
    volume=${volume#/}
    [ -n "$servers" ] || die 1 "no host before the colon in '$spec'" ;;
*)
    servers=
    volume=${spec#/} ;;
esac
case $volume in
'') die 1 "no volume in '$spec'; expected VOLUME or HOST:/VOLUME" ;;
*/*) die 1 "'$volume' is no name of a volume (a folder of a volume" \
         "cannot be mounted by itself)" ;;
esac

run_dir=${CLUSTERFS_RUN_DIR:-}
port=${CLUSTERFS_PORT:-}
volfile='' credentials='' log_level='' log_file='' timeout=''
ro='' remount='' backups='' fuse=''
old_ifs=$IFS
# One option a line; commas inside double quotes belong to the value.
list=$(printf '%s\n' "$opts" | awk '{
    n = length($0); q = 0; o = ""
    for (i = 1; i <= n; i++) {
        c = substr($0, i, 1)
        if (c == "\"") q = !q
        if (c == "," && !q) { if (o != "") print o; o = "" } else o = o c
    }
    if (o != "") print o }')
IFS='
'
set -f
for o in $list; do
    IFS=$old_ifs
    v=${o#*=}
    case $o in
    ro) ro=1 ;;
    rw) ro= ;;
    remount) remount=1 ;;
    log-level=?*)
        is_one_of "$v" 'error warning info debug trace' ||
            die 1 "log-level=$v: expected error, warning, info, debug or trace"
        log_level=$v ;;
    log-file=?*) log_file=$v ;;
    backup-volfile-servers=?*|backupvolfile-server=?*)
        backups=$(split_hosts "$v") ;;
    volfile=?*)
        [ -r "$v" ] || die 1 "volfile=$v: cannot read it"
        volfile=$(readlink -f "$v") ;;
    credentials=?*)
        [ -r "$v" ] || die 1 "credentials=$v: cannot read it"
        credentials=$(readlink -f "$v") ;;
    mount-timeout=?*)
        is_number "$v" || die 1 "mount-timeout=$v: expected seconds"
        timeout=$v ;;
    run-dir=?*)
        [ -d "$v" ] || die 1 "run-dir=$v: no such directory"
        run_dir=$(readlink -f "$v") ;;
    port=?*|volfile-server-port=?*)
        { is_number "$v" && [ "$v" -ge 1 ] && [ "$v" -le 65535 ]; } ||
            die 1 "$o: expected a number from 1 to 65535"
        port=$v ;;
    allow_other|default_permissions) fuse=${fuse:+$fuse,}$o ;;
    x-*|X-*|comment=*) ;;
    *)
        if is_one_of "$o" "$fuse_options"; then
            fuse=${fuse:+$fuse,}$o
        elif is_one_of "$o" "$other_options"; then
            :
        elif [ -z "$sloppy" ]; then
            near=$(nearest "$o")
            case " $own_options " in
            *[[:space:]]"${o%%=*}="[[:space:]]*)
                die 1 "option '${o%%=*}' needs a value: ${o%%=*}=..." ;;
            esac
            die 1 "unknown option '$o'${near:+; do you mean $near}" \
                "(-s ignores it, --help lists all)"
        fi ;;
    esac
    IFS='
'
done
IFS=$old_ifs
set +f

# A client that died leaves a mount on which everything, stat too, fails.
if [ ! -d "$mnt" ]; then
    [ ! -e "$mnt" ] || die 32 "$mnt: not a directory"
    why=$(LC_ALL=C ls -d "$mnt/." 2>&1 >/dev/null)
    case $why in
    *"not connected"*)
        die 32 "$mnt: the client of an earlier mount has died there;" \
            "run: umount $mnt" ;;
    *)  die 32 "$mnt: ${why##*: }" ;;
    esac
fi
mnt=$(cd -P -- "$mnt" && pwd -P) || die 32 "$mnt: cannot enter it"

mounted_here=$(mount_at "$mnt")
mounted_here=${mounted_here%% *}
if [ -n "$remount" ]; then
    [ "$mounted_here" = fuse.clusterfs ] ||
        die 32 "$mnt: no clusterfs is mounted there, so no remount"
    [ -n "$fake" ] && exit 0
    kept=remount,${ro:+ro}
    [ -n "$ro" ] || kept=remount,rw
    exec mount -i -o "$kept${fuse:+,$fuse}" "$mnt"
fi
if [ "$mounted_here" = fuse.clusterfs ]; then
    die 32 "$mnt: a clusterfs is mounted there already"
fi
[ -e /dev/fuse ] || modprobe fuse 2>/dev/null
[ -e /dev/fuse ] || die 32 "/dev/fuse is missing: no fuse in this kernel"

client=$(find_client)
if [ ! -x "$client" ]; then
    die 2 "clusterfs-client is not installed beside $me"
fi

set -- --volume "$volume"
for s in $servers $backups; do
    set -- "$@" --volfile-server "$s${port:+:$port}"
done
[ -z "$credentials" ] || set -- "$@" --credentials "$credentials"
[ -z "$volfile" ] || set -- "$@" --volfile "$volfile"
[ -z "$run_dir" ] || set -- "$@" --run-dir "$run_dir"
[ -z "$port" ] || set -- "$@" --port "$port"
[ -z "$log_level" ] || set -- "$@" --log-level "$log_level"
[ -z "$log_file" ] || set -- "$@" --log-file "$log_file"
[ -z "$timeout" ] || set -- "$@" --mount-timeout "$timeout"
[ -z "$ro" ] || set -- "$@" --ro
[ -z "$fuse" ] || set -- "$@" -o "$fuse"
set -- "$@" "$mnt"

if [ -n "$verbose" ]; then
    printf '%s:' "$me"
    printf ' %s' "$client" "$@"
    printf '\n'
fi
[ -z "$fake" ] || exit 0

"$client" "$@" </dev/null
code=$?
if [ $code != 0 ]; then
    [ $code -lt 128 ] || die 32 "clusterfs-client ended by signal $((code - 128))"
    exit 32
fi

# umount(8) calls our umount helper only for a mount that is in libmount's own
# table, and libmount enters one only if it has an option for user space.
m=$(mount_at "$mnt")
source=${m#* }
if [ -z "$nomtab" ] && [ "${m%% *}" = fuse.clusterfs ] &&
   ! grep -qsF "SRC=$source TARGET=$(escape_path "$mnt") " /run/mount/utab; then
    mount -i -f -t fuse.clusterfs -o _netdev "$source" "$mnt" 2>/dev/null || :
fi
exit 0
