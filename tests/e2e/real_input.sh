# SPDX-License-Identifier: Apache-2.0
#
# Real trees on a volume of three replicas: what was copied is what is read, at
# once and after everything was stopped and started; and every brick, looked at
# off line, is sound.

set -u
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

mnt=$base/mnt
cluster_up
volume_up demo 3
volume_mount demo "$mnt"

must "the repository is there to copy" \
    rsync -aHX --exclude='/build*' "$top/" "$base/repository/"

mkdir "$mnt/special"
ln -s ../nowhere "$mnt/special/symlink"
mkfifo "$mnt/special/fifo"
mknod "$mnt/special/null" c 1 3
echo linked >"$mnt/special/one"
ln "$mnt/special/one" "$mnt/special/two"
truncate -s 5G "$mnt/special/sparse"
printf end | dd of="$mnt/special/sparse" bs=1 seek=5G conv=notrunc status=none
name255=$(printf 'n%.0s' {1..255})
echo long >"$mnt/special/$name255"
echo odd >"$mnt/special/"$'odd \x01\xff\n name'
setfattr -n user.colour -v blue "$mnt/special/one"
chown 12:34 "$mnt/special/two"
chmod 6751 "$mnt/special/two"

t "copy /usr/include" cp -a /usr/include "$mnt/"
t "copy /usr/share/doc" cp -a /usr/share/doc "$mnt/"
t "copy this repository" cp -a "$base/repository" "$mnt/"

compare() {
    t "/usr/include is the same $1" same_tree /usr/include "$mnt/include"
    t "/usr/share/doc is the same $1" same_tree /usr/share/doc "$mnt/doc"
    t "the repository is the same $1" \
        same_tree "$base/repository" "$mnt/repository"
    t "git finds the repository sound $1" \
        git -c safe.directory='*' -C "$mnt/repository" fsck --no-progress
    t "a hard link has two names $1" \
        [ "$(stat -c '%h %u:%g %a' "$mnt/special/one")" = "2 12:34 6751" ]
    t "a symbolic link says where it goes $1" \
        [ "$(readlink "$mnt/special/symlink")" = ../nowhere ]
    t "a device and a fifo are what they were $1" \
        [ "$(stat -c %F:%t,%T "$mnt/special/null" "$mnt/special/fifo" |
             tr '\n' ' ')" = "character special file:1,3 fifo:0,0 " ]
    t "a file over 4 GiB has its end $1" \
        [ "$(tail -c 3 "$mnt/special/sparse")" = end ]
    t "and takes little space $1" \
        [ "$(stat -c %b "$mnt/special/sparse")" -lt 1024 ]
    t "a name of 255 bytes is found $1" \
        [ "$(cat "$mnt/special/$name255")" = long ]
    t "a name of odd bytes is found $1" \
        [ "$(cat "$mnt/special/"$'odd \x01\xff\n name')" = odd ]
    t "an extended attribute is kept $1" \
        [ "$(getfattr --only-values -n user.colour \
            "$mnt/special/two" 2>/dev/null)" = blue ]
}

compare "at once"
find "$mnt" -printf '%P %i %y %s %m %U:%G %T@ %l\n' | LC_ALL=C sort \
    >"$base/before"
cluster_down demo
for i in 1 2 3; do
    t "brick $i is sound" fsck.clusterfs "$(brick_image demo $i)"
done

cluster_up
must "volume demo is started again" clusterfs volume start demo
volume_mount demo "$mnt"
find "$mnt" -printf '%P %i %y %s %m %U:%G %T@ %l\n' | LC_ALL=C sort \
    >"$base/after"
t "every inode, time and owner is the same after a restart" \
    diff "$base/before" "$base/after"
compare "after a restart"
t "everything can be removed" find "$mnt" -mindepth 1 -delete
t "and nothing is there" [ -z "$(ls -A "$mnt")" ]
cluster_down demo
