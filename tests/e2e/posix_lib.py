# SPDX-License-Identifier: Apache-2.0
"""What the tests of posix.py share: a registry, system calls that Python
lacks, other users, expectations."""

import ctypes
import errno
import os
import random
import shutil
import stat
import sys
import traceback

libc = ctypes.CDLL(None, use_errno=True)

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
FALLOC_FL_KEEP_SIZE = 1
FALLOC_FL_PUNCH_HOLE = 2
FALLOC_FL_ZERO_RANGE = 16
AT_FDCWD = -100

USER = 61234   # nobody's
GROUP = 61234
OTHER_GROUP = 61235

tests = []


class Skip(Exception):
    pass


class Failure(Exception):
    pass


def test(fn):
    tests.append(fn)
    return fn


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root")


def check(cond, what):
    if not cond:
        raise Failure(what)


def equal(got, want, what="value"):
    if got != want:
        if isinstance(got, bytes) and len(got) + len(want) > 200:
            raise Failure(f"{what}: {describe(got, want)}")
        raise Failure(f"{what}: got {got!r}, expected {want!r}")


def describe(got, want):
    if len(got) != len(want):
        return f"{len(got)} bytes, expected {len(want)}"
    at = next(i for i in range(len(got)) if got[i] != want[i])
    return f"differs from byte {at}: {got[at]:#x}, expected {want[at]:#x}"


def fails(codes, fn, *args, **kw):
    """fn must raise OSError with one of the codes (a name, or several)."""
    wanted = [getattr(errno, c) for c in codes.split()]
    try:
        got = fn(*args, **kw)
    except OSError as e:
        if e.errno not in wanted:
            raise Failure(f"{call_text(fn, args)}: "
                          f"{errno.errorcode.get(e.errno)}, "
                          f"expected {codes}") from None
        return
    raise Failure(f"{call_text(fn, args)}: gave {got!r}, expected {codes}")


def call_text(fn, args):
    shown = ", ".join(repr(a)[:60] for a in args)
    return f"{getattr(fn, '__name__', fn)}({shown})"


def _check_rc(rc):
    if rc < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))
    return rc


def renameat2(old, new, flags):
    return _check_rc(libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD,
                                    os.fsencode(new), flags))


def fallocate(fd, mode, offset, length):
    off = ctypes.c_int64
    return _check_rc(libc.fallocate64(fd, mode, off(offset), off(length)))


def getxattr_into(path, name, size):
    buf = ctypes.create_string_buffer(max(size, 1))
    libc.getxattr.restype = ctypes.c_ssize_t
    n = _check_rc(libc.getxattr(os.fsencode(path), os.fsencode(name), buf,
                                ctypes.c_size_t(size)))
    return n, buf.raw[:min(n, size)]


def listxattr_into(path, size):
    buf = ctypes.create_string_buffer(max(size, 1))
    libc.listxattr.restype = ctypes.c_ssize_t
    return _check_rc(libc.listxattr(os.fsencode(path), buf,
                                    ctypes.c_size_t(size)))


def put(path, data=b"", mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        done = 0
        while done < len(data):
            done += os.write(fd, data[done:])
    finally:
        os.close(fd)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def pattern(n, seed=1):
    return random.Random(seed).randbytes(n)


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def in_child(fn):
    """Run fn in a child; its failure is ours."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        code = 0
        try:
            fn()
        except Failure as e:
            os.write(w, str(e).encode())
            code = 1
        except BaseException:
            os.write(w, traceback.format_exc().encode())
            code = 1
        os._exit(code)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        said = f.read().decode()
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise Failure("in child: " + (said or f"status {status}"))


def as_user(fn, uid=USER, gid=GROUP, groups=()):
    need_root()

    def run():
        os.setgroups(list(groups))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        fn()

    in_child(run)


def on_fuse():
    """Whether this is what we test, not a local file system."""
    here = os.stat(".").st_dev
    dev = f"{os.major(here)}:{os.minor(here)}"
    with open("/proc/self/mountinfo") as f:
        return any(line.split()[2] == dev and " fuse" in line for line in f)


def run_all(where, wanted, verbose):
    """Run the tests in fresh directories below where; (ok, failed, skipped)."""
    counts = [0, 0, 0]
    old_umask = os.umask(0o022)
    for fn in tests:
        name = fn.__name__
        if wanted and not any(w in name for w in wanted):
            continue
        home = os.path.join(where, f"t-{name}-{os.getpid()}")
        os.mkdir(home)
        os.chmod(home, 0o777)
        back = os.open(".", os.O_RDONLY)
        try:
            os.chdir(home)
            fn()
            counts[0] += 1
            if verbose:
                print(f"ok   {name}")
        except Skip as e:
            counts[2] += 1
            print(f"skip {name}: {e}")
        except Failure as e:
            counts[1] += 1
            print(f"FAIL {name}: {e}")
            traceback.print_exc(limit=-2, file=sys.stdout)
        except Exception:
            counts[1] += 1
            print(f"FAIL {name}:")
            traceback.print_exc(file=sys.stdout)
        finally:
            os.fchdir(back)
            os.close(back)
            shutil.rmtree(os.fsencode(home), ignore_errors=True)
        if os.path.lexists(home):
            counts[1] += 1
            print(f"FAIL {name}: its directory cannot be removed: "
                  f"{os.listdir(home)[:5]}")
        sys.stdout.flush()
    os.umask(old_umask)
    return counts
