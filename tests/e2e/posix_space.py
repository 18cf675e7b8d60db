# SPDX-License-Identifier: Apache-2.0
"""Space: fallocate, data and holes, copy_file_range, statfs."""

import errno
import os

from posix_lib import (FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE,
                       FALLOC_FL_ZERO_RANGE, Skip, check, equal, fails,
                       fallocate, get, on_fuse, pattern, put, test)

PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


@test
def fallocate_extends():
    """Mode 0 makes room and the file longer; what was there stays."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"abc")
    fallocate(fd, 0, 0, 100000)
    st = os.fstat(fd)
    equal(st.st_size, 100000)
    check(st.st_blocks * 512 >= 100000, f"{st.st_blocks} blocks")
    equal(os.pread(fd, 5, 0), b"abc\0\0")
    fallocate(fd, 0, 0, 10)
    equal(os.fstat(fd).st_size, 100000)
    os.close(fd)


@test
def fallocate_keep_size():
    """FALLOC_FL_KEEP_SIZE makes room, not the file longer."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"abc")
    fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1 << 20)
    equal(os.fstat(fd).st_size, 3)
    check(os.fstat(fd).st_blocks * 512 >= 1 << 20, "no room made")
    os.close(fd)
    equal(get("f"), b"abc")


@test
def fallocate_punch():
    """Punched ranges read as zeros, at any border, and give room back."""
    data = pattern(400000)
    for off, n in ((0, 4096), (4096, 8192), (100, 50), (5000, 100000),
                   (399000, 1000), (300000, 200000), (0, 400000)):
        put("f", data)
        fd = os.open("f", os.O_RDWR)
        fallocate(fd, PUNCH, off, n)
        want = bytearray(data)
        end = min(off + n, len(data))
        want[off:end] = b"\0" * (end - off)
        equal(os.fstat(fd).st_size, len(data))
        equal(get("f"), bytes(want), f"punch {off} {n}")
        os.close(fd)
    check(os.stat("f").st_blocks * 512 < 400000, "no room given back")


@test
def fallocate_zero_range():
    """Zeroed ranges are zeros; without KEEP_SIZE the file may grow."""
    data = pattern(200000)
    put("f", data)
    fd = os.open("f", os.O_RDWR)
    try:
        fallocate(fd, FALLOC_FL_ZERO_RANGE, 5000, 50000)
    except OSError as e:
        if e.errno == errno.EOPNOTSUPP and not on_fuse():
            raise Skip("no zero range here") from None
        raise
    want = data[:5000] + b"\0" * 50000 + data[55000:]
    equal(get("f"), want)
    fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 190000, 100000)
    want = want[:190000] + b"\0" * 10000
    equal(get("f"), want)
    fallocate(fd, FALLOC_FL_ZERO_RANGE, 199999, 100000)
    want += b"\0" * 99999
    equal(get("f"), want)
    os.close(fd)


