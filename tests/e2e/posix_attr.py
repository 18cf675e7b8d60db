# SPDX-License-Identifier: Apache-2.0
"""Attributes: modes, owners, times, extended attributes, who may."""

import ctypes
import errno
import os
import stat
import time

from posix_lib import (GROUP, OTHER_GROUP, USER, Skip, as_user, check, equal,
                       fails, fallocate, get, getxattr_into, libc,
                       listxattr_into, mode_of, need_root, on_fuse, pattern,
                       put, test)


@test
def modes():
    """chmod sets all twelve bits, and ctime."""
    put("f")
    os.mkdir("d")
    for mode in (0, 0o1, 0o644, 0o777, 0o1000, 0o2711, 0o4755, 0o7777):
        for name in ("f", "d"):
            before = os.stat(name).st_ctime_ns
            os.chmod(name, mode)
            equal(mode_of(name), mode)
            check(os.stat(name).st_ctime_ns >= before, "ctime fell")
    os.chmod("d", 0o755)
    fails("ENOENT", os.chmod, "no", 0)
    fd = os.open("f", os.O_RDONLY)
    os.fchmod(fd, 0o600)
    equal(stat.S_IMODE(os.fstat(fd).st_mode), 0o600)
    os.close(fd)


@test
def owners():
    """chown of owner, of group, of neither, of a symlink itself."""
    need_root()
    put("f")
    os.chown("f", USER, GROUP)
    st = os.stat("f")
    equal((st.st_uid, st.st_gid), (USER, GROUP))
    os.chown("f", -1, OTHER_GROUP)
    st = os.stat("f")
    equal((st.st_uid, st.st_gid), (USER, OTHER_GROUP))
    os.chown("f", 0, -1)
    equal(os.stat("f").st_uid, 0)
    os.symlink("f", "s")
    os.lchown("s", USER, GROUP)
    equal((os.lstat("s").st_uid, os.stat("f").st_uid), (USER, 0))
    big = 4000000000
    os.chown("f", big, big)
    equal((os.stat("f").st_uid, os.stat("f").st_gid), (big, big))


@test
def owner_of_new():
    """What a user makes is the user's."""
    need_root()

    def user():
        put("f")
        os.mkdir("d")
        os.symlink("x", "s")
        os.mkfifo("p")
        for n in ("f", "d", "s", "p"):
            st = os.lstat(n)
            equal((st.st_uid, st.st_gid), (USER, GROUP), n)

    as_user(user)


@test
def chown_needs_right():
    """A user gives nothing away, but may choose among own groups."""
    need_root()

    def user():
        put("f")
        fails("EPERM", os.chown, "f", 0, -1)
        fails("EPERM", os.chown, "f", -1, 12345)
        os.chown("f", -1, OTHER_GROUP)
        equal(os.stat("f").st_gid, OTHER_GROUP)

    as_user(user, groups=[OTHER_GROUP])
    put("root")
    as_user(lambda: fails("EPERM", os.chmod, "root", 0o777))
    as_user(lambda: fails("EPERM", os.utime, "root", (1, 1)))


@test
def access_by_mode():
    """Owner, group and others have their own bits."""
    need_root()
    put("f", b"x")
    os.chown("f", USER, GROUP)
    os.chmod("f", 0o640)
    as_user(lambda: equal(get("f"), b"x"))
    as_user(lambda: equal(get("f"), b"x"), uid=USER + 1)

    def group_write():
        fails("EACCES", os.open, "f", os.O_WRONLY)
        equal(os.access("f", os.W_OK), False)
        equal(os.access("f", os.R_OK), True)

    as_user(group_write, uid=USER + 1)
    as_user(lambda: fails("EACCES", os.open, "f", os.O_RDONLY),
            uid=USER + 1, gid=GROUP + 9)
    os.chmod("f", 0o066)
    as_user(lambda: fails("EACCES", os.open, "f", os.O_RDONLY))
    os.chmod("f", 0o000)
    equal(get("f"), b"x", "root")
    put("g", b"y")
    os.chmod("g", 0o666)
    as_user(lambda: put("g", b"z"))


@test
def setgid_directory():
    """Heirs of a set-group-ID directory have its group; directories the bit."""
    need_root()
    os.mkdir("d")
    os.chown("d", USER, OTHER_GROUP)
    os.chmod("d", 0o2777)

    def user():
        put("d/f")
        os.mkdir("d/sub")
        os.mkfifo("d/p")
        os.symlink("x", "d/s")
        for n in ("d/f", "d/sub", "d/p", "d/s"):
            equal(os.lstat(n).st_gid, OTHER_GROUP, n)
        check(mode_of("d/sub") & stat.S_ISGID, "the bit is not inherited")
        check(not mode_of("d/f") & stat.S_ISGID, "a file got the bit")
        os.mkdir("d/sub/deeper")
        equal(os.stat("d/sub/deeper").st_gid, OTHER_GROUP)

    as_user(user, uid=USER + 5)


