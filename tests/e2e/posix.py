#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""posix.py - does a directory behave as POSIX and Linux say?

    posix.py [-v] [-l] DIRECTORY [WORD...]

Runs every test (or those whose names contain a WORD) in a fresh directory
below DIRECTORY, on any file system: run on a local one it checks itself. As
root it also tests owners, other users and device files. Prints a line for each
test that fails or is skipped, and the counts; exit status 1 if any failed.
"""

import argparse
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import posix_lib  # noqa: E402
import posix_names  # noqa: E402,F401
import posix_data  # noqa: E402,F401
import posix_space  # noqa: E402,F401
import posix_attr  # noqa: E402,F401
import posix_dirs  # noqa: E402,F401


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("-v", action="store_true", help="say what passed, too")
    p.add_argument("-l", action="store_true", help="list the tests")
    p.add_argument("directory", nargs="?")
    p.add_argument("words", nargs="*")
    args = p.parse_args()
    if args.l:
        for fn in posix_lib.tests:
            print(fn.__name__, "-", (fn.__doc__ or "").split("\n")[0])
        return 0
    if args.directory is None:
        p.error("which directory?")
    where = os.path.realpath(args.directory)
    ok, failed, skipped = posix_lib.run_all(where, args.words, args.v)
    print(f"posix {args.directory}: {ok} passed, {failed} failed, "
          f"{skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
