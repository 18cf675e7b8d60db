# SPDX-License-Identifier: Apache-2.0
# needs: root fuse long
#
# This project, built on a volume, and its unit tests run there.

set -u
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

mnt=$base/mnt
nothing_to_do() { ninja -C "$mnt/build" -n | grep -q "no work to do"; }

cluster_up
volume_up demo 3
volume_mount demo "$mnt"

t "clone the repository" \
    git -c safe.directory='*' clone -q --no-hardlinks "$top" "$mnt/clusterfs"
t "meson sets up a build" meson setup "$mnt/build" "$mnt/clusterfs"
t "the build succeeds" ninja -C "$mnt/build"
t "the unit tests pass" meson test -C "$mnt/build" --suite unit
t "a second build has nothing to do" nothing_to_do
cluster_down demo