def suid_file(mode=0o6777):
    put("f", b"content")
    os.chown("f", USER, GROUP)
    os.chmod("f", mode)
    equal(mode_of("f"), mode)


@test
def suid_cleared_by_write():
    """A user's write takes set-user-ID and set-group-ID away."""
    need_root()
    suid_file()

    def user():
        fd = os.open("f", os.O_WRONLY)
        os.write(fd, b"x")
        os.close(fd)

    as_user(user)
    equal(mode_of("f"), 0o777)
    suid_file(0o2767)
    as_user(user)
    equal(mode_of("f"), 0o2767, "set-group-ID without x is no set-group-ID")
    suid_file()
    user()
    equal(mode_of("f"), 0o6777, "root's write")


@test
def suid_cleared_by_truncate():
    """So do truncate, ftruncate and O_TRUNC."""
    need_root()
    for how in ("truncate", "ftruncate", "open"):
        suid_file()

        def user():
            if how == "truncate":
                os.truncate("f", 2)
            elif how == "ftruncate":
                fd = os.open("f", os.O_WRONLY)
                os.ftruncate(fd, 2)
                os.close(fd)
            else:
                os.close(os.open("f", os.O_WRONLY | os.O_TRUNC))

        as_user(user)
        equal(mode_of("f"), 0o777, how)


@test
def suid_cleared_by_chown():
    """And every chown, root's too, of a file; not of a directory."""
    need_root()
    suid_file()
    os.chown("f", USER + 1, -1)
    equal(mode_of("f"), 0o777)
    suid_file()
    as_user(lambda: os.chown("f", -1, OTHER_GROUP), groups=[OTHER_GROUP])
    equal(mode_of("f"), 0o777)
    os.mkdir("d")
    os.chmod("d", 0o6755)
    os.chown("d", USER, GROUP)
    equal(mode_of("d"), 0o6755)


@test
def setgid_dropped_by_chmod():
    """A user who is not in the group cannot set set-group-ID."""
    need_root()
    put("f")
    os.chown("f", USER, OTHER_GROUP)
    as_user(lambda: os.chmod("f", 0o2755))
    equal(mode_of("f"), 0o755)
    as_user(lambda: os.chmod("f", 0o2755), groups=[OTHER_GROUP])
    equal(mode_of("f"), 0o2755)


@test
def times_set():
    """utimensat to the nanosecond, before 1970, after 2106, now, omitted."""
    put("f")
    for a, m in ((1, 2), (1_700_000_000_123_456_789, 999_999_999),
                 (-1_500_000_000, -1), (10_000_000_000_000_000_001, 5)):
        if a > (1 << 63) - 1:
            a = (1 << 63) - 1 - ((1 << 63) - 1) % 10**9
        os.utime("f", ns=(a, m))
        st = os.stat("f")
        equal((st.st_atime_ns, st.st_mtime_ns), (a, m))
    before = time.time_ns() - 1_000_000_000
    os.utime("f")
    st = os.stat("f")
    check(st.st_atime_ns > before and st.st_mtime_ns > before, "not now")


class Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


def utimens(path, atime, mtime, flags=0):
    ts = (Timespec * 2)(Timespec(*atime), Timespec(*mtime))
    if libc.utimensat(-100, os.fsencode(path), ts, flags) < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2


@test
def times_one_of_two():
    """One time set, the other omitted; of a symlink itself."""
    put("f")
    os.utime("f", ns=(1111, 2222))
    utimens("f", (5, 6), (0, UTIME_OMIT))
    st = os.stat("f")
    equal((st.st_atime_ns, st.st_mtime_ns), (5_000_000_006, 2222))
    utimens("f", (0, UTIME_OMIT), (7, 8))
    st = os.stat("f")
    equal((st.st_atime_ns, st.st_mtime_ns), (5_000_000_006, 7_000_000_008))
    utimens("f", (0, UTIME_OMIT), (0, UTIME_NOW))
    st = os.stat("f")
    equal(st.st_atime_ns, 5_000_000_006)
    check(abs(st.st_mtime_ns - time.time_ns()) < 60 * 10**9, "not now")
    fails("EINVAL", utimens, "f", (0, 2_000_000_000), (0, 0))
    os.symlink("f", "s")
    utimens("s", (11, 0), (12, 0), 0x100)
    equal(os.lstat("s").st_mtime_ns, 12 * 10**9)
    check(os.stat("f").st_mtime_ns != 12 * 10**9, "the target's time")


