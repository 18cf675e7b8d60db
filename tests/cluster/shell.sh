#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# not a test
#
# shell.sh - a cluster of N nodes to play with, and a shell.
#
#   tests/cluster/shell.sh [N] [COMMAND...]         N: default 3
#
# Builds and installs into build-test/, makes the nodes n1 to nN, starts mgmtd on
# each, and gives a shell in which
#
#   n2                     is a shell on n2 (exit leads back)
#   n2 COMMAND...          runs a command there
#   node n2 FAULT...       cut [n3] [in|out] | lose SHARE | slow RATE | mend |
#                          hang | resume | crash [lose] | boot | shutdown |
#                          wipe | fill | free | logs
#
# With a COMMAND that is run instead of a shell. At its end the cluster is gone.

set -eu
top=$(cd "$(dirname "$0")/../.." && pwd -P)
case ${1-} in
-h|--help) sed -n '5,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
# shellcheck source=extras/install-deps.sh
. "$top/extras/install-deps.sh"
install_deps build run test
if [ -z "${CLUSTERFS_PREFIX:-}" ]; then
    "$top/extras/build.sh" "$top/build-test" "$top/build-test/build.log" \
        --buildtype=debugoptimized
    export CLUSTERFS_PREFIX=$top/build-test/stage
fi
python=/usr/bin/python3
[ -x "$python" ] || python=python3
exec "$python" -B "$top/tests/cluster/shell.py" "$@"
