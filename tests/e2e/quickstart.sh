# SPDX-License-Identifier: Apache-2.0
#
# The first of the two commands: from a clone to a mounted volume, again, down,
# up again with the data still there, and gone.

set -u
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
dir=$base/q
mnt=$dir/mnt
base=$dir # what pids looks at

quickstart() {
    "$top/extras/quickstart.sh" --dir "$dir" "$@"
}

is_mounted() { mountpoint -q "$mnt"; }
is_gone() { ! mountpoint -q "$mnt" && [ -z "$(pids)" ]; }

t "one command mounts a volume" quickstart
t "it is a mount" is_mounted
t "three bricks serve it" count_is 3 brickd
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
