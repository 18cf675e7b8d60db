# SPDX-License-Identifier: Apache-2.0
#
# A brick server is killed in the middle of a copy, each of the three once: the
# copy goes on, the brick is started again, and every image is sound.

set -u
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

mnt=$base/mnt
copied() { cat "$base/cp.err"; [ "$(cat "$base/cp.status")" = 0 ]; }

for victim in 1 2 3; do
    cluster_up
    volume_up "v$victim" 3
    volume_mount "v$victim" "$mnt"

    {
        cp -a /usr/include "$mnt/" 2>"$base/cp.err"
        echo $? >"$base/cp.status"
    } &
    copy=$!
    must "the copy gets going" wait_until 30 [ -d "$mnt/include/linux" ]
    pid=$(pids brickd | sed -n "${victim}p")
    kill -KILL "$pid"
    t "brick $victim killed: it dies while the copy runs" kill -0 $copy
    wait $copy
    t "brick $victim killed: the copy ends well" copied
    t "brick $victim killed: nothing is missing" \
        same_tree /usr/include "$mnt/include"
    t "brick $victim killed: it is started again" \
        wait_until 30 count_is 3 brickd
    t "brick $victim killed: changes go on" mkdir "$mnt/after"
    cluster_down "v$victim"
    for i in 1 2 3; do
        t "brick $victim killed: image $i is sound" \
            fsck.clusterfs "$(brick_image "v$victim" $i)"
    done
done