def moves(name, what, fn, times):
    before = {t: getattr(os.stat(name), f"st_{t}_ns") for t in times}
    time.sleep(0.02)
    fn()
    st = os.stat(name)
    for t in times:
        check(getattr(st, f"st_{t}_ns") > before[t], f"{what}: {t} stays")


@test
def times_move():
    """What each operation does to times."""
    put("f", b"data")
    os.mkdir("d")

    def write():
        with open("f", "ab") as f:
            f.write(b"x")

    moves("f", "write", write, ["mtime", "ctime"])
    moves("f", "truncate", lambda: os.truncate("f", 1), ["mtime", "ctime"])
    moves("f", "chmod", lambda: os.chmod("f", 0o600), ["ctime"])
    moves("f", "link", lambda: os.link("f", "g"), ["ctime"])
    moves("f", "unlink", lambda: os.unlink("g"), ["ctime"])
    moves("f", "xattr", lambda: os.setxattr("f", "user.a", b"b"), ["ctime"])
    moves("d", "create in", lambda: put("d/x"), ["mtime", "ctime"])
    moves("d", "unlink in", lambda: os.unlink("d/x"), ["mtime", "ctime"])
    moves("d", "mkdir in", lambda: os.mkdir("d/y"), ["mtime", "ctime"])
    moves("d", "rename in", lambda: os.rename("d/y", "d/z"),
          ["mtime", "ctime"])
    moves("d", "rmdir in", lambda: os.rmdir("d/z"), ["mtime", "ctime"])

    def alloc():
        fd = os.open("f", os.O_RDWR)
        fallocate(fd, 0, 0, 50000)
        os.close(fd)

    moves("f", "fallocate", alloc, ["ctime"])
    old = os.stat("f").st_mtime_ns
    os.chmod("f", 0o644)
    equal(os.stat("f").st_mtime_ns, old, "chmod: mtime")


@test
def inode_numbers():
    """One number for each inode, stable over names and time."""
    numbers = set()
    for i in range(100):
        put(f"f{i}")
        numbers.add(os.stat(f"f{i}").st_ino)
    equal(len(numbers), 100, "numbers")
    ino = os.stat("f0").st_ino
    os.rename("f0", "g")
    equal(os.stat("g").st_ino, ino)
    equal(os.stat("g").st_dev, os.stat(".").st_dev)
    with os.scandir(".") as it:
        for e in it:
            equal(e.inode(), os.stat(e.name).st_ino, e.name)


# -- extended attributes

def need_xattr():
    put("probe")
    try:
        os.setxattr("probe", "user.probe", b"1")
    except OSError as e:
        if e.errno == errno.EOPNOTSUPP:
            raise Skip("no user attributes here") from None
        raise
    os.unlink("probe")


@test
def xattr_basic():
    """Set, get, list, replace, remove; any bytes; empty values."""
    need_xattr()
    put("f")
    equal(os.listxattr("f"), [])
    values = {"user.a": b"1", "user.empty": b"", "user.bin": bytes(range(256)),
              "user." + "n" * 200: b"long name", "user.k": pattern(2000)}
    for k, v in values.items():
        os.setxattr("f", k, v)
    for k, v in values.items():
        equal(os.getxattr("f", k), v, k)
    equal(set(os.listxattr("f")), set(values))
    os.setxattr("f", "user.a", b"changed")
    equal(os.getxattr("f", "user.a"), b"changed")
    os.removexattr("f", "user.a")
    fails("ENODATA", os.getxattr, "f", "user.a")
    fails("ENODATA", os.removexattr, "f", "user.a")
    equal(len(os.listxattr("f")), len(values) - 1)
    os.mkdir("d")
    os.setxattr("d", "user.dir", b"x")
    equal(os.getxattr("d", "user.dir"), b"x")


@test
def xattr_flags():
    """XATTR_CREATE and XATTR_REPLACE."""
    need_xattr()
    put("f")
    fails("ENODATA", os.setxattr, "f", "user.a", b"1", os.XATTR_REPLACE)
    os.setxattr("f", "user.a", b"1", os.XATTR_CREATE)
    fails("EEXIST", os.setxattr, "f", "user.a", b"2", os.XATTR_CREATE)
    os.setxattr("f", "user.a", b"2", os.XATTR_REPLACE)
    equal(os.getxattr("f", "user.a"), b"2")


