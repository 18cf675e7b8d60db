#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/run.sh - build, and run the tests.
#
#   tests/run.sh [--long] [--sanitize] [--list] [SUITE[/TEST]...]
#
#   --long      with the tests that take minutes
#   --sanitize  a build of its own with address and undefined-behaviour checks
#   --list      what there is, without running it
#   SUITE       a suite (unit, e2e, ...), or one test of it: unit/volfile,
#               e2e/test_mount.py; default: everything
#
# Installs the packages that are missing, builds in build-test/ (all warnings are
# errors, but with --sanitize), prints one line a test, and ends with `N passed,
# N failed, N skipped`. The exit status is 0 only when none failed. What needs root
# or /dev/fuse is skipped, with the reason, where that is missing. Whatever a test
# leaves behind (processes, mounts, loop devices, network namespaces) is removed,
# and is a failure. It is removed when the run is interrupted, too, and by the next
# run when this one was killed. What failed is listed again at the end, with the last
# lines of its output. All outputs are in build-test/log/, and in log/times there how
# long each took.

set -eu
top=$(cd "$(dirname "$0")/.." && pwd -P)
# shellcheck source=extras/install-deps.sh
. "$top/extras/install-deps.sh"

build=$top/build-test
options=(--buildtype=debugoptimized)
werror=true
args=()
for a in "$@"; do
    case $a in
    -h|--help) sed -n '4,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --sanitize)
        build=$top/build-sanitize
        werror=false # of GCC's warnings some are wrong then, as its manual says
        options+=("-Db_sanitize=address,undefined" -Db_lundef=false) ;;
    --long|--list) args+=("$a") ;;
    -*) echo "tests: unknown option $a; try --help" >&2; exit 2 ;;
    *) args+=("$a") ;;
    esac
done

install_deps build run test
echo "Building in $build"
if ! "$top/extras/build.sh" "$build" "$build/build.log" "${options[@]}" \
     "-Dwerror=$werror"; then
    echo "FAIL build"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
# The packages' python, whatever else is in PATH.
python=/usr/bin/python3
[ -x "$python" ] || python=python3
exec "$python" -B "$top/tests/run.py" "$build" "${args[@]}"
