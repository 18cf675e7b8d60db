# SPDX-License-Identifier: Apache-2.0
"""Data: read, write, append, truncate, mmap, direct I/O, locks."""

import ctypes
import fcntl
import mmap
import os
import random
import shutil
import subprocess
import threading

from posix_lib import (AT_FDCWD, Failure, Skip, check, equal, fails, get,
                       in_child, libc, on_fuse, pattern, put, test)


@test
def write_and_read():
    """All sizes around a block's border come back."""
    for n in (0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 131071, 1048575,
              1048576, 1048577, 3000001):
        data = pattern(n, n)
        put("f", data)
        equal(os.stat("f").st_size, n)
        equal(get("f"), data, f"{n} bytes")


@test
def short_and_empty_io():
    """At the end of a file, on the wrong handle, of nothing."""
    put("f", b"12345")
    fd = os.open("f", os.O_RDONLY)
    equal(os.pread(fd, 100, 3), b"45")
    equal(os.pread(fd, 100, 5), b"")
    equal(os.pread(fd, 100, 1 << 40), b"")
    equal(os.pread(fd, 0, 0), b"")
    fails("EBADF", os.write, fd, b"x")
    os.close(fd)
    fd = os.open("f", os.O_WRONLY)
    fails("EBADF", os.read, fd, 1)
    equal(os.write(fd, b""), 0)
    os.close(fd)
    equal(get("f"), b"12345")
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY)
    fails("EISDIR", os.read, fd, 1)
    os.close(fd)


@test
def vectored_io():
    """writev and readv keep the order."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    parts = [pattern(n, n) for n in (1, 4096, 5000, 100000)]
    equal(os.writev(fd, parts), sum(map(len, parts)))
    bufs = [bytearray(len(p)) for p in parts]
    os.lseek(fd, 0, os.SEEK_SET)
    equal(os.readv(fd, bufs), sum(map(len, parts)))
    equal([bytes(b) for b in bufs], parts)
    os.close(fd)


@test
def sparse_over_4g():
    """A file of more than 4 GiB that is mostly a hole."""
    at = (5 << 30) + 12345
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"far", at)
    os.pwrite(fd, b"near", 10)
    st = os.fstat(fd)
    equal(st.st_size, at + 3)
    check(st.st_blocks * 512 < 1 << 20, f"{st.st_blocks} blocks")
    equal(os.pread(fd, 3, at), b"far")
    equal(os.pread(fd, 100, at - 50), b"\0" * 50 + b"far")
    equal(os.pread(fd, 1 << 16, 3 << 30), b"\0" * (1 << 16))
    equal(os.pread(fd, 14, 0), b"\0" * 10 + b"near")
    os.ftruncate(fd, (4 << 30) + 1)
    equal(os.fstat(fd).st_size, (4 << 30) + 1)
    os.ftruncate(fd, at + 3)
    equal(os.pread(fd, 3, at), b"\0\0\0", "data came back")
    os.close(fd)


@test
def sparse_terabyte():
    """A write at a terabyte."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"x", 1 << 40)
    equal(os.fstat(fd).st_size, (1 << 40) + 1)
    equal(os.pread(fd, 2, (1 << 40) - 1), b"\0x")
    os.close(fd)