@test
def fallocate_large():
    """More than one step of the file system's."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    n = 150 << 20
    fallocate(fd, 0, 1000, n)
    equal(os.fstat(fd).st_size, n + 1000)
    os.pwrite(fd, b"end", n)
    fallocate(fd, PUNCH, 500, n)
    equal(os.pread(fd, 3, n), b"\0\0\0")
    check(os.fstat(fd).st_blocks * 512 < 1 << 20, "no room given back")
    os.close(fd)


@test
def fallocate_errors():
    """Bad ranges, handles, modes."""
    put("f", b"x")
    fd = os.open("f", os.O_RDWR)
    fails("EINVAL", fallocate, fd, 0, 0, 0)
    fails("EINVAL", fallocate, fd, 0, -1, 10)
    fails("EFBIG", fallocate, fd, 0, (1 << 63) - 10, 100)
    fails("EOPNOTSUPP", fallocate, fd, FALLOC_FL_PUNCH_HOLE, 0, 10)
    fails("EOPNOTSUPP EINVAL", fallocate, fd, 0x4000, 0, 10)
    os.close(fd)
    fd = os.open("f", os.O_RDONLY)
    fails("EBADF", fallocate, fd, 0, 0, 10)
    os.close(fd)


@test
def seek_data_and_hole():
    """SEEK_DATA and SEEK_HOLE tell what is there and what is not."""
    block = 1 << 20
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.pwrite(fd, b"a" * block, 2 * block)
    os.pwrite(fd, b"b" * block, 6 * block)
    os.ftruncate(fd, 10 * block)
    os.fsync(fd)
    equal(os.lseek(fd, 0, os.SEEK_DATA), 2 * block)
    equal(os.lseek(fd, 0, os.SEEK_HOLE), 0)
    equal(os.lseek(fd, 2 * block, os.SEEK_HOLE), 3 * block)
    equal(os.lseek(fd, 2 * block + 5, os.SEEK_DATA), 2 * block + 5)
    equal(os.lseek(fd, 3 * block, os.SEEK_DATA), 6 * block)
    equal(os.lseek(fd, 6 * block, os.SEEK_HOLE), 7 * block)
    fails("ENXIO", os.lseek, fd, 8 * block, os.SEEK_DATA)
    fails("ENXIO", os.lseek, fd, 10 * block, os.SEEK_HOLE)
    fails("ENXIO", os.lseek, fd, 11 * block, os.SEEK_DATA)
    os.ftruncate(fd, block * 7)
    equal(os.lseek(fd, 6 * block, os.SEEK_HOLE), 7 * block, "hole at the end")
    os.close(fd)
    put("empty")
    fd = os.open("empty", os.O_RDONLY)
    fails("ENXIO", os.lseek, fd, 0, os.SEEK_DATA)
    equal(os.lseek(fd, 0, os.SEEK_END), 0)
    os.close(fd)


def copy_all(src, dst, n, a, b):
    done = 0
    while done < n:
        k = os.copy_file_range(src, dst, n - done, a + done, b + done)
        if k == 0:
            break
        done += k
    return done


@test
def copy_range():
    """copy_file_range at any offsets, over any sizes."""
    data = pattern(5 << 20)
    put("src", data)
    src = os.open("src", os.O_RDONLY)
    for a, b, n in ((0, 0, 5 << 20), (0, 0, 1), (4096, 8192, 4096),
                    (1, 4095, 70000), (123457, 7, 3000000),
                    (0, 1 << 32, 100000)):
        dst = os.open("dst", os.O_CREAT | os.O_RDWR | os.O_TRUNC)
        equal(copy_all(src, dst, n, a, b), n, "copied")
        equal(os.fstat(dst).st_size, b + n, "size")
        equal(os.pread(dst, n, b), data[a:a + n], f"{a} {b} {n}")
        os.close(dst)
    dst = os.open("dst", os.O_RDWR | os.O_TRUNC)
    equal(copy_all(src, dst, 10000, len(data) - 100, 0), 100, "at the end")
    equal(os.copy_file_range(src, dst, 100, len(data), 0), 0, "behind the end")
    os.close(dst)
    os.close(src)


@test
def copy_range_within():
    """Within one file: apart it works, overlapping it is refused."""
    data = pattern(100000)
    put("f", data)
    fd = os.open("f", os.O_RDWR)
    equal(copy_all(fd, fd, 20000, 0, 50000), 20000)
    equal(get("f"), data[:50000] + data[:20000] + data[70000:])
    fails("EINVAL", os.copy_file_range, fd, fd, 1000, 0, 500)
    os.close(fd)


@test
def copy_range_overwrites():
    """What was in the target's range, and in caches of it, is replaced."""
    put("src", b"s" * 10000)
    put("dst", b"d" * 20000)
    equal(get("dst"), b"d" * 20000)
    src = os.open("src", os.O_RDONLY)
    dst = os.open("dst", os.O_RDWR)
    equal(copy_all(src, dst, 10000, 0, 5000), 10000)
    equal(get("dst"), b"d" * 5000 + b"s" * 10000 + b"d" * 5000)
    os.close(dst)
    app = os.open("dst", os.O_WRONLY | os.O_APPEND)
    fails("EBADF", os.copy_file_range, src, app, 10, 0, 0)
    os.close(app)
    fails("EBADF", os.copy_file_range, src, src, 10, 0, 0)
    os.close(src)


@test
def space_counts():
    """statfs is sane, and blocks are counted per file."""
    v = os.statvfs(".")
    equal(v.f_namemax, 255)
    check(v.f_frsize >= 512 and v.f_blocks > 0, "size")
    check(v.f_bavail <= v.f_bfree <= v.f_blocks, "free")
    put("f", b"x" * 100000)
    fd = os.open("f", os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    blocks = os.stat("f").st_blocks * 512
    check(100000 <= blocks <= 400000, f"{blocks} bytes for 100000")
    os.truncate("f", 0)
    check(os.stat("f").st_blocks * 512 < 100000, "truncate frees nothing")
