# SPDX-License-Identifier: Apache-2.0
"""What ordinary trees seldom hold is kept over a restart all the same: links,
devices, holes, large files, long and odd names, attributes.
"""
import os
import stat

GIB = 1 << 30
ODD = b"odd \x01\xff\n\\ name"
LONG = b"n" * 255


def make(top):
    os.mkdir(top)
    with open(top + b"/one", "w") as f:
        f.write("linked")
    os.link(top + b"/one", top + b"/two")
    os.symlink(b"../nowhere", top + b"/short link")
    os.symlink(b"x" * 4095, top + b"/long link")
    os.mkfifo(top + b"/fifo")
    os.mknod(top + b"/null", 0o640 | stat.S_IFCHR, os.makedev(1, 3))
    for name in (ODD, LONG):
        with open(top + b"/" + name, "wb") as f:
            f.write(name)
    with open(top + b"/sparse", "wb") as f:
        f.write(b"begin")
        f.seek(5 * GIB)
        f.write(b"end")
    os.setxattr(top + b"/one", "user.colour", b"blue")
    os.setxattr(top + b"/one", "user.empty", b"")
    os.setxattr(top, "user.on a directory", bytes(range(256)))
    os.chown(top + b"/two", 12, 34)
    os.chmod(top + b"/two", 0o6751)
    os.utime(top + b"/two", ns=(1, 4_102_444_800_123_456_789))
    os.utime(top + b"/long link", ns=(-5 * 10**9, -10**9),
             follow_symlinks=False)


def check(top):
    one, two = os.stat(top + b"/one"), os.stat(top + b"/two")
    assert one.st_ino == two.st_ino and one.st_nlink == 2
    assert (two.st_uid, two.st_gid) == (12, 34)
    assert stat.S_IMODE(two.st_mode) == 0o6751
    assert two.st_mtime_ns == 4_102_444_800_123_456_789
    assert os.readlink(top + b"/short link") == b"../nowhere"
    assert os.readlink(top + b"/long link") == b"x" * 4095
    assert os.lstat(top + b"/long link").st_mtime_ns == -10**9
    assert stat.S_ISFIFO(os.stat(top + b"/fifo").st_mode)
    null = os.stat(top + b"/null")
    assert stat.S_ISCHR(null.st_mode) and null.st_rdev == os.makedev(1, 3)
    for name in (ODD, LONG):
        with open(top + b"/" + name, "rb") as f:
            assert f.read() == name
    assert sorted(os.listxattr(top + b"/two")) == ["user.colour",
                                                   "user.empty"]
    assert os.getxattr(top + b"/two", "user.colour") == b"blue"
    assert os.getxattr(top + b"/two", "user.empty") == b""
    assert os.getxattr(top, "user.on a directory") == bytes(range(256))
    assert sorted(os.listdir(top)) == sorted([
        b"one", b"two", b"short link", b"long link", b"fifo", b"null",
        b"sparse", ODD, LONG])
    check_sparse(top + b"/sparse")


def check_sparse(path):
    st = os.stat(path)
    assert st.st_size == 5 * GIB + 3
    assert st.st_blocks * 512 < 1 << 20
    with open(path, "rb") as f:
        assert f.read(8) == b"begin\0\0\0"
        assert os.pread(f.fileno(), 4096, 4 * GIB - 1024) == bytes(4096)
        assert os.pread(f.fileno(), 4096, 5 * GIB - 1) == b"\0end"
        assert os.lseek(f.fileno(), 0, os.SEEK_DATA) == 0
        hole = os.lseek(f.fileno(), 0, os.SEEK_HOLE)
        assert 5 <= hole <= 128 << 10
        data = os.lseek(f.fileno(), hole, os.SEEK_DATA)
        assert 5 * GIB - (128 << 10) <= data <= 5 * GIB


def test_special_files_are_kept_over_a_restart(volume):
    mnt = volume.mount()
    top = os.fsencode(mnt) + b"/special"
    make(top)
    check(top)
    volume.umount(mnt)
    volume.cli("volume", "stop", "v", "--yes")
    volume.cli("volume", "start", "v")
    volume.wait_states(["in-sync"] * 3)
    mnt = volume.mount()
    check(os.fsencode(mnt) + b"/special")
    volume.umount(mnt)


def test_names_that_are_too_long_are_refused(volume):
    mnt = volume.mount()
    try:
        os.mkdir(os.fsencode(mnt) + b"/" + b"n" * 256)
    except OSError as e:
        assert e.errno == 36  # ENAMETOOLONG
    else:
        raise AssertionError("a name of 256 bytes was accepted")
    volume.umount(mnt)