@test
def xattr_sizes():
    """Asking for the size, a buffer that is too small, limits."""
    need_xattr()
    put("f")
    os.setxattr("f", "user.a", b"12345")
    os.setxattr("f", "user.bb", b"")
    equal(getxattr_into("f", "user.a", 0)[0], 5)
    equal(getxattr_into("f", "user.a", 5), (5, b"12345"))
    equal(getxattr_into("f", "user.a", 100), (5, b"12345"))
    fails("ERANGE", getxattr_into, "f", "user.a", 4)
    n = len(b"user.a\0user.bb\0")
    equal(listxattr_into("f", 0), n)
    equal(listxattr_into("f", n), n)
    fails("ERANGE", listxattr_into, "f", n - 1)
    fails("E2BIG", os.setxattr, "f", "user.big", b"x" * 65537)
    fails("ERANGE", os.setxattr, "f", "user." + "n" * 251, b"")
    fails("ERANGE EOPNOTSUPP", os.getxattr, "f", "")


@test
def xattr_large():
    """A value of 64 KiB (a local file system may have less room)."""
    need_xattr()
    put("f")
    try:
        os.setxattr("f", "user.large", pattern(65536))
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.E2BIG) and not on_fuse():
            raise Skip("no room for 64 KiB here") from None
        raise
    equal(os.getxattr("f", "user.large"), pattern(65536))
    os.setxattr("f", "user.large", b"small")
    equal(os.getxattr("f", "user.large"), b"small")


@test
def xattr_namespaces():
    """user only on files and directories; trusted only for root."""
    need_xattr()
    need_root()
    put("f")
    os.chmod("f", 0o666)
    os.symlink("f", "s")
    fails("EPERM", os.setxattr, "s", "user.x", b"", follow_symlinks=False)
    os.mkfifo("p")
    fails("EPERM", os.setxattr, "p", "user.x", b"")
    os.setxattr("f", "trusted.t", b"secret")
    os.setxattr("s", "trusted.s", b"link's", follow_symlinks=False)
    equal(os.getxattr("s", "trusted.s", follow_symlinks=False), b"link's")
    equal(os.getxattr("f", "trusted.t"), b"secret")
    os.setxattr("f", "user.u", b"open")
    fails("EOPNOTSUPP", os.setxattr, "f", "nonsense.x", b"")

    def user():
        fails("EPERM", os.setxattr, "f", "trusted.u", b"")
        fails("ENODATA EPERM", os.getxattr, "f", "trusted.t")
        equal(os.listxattr("f"), ["user.u"])
        os.setxattr("f", "user.mine", b"1")

    as_user(user)
    os.chmod("f", 0o600)
    as_user(lambda: fails("EACCES", os.getxattr, "f", "user.u"))


@test
def capability_cleared_by_write():
    """A write takes file capabilities away."""
    need_root()
    put("f", b"x")
    caps = bytes.fromhex("0100000200200000000000000000000000000000")
    try:
        os.setxattr("f", "security.capability", caps)
    except OSError:
        raise Skip("no file capabilities here") from None
    check(os.getxattr("f", "security.capability"), "not kept")
    os.chmod("f", 0o666)

    def user():
        fd = os.open("f", os.O_WRONLY)
        os.write(fd, b"y")
        os.close(fd)

    as_user(user)
    fails("ENODATA", os.getxattr, "f", "security.capability")
    os.setxattr("f", "security.capability", caps)
    as_user(user)
    fails("ENODATA", os.getxattr, "f", "security.capability")


@test
def acl_refused_or_kept():
    """POSIX ACLs are enforced where they are accepted."""
    need_root()
    put("f", b"x", 0o600)
    # version 2; user::rw-, user:USER:r--, group::---, mask::r--, other::---
    def entry(tag, perm, who=0xffffffff):
        return (tag.to_bytes(2, "little") + perm.to_bytes(2, "little") +
                who.to_bytes(4, "little"))
    acl = ((2).to_bytes(4, "little") + entry(1, 6) + entry(2, 4, USER) +
           entry(4, 0) + entry(16, 4) + entry(32, 0))
    try:
        os.setxattr("f", "system.posix_acl_access", acl)
    except OSError as e:
        equal(e.errno, errno.EOPNOTSUPP)
        fails("EOPNOTSUPP ENODATA", os.getxattr, "f", "system.posix_acl_access")
        return
    as_user(lambda: equal(get("f"), b"x"))