@test
def too_far():
    """Beyond every limit there is an error, not data."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    if not on_fuse():
        try:
            os.ftruncate(fd, (1 << 63) - 1)
            raise Skip("no limit here")
        except OSError:
            pass
    fails("EFBIG EINVAL", os.pwrite, fd, b"x", (1 << 63) - 4097)
    fails("EFBIG EINVAL", os.ftruncate, fd, (1 << 63) - 1)
    equal(os.fstat(fd).st_size, 0)
    os.close(fd)


@test
def append():
    """O_APPEND goes to the end, wherever the handle stands."""
    put("f", b"start")
    a = os.open("f", os.O_WRONLY | os.O_APPEND)
    b = os.open("f", os.O_WRONLY | os.O_APPEND)
    os.write(a, b"-a")
    os.write(b, b"-b")
    os.lseek(a, 0, os.SEEK_SET)
    os.write(a, b"-c")
    os.close(a)
    os.close(b)
    equal(get("f"), b"start-a-b-c")


@test
def append_by_many():
    """Appends of several processes neither overlap nor get lost."""
    put("log")
    pids = []
    for k in range(4):
        pid = os.fork()
        if pid == 0:
            fd = os.open("log", os.O_WRONLY | os.O_APPEND)
            for i in range(100):
                os.write(fd, b"%d %04d %s\n" % (k, i, b"x" * 50))
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    lines = get("log").split(b"\n")[:-1]
    equal(len(lines), 400, "lines")
    want = sorted(b"%d %04d %s" % (k, i, b"x" * 50)
                  for k in range(4) for i in range(100))
    equal(sorted(lines), want)


@test
def truncate_and_open_trunc():
    """truncate, ftruncate, O_TRUNC: size, zeros behind, times."""
    data = pattern(10000)
    put("f", data)
    os.truncate("f", 5000)
    equal(get("f"), data[:5000])
    os.truncate("f", 9000)
    equal(get("f"), data[:5000] + b"\0" * 4000)
    os.truncate("f", 9000)
    before = os.stat("f").st_mtime_ns
    os.utime("f", ns=(1, 1))
    fd = os.open("f", os.O_RDWR | os.O_TRUNC)
    equal(os.fstat(fd).st_size, 0)
    check(os.fstat(fd).st_mtime_ns >= before, "O_TRUNC leaves mtime")
    equal(os.read(fd, 10), b"")
    os.write(fd, b"new")
    os.close(fd)
    equal(get("f"), b"new")
    fails("EINVAL", os.truncate, "f", -1)
    fails("EISDIR", os.truncate, ".", 0)
    fails("ENOENT", os.truncate, "no", 0)
    fd = os.open("f", os.O_RDONLY)
    fails("EINVAL EBADF", os.ftruncate, fd, 0)
    os.close(fd)


@test
def truncate_seen_by_others():
    """Another handle sees the new size at once."""
    put("f", pattern(20000))
    fd = os.open("f", os.O_RDONLY)
    equal(len(os.pread(fd, 30000, 0)), 20000)
    put("f", b"short")
    equal(os.pread(fd, 30000, 0), b"short")
    os.close(fd)


@test
def random_operations():
    """A model of the file in memory agrees after each of many operations."""
    seed = int(os.environ.get("POSIX_SEED", "1"))
    rnd = random.Random(seed)
    limit = 400000
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    model = bytearray()
    for step in range(600):
        op = rnd.choice("wwwwrrrtgxu")
        off = rnd.randrange(limit)
        n = rnd.choice((1, 100, 4096, 10000, 70000, 200000))
        if op == "w":
            data = rnd.randbytes(n)
            if len(model) < off:
                model.extend(b"\0" * (off - len(model)))
            model[off:off + n] = data
            os.pwrite(fd, data, off)
        elif op == "r":
            got = os.pread(fd, n, off)
            if got != bytes(model[off:off + n]):
                raise Failure(f"seed {seed} step {step}: read differs")
        elif op == "t":
            size = rnd.randrange(limit)
            os.ftruncate(fd, size)
            if size < len(model):
                del model[size:]
            else:
                model.extend(b"\0" * (size - len(model)))
        elif op == "g":
            equal(os.fstat(fd).st_size, len(model), "size")
        elif op == "x":
            os.fsync(fd)
        elif op == "u":
            os.close(fd)
            fd = os.open("f", os.O_RDWR)
    os.close(fd)
    equal(get("f"), bytes(model), f"seed {seed}")


@test
def parallel_writers():
    """Threads that write different parts of one file."""
    size = 256 * 1024
    put("f", b"\0" * (4 * size))

    def run(k):
        fd = os.open("f", os.O_WRONLY)
        data = pattern(size, k)
        for at in range(0, size, 8191):
            os.pwrite(fd, data[at:at + 8191], k * size + at)
        os.close(fd)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(get("f"), b"".join(pattern(size, k) for k in range(4)))


@test
def mapped_shared():
    """A shared mapping and read and write see each other."""
    put("f", b"\0" * 20000)
    fd = os.open("f", os.O_RDWR)
    m = mmap.mmap(fd, 20000)
    m[100:105] = b"hello"
    equal(os.pread(fd, 5, 100), b"hello")
    os.pwrite(fd, b"HELLO", 8200)
    equal(m[8200:8205], b"HELLO")
    m[19995:20000] = b"tail!"
    m.flush()
    m.close()
    os.close(fd)
    data = get("f")
    equal((data[100:105], data[8200:8205], data[19995:]),
          (b"hello", b"HELLO", b"tail!"))


@test
def mapped_then_closed():
    """What a mapping wrote is there after munmap and close."""
    put("f", b"\0" * 8192)
    fd = os.open("f", os.O_RDWR)
    m = mmap.mmap(fd, 8192)
    os.close(fd)
    m[0:8192] = pattern(8192)
    m.close()
    equal(get("f"), pattern(8192))


@test
def mapped_through_append_handle():
    """Pages of a mapping go to their place, though the handle appends."""
    put("f", b"\0" * 8192)
    fd = os.open("f", os.O_RDWR | os.O_APPEND)
    m = mmap.mmap(fd, 8192)
    m[0:4] = b"head"
    m.flush()
    m.close()
    os.close(fd)
    equal(os.stat("f").st_size, 8192)
    equal(get("f")[:4], b"head")


@test
def mapped_private():
    """A private mapping changes nothing."""
    put("f", b"a" * 5000)
    fd = os.open("f", os.O_RDONLY)
    m = mmap.mmap(fd, 5000, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    m[0:3] = b"xyz"
    m.close()
    os.close(fd)
    equal(get("f"), b"a" * 5000)


def aligned(n):
    return mmap.mmap(-1, n)


@test
def direct_io():
    """O_DIRECT writes and reads what buffered I/O reads and wrote."""
    try:
        fd = os.open("f", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    except OSError:
        raise Skip("no O_DIRECT here") from None
    buf = aligned(1 << 20)
    data = pattern(1 << 20)
    buf[:] = data
    equal(os.pwrite(fd, buf, 0), 1 << 20)
    equal(get("f"), data)
    put("g", data[::-1])
    gd = os.open("g", os.O_RDONLY | os.O_DIRECT)
    back = aligned(1 << 20)
    equal(os.preadv(gd, [back], 0), 1 << 20)
    equal(back[:], data[::-1])
    os.close(gd)
    os.close(fd)


@test
def synchronous_io():
    """O_SYNC, O_DSYNC, fsync, fdatasync, syncfs, of directories, too."""
    for flags in (os.O_SYNC, os.O_DSYNC, os.O_DIRECT | os.O_DSYNC):
        try:
            fd = os.open("f", os.O_CREAT | os.O_RDWR | flags)
        except OSError:
            continue
        buf = aligned(8192)
        buf[:] = pattern(8192)
        equal(os.pwrite(fd, buf, 0), 8192)
        os.fsync(fd)
        os.fdatasync(fd)
        equal(libc.syncfs(fd), 0, "syncfs")
        os.close(fd)
        equal(get("f"), pattern(8192))
    d = os.open(".", os.O_RDONLY)
    os.fsync(d)
    os.close(d)


@test
def sendfile():
    """sendfile from and to the file system."""
    data = pattern(300000)
    put("a", data)
    src = os.open("a", os.O_RDONLY)
    dst = os.open("b", os.O_CREAT | os.O_WRONLY)
    at = 0
    while at < len(data):
        at += os.sendfile(dst, src, at, len(data) - at)
    os.close(src)
    os.close(dst)
    equal(get("b"), data)


@test
def locks_flock():
    """flock excludes between open files."""
    put("f")
    a = os.open("f", os.O_RDWR)
    b = os.open("f", os.O_RDWR)
    fcntl.flock(a, fcntl.LOCK_EX)
    fails("EAGAIN", fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(a, fcntl.LOCK_UN)
    fcntl.flock(b, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(b)
    fcntl.flock(a, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(a)


@test
def locks_posix():
    """fcntl locks exclude between processes, by range, until close."""
    put("f", b"x" * 100)
    fd = os.open("f", os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)

    def other():
        mine = os.open("f", os.O_RDWR)
        fails("EAGAIN EACCES", fcntl.lockf, mine,
              fcntl.LOCK_EX | fcntl.LOCK_NB, 5, 0)
        fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 50)

    in_child(other)
    os.close(fd)

    def later():
        mine = os.open("f", os.O_RDWR)
        fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)

    in_child(later)


@test
def run_a_program():
    """A program on the file system runs; it cannot be written meanwhile."""
    shutil.copy("/bin/sleep", "prog")
    p = subprocess.Popen(["./prog", "5"])
    try:
        fails("ETXTBSY", os.open, "prog", os.O_WRONLY)
    finally:
        p.kill()
        p.wait()
    os.chmod("prog", 0o644)
    fails("EACCES", subprocess.call, ["./prog", "0"])
    put("script", b"#!/bin/sh\nexit 7\n", 0o755)
    equal(subprocess.call(["./script"]), 7)


@test
def handles_outlive_rename():
    """A handle follows its file through renames and a chmod to nothing."""
    fd = os.open("a", os.O_CREAT | os.O_RDWR)
    os.mkdir("d")
    os.rename("a", "d/b")
    os.write(fd, b"x")
    os.chmod("d/b", 0)
    os.write(fd, b"y")
    equal(os.pread(fd, 5, 0), b"xy")
    os.close(fd)
    os.chmod("d/b", 0o600)
    equal(get("d/b"), b"xy")


@test
def link_of_unlinked():
    """An unlinked file gets no new name through /proc."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.unlink("f")
    rc = libc.linkat(AT_FDCWD, f"/proc/self/fd/{fd}".encode(), AT_FDCWD,
                     b"again", 0x400)
    equal((rc, ctypes.get_errno()), (-1, 2))
    os.close(fd)
