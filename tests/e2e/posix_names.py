# SPDX-License-Identifier: Apache-2.0
"""Names: create, mknod, link, symlink, unlink, rename."""

import os
import socket
import stat
import threading

from posix_lib import (RENAME_EXCHANGE, RENAME_NOREPLACE, USER, GROUP, as_user,
                       check, equal, fails, get, in_child, mode_of, need_root,
                       put, renameat2, test)


@test
def names_any_byte():
    """Every byte but NUL and '/' may be in a name."""
    for b in range(1, 256):
        if b == ord("/"):
            continue
        for name in (bytes([b]), b"a" + bytes([b]) + b"z"):
            if name == b".":
                continue
            put(name, name)
    listed = set(os.listdir(b"."))
    for b in range(1, 256):
        if b == ord("/"):
            continue
        name = b"a" + bytes([b]) + b"z"
        check(name in listed, f"{name!r} is not listed")
        equal(get(name), name)
    equal(len(listed), 253 + 254, "number of names")


@test
def names_length():
    """255 bytes are a name, 256 are not."""
    name = b"n" * 255
    put(name, b"x")
    equal(get(name), b"x")
    os.mkdir(b"d" * 255)
    os.rename(name, b"m" * 255)
    equal(sorted(os.listdir(b".")), [b"d" * 255, b"m" * 255])
    long = b"l" * 256
    fails("ENAMETOOLONG", os.open, long, os.O_CREAT | os.O_WRONLY)
    fails("ENAMETOOLONG", os.stat, long)
    fails("ENAMETOOLONG", os.mkdir, long)
    fails("ENAMETOOLONG", os.unlink, long)
    fails("ENAMETOOLONG", os.symlink, b"x", long)
    fails("ENAMETOOLONG", os.rename, b"m" * 255, long)
    fails("ENAMETOOLONG", os.link, b"m" * 255, long)
    fails("ENAMETOOLONG", os.stat, b"p/" * 2100)


@test
def create_exclusive():
    """O_EXCL makes it or fails; also where a symlink points nowhere."""
    os.close(os.open("f", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    fails("EEXIST", os.open, "f", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    os.symlink("nowhere", "s")
    fails("EEXIST", os.open, "s", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    os.mkdir("d")
    fails("EEXIST", os.open, "d", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    check(not os.path.lexists("nowhere"), "the link's target was made")


@test
def create_existing():
    """O_CREAT opens what exists and leaves its mode and data."""
    put("f", b"data", 0o640)
    fd = os.open("f", os.O_CREAT | os.O_RDWR, 0o777)
    equal(os.read(fd, 10), b"data")
    os.close(fd)
    equal(mode_of("f"), 0o640)
    os.symlink("new", "s")
    os.close(os.open("s", os.O_CREAT | os.O_RDWR, 0o600))
    check(stat.S_ISREG(os.lstat("new").st_mode), "not made through a symlink")


@test
def create_errors():
    """Wrong kinds on the way."""
    put("f")
    os.mkdir("d")
    os.symlink("f", "s")
    fails("ENOENT", os.open, "no/f", os.O_CREAT | os.O_WRONLY)
    fails("ENOTDIR", os.open, "f/g", os.O_CREAT | os.O_WRONLY)
    fails("EISDIR", os.open, "d", os.O_WRONLY)
    fails("EISDIR", os.open, "d", os.O_CREAT | os.O_RDWR)
    fails("ELOOP", os.open, "s", os.O_RDONLY | os.O_NOFOLLOW)
    fails("ENOTDIR", os.open, "f", os.O_RDONLY | os.O_DIRECTORY)
    fails("ENOENT", os.open, "", os.O_RDONLY)
    fails("ENOENT", os.open, "absent", os.O_RDONLY)
    fails("ENOTDIR", os.stat, "f/.")


@test
def create_mode_and_umask():
    """The mode is what was asked for, less the umask."""
    for mask, want in ((0, 0o7666), (0o022, 0o644), (0o077, 0o600),
                       (0o777, 0)):
        old = os.umask(mask)
        name = f"f{mask:o}"
        os.close(os.open(name, os.O_CREAT | os.O_WRONLY,
                         0o7666 if mask == 0 else 0o666))
        os.mkdir(f"d{mask:o}", 0o777)
        os.umask(old)
        equal(mode_of(name) & 0o777, want & 0o777, "file's mode")
        equal(mode_of(f"d{mask:o}"), 0o777 & ~mask, "directory's mode")


@test
def create_one_winner():
    """Of many O_EXCL creators of a name exactly one succeeds."""
    wins = []

    def run(k):
        for i in range(50):
            try:
                os.close(os.open(f"w{i}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                wins.append(i)
            except FileExistsError:
                pass

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(sorted(wins), list(range(50)), "winners")


@test
def create_after_negative_lookup():
    """What was absent a moment ago is there once it is made."""
    for i in range(20):
        fails("ENOENT", os.stat, f"x{i}")
        put(f"x{i}", b"1")
        equal(os.stat(f"x{i}").st_size, 1)
        os.unlink(f"x{i}")
        fails("ENOENT", os.stat, f"x{i}")


@test
def unnamed_file():
    """O_TMPFILE works, or is refused as not supported."""
    try:
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError as e:
        check(e.errno in (95, 21), f"errno {e.errno}")
        return
    os.write(fd, b"x")
    equal(os.listdir("."), [], "names")
    os.close(fd)


@test
def mknod_kinds():
    """FIFOs, sockets, devices: kind, mode, numbers."""
    os.mkfifo("fifo", 0o640)
    check(stat.S_ISFIFO(os.lstat("fifo").st_mode), "not a fifo")
    equal(mode_of("fifo"), 0o640)
    s = socket.socket(socket.AF_UNIX)
    s.bind("sock")
    check(stat.S_ISSOCK(os.lstat("sock").st_mode), "not a socket")
    s.listen()
    c = socket.socket(socket.AF_UNIX)
    c.connect("sock")
    c.close()
    s.close()
    os.mknod("reg", stat.S_IFREG | 0o600)
    check(stat.S_ISREG(os.lstat("reg").st_mode), "not a file")
    fails("EEXIST", os.mkfifo, "fifo")
    need_root()
    for i, (major, minor) in enumerate(((1, 3), (259, 70000), (4095, 1048575))):
        for kind in (stat.S_IFCHR, stat.S_IFBLK):
            name = f"dev{i}-{kind:o}"
            os.mknod(name, kind | 0o600, os.makedev(major, minor))
            st = os.lstat(name)
            equal(stat.S_IFMT(st.st_mode), kind, "kind")
            equal((os.major(st.st_rdev), os.minor(st.st_rdev)),
                  (major, minor), "device number")


@test
def fifo_carries_data():
    """A FIFO on the file system joins two processes."""
    os.mkfifo("p")

    def child():
        with open("p", "wb") as f:
            f.write(b"through")

    pid = os.fork()
    if pid == 0:
        child()
        os._exit(0)
    with open("p", "rb") as f:
        equal(f.read(), b"through")
    os.waitpid(pid, 0)


@test
def hard_links():
    """Names of one inode: number, data, count."""
    put("a", b"one")
    os.mkdir("d")
    os.link("a", "b")
    os.link("b", "d/c")
    equal(os.stat("a").st_nlink, 3)
    equal(len({os.stat(n).st_ino for n in ("a", "b", "d/c")}), 1, "inodes")
    put("d/c", b"two")
    equal(get("a"), b"two")
    os.unlink("a")
    equal(os.stat("b").st_nlink, 2)
    equal(get("b"), b"two")
    os.unlink("d/c")
    equal(os.stat("b").st_nlink, 1)
    fails("ENOENT", os.link, "gone", "x")
    fails("EEXIST", os.link, "b", "d")
    fails("EEXIST", os.link, "b", "b")
    fails("EPERM", os.link, "d", "dd")
    os.symlink("b", "s")
    os.link("s", "s2", follow_symlinks=False)
    equal(os.readlink("s2"), "b")
    equal(os.lstat("s").st_nlink, 2)


@test
def hard_links_many():
    """A thousand names of one inode."""
    put("f")
    for i in range(1000):
        os.link("f", f"l{i}")
    equal(os.stat("f").st_nlink, 1001)
    for i in range(1000):
        os.unlink(f"l{i}")
    equal(os.stat("f").st_nlink, 1)


@test
def symlinks():
    """The text is kept as it is, up to 4095 bytes."""
    for n in (1, 10, 59, 60, 255, 256, 1000, 4095):
        text = (b"0123456789" * 410)[:n]
        name = f"s{n}".encode()
        os.symlink(text, name)
        equal(os.readlink(name), text)
        equal(os.readlink(name), text, "again")
        st = os.lstat(name)
        equal(st.st_size, n, "size")
        check(stat.S_ISLNK(st.st_mode), "kind")
    fails("ENAMETOOLONG", os.symlink, b"x" * 4096, b"long")
    fails("ENOENT", os.symlink, "", "empty")
    fails("EEXIST", os.symlink, "x", "s1")
    put("f")
    fails("EINVAL", os.readlink, "f")
    os.symlink("loop", "loop")
    fails("ELOOP", os.stat, "loop")
    os.symlink(b"\xff\xfe raw\n", b"bytes")
    equal(os.readlink(b"bytes"), b"\xff\xfe raw\n")


@test
def symlink_replaced():
    """A new link of an old name has the new text at once."""
    for i in range(20):
        os.symlink(f"target{i}", "tmp")
        os.rename("tmp", "s")
        equal(os.readlink("s"), f"target{i}")


@test
def unlink_errors():
    """unlink and rmdir know files from directories."""
    put("f")
    os.mkdir("d")
    put("d/x")
    fails("ENOENT", os.unlink, "no")
    fails("EISDIR EPERM", os.unlink, "d")
    fails("ENOTDIR", os.rmdir, "f")
    fails("ENOTEMPTY", os.rmdir, "d")
    fails("ENOENT", os.rmdir, "no")
    fails("EINVAL", os.rmdir, "d/.")
    fails("ENOTEMPTY EBUSY", os.rmdir, "d/..")
    fails("ENOTDIR", os.unlink, "f/x")
    os.unlink("d/x")
    os.rmdir("d")
    fails("ENOENT", os.stat, "d")


@test
def unlinked_file_lives_on():
    """An open file without a name is read, written, resized; then gone."""
    fd = os.open("f", os.O_CREAT | os.O_RDWR)
    os.write(fd, b"hello")
    os.unlink("f")
    fails("ENOENT", os.stat, "f")
    equal(os.fstat(fd).st_nlink, 0)
    equal(os.pread(fd, 10, 0), b"hello")
    os.pwrite(fd, b"world" * 1000, 4096)
    equal(os.fstat(fd).st_size, 4096 + 5000)
    equal(os.pread(fd, 5, 4096), b"world")
    os.ftruncate(fd, 3)
    equal(os.pread(fd, 10, 0), b"hel")
    os.fchmod(fd, 0o600)
    os.fsync(fd)
    put("f", b"other")
    equal(os.pread(fd, 10, 0), b"hel")
    equal(get("f"), b"other")
    os.close(fd)


@test
def unlinked_by_rename():
    """What a rename replaced can still be read by those who have it open."""
    put("old", b"old")
    put("new", b"new")
    fd = os.open("old", os.O_RDONLY)
    os.rename("new", "old")
    equal(os.read(fd, 10), b"old")
    equal(os.fstat(fd).st_nlink, 0)
    equal(get("old"), b"new")
    os.close(fd)


@test
def removed_directory():
    """Nothing can be made in a directory that was removed."""
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY)
    os.rmdir("d")
    equal(os.listdir(fd), [])
    fails("ENOENT", os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    fails("ENOENT", os.mkdir, "x", dir_fd=fd)
    equal(os.fstat(fd).st_nlink, 0)
    os.close(fd)

    def child():
        os.mkdir("cwd")
        os.chdir("cwd")
        os.rmdir("../cwd")
        fails("ENOENT", os.getcwd)

    in_child(child)


@test
def rename_plain():
    """To a new name, over a file, into another directory, to itself."""
    put("a", b"a")
    ino = os.stat("a").st_ino
    os.rename("a", "b")
    fails("ENOENT", os.stat, "a")
    equal(os.stat("b").st_ino, ino)
    put("c", b"c")
    os.rename("b", "c")
    equal(get("c"), b"a")
    equal(os.listdir("."), ["c"])
    os.mkdir("d")
    os.rename("c", "d/e")
    equal(get("d/e"), b"a")
    os.rename("d/e", "d/e")
    equal(get("d/e"), b"a")
    fails("ENOENT", os.rename, "no", "x")
    fails("ENOENT", os.rename, "d/e", "no/x")
    fails("ENOTDIR", os.rename, "d/e", "d/e/x")


@test
def rename_directories():
    """Over empty ones only; never below itself; ".." follows."""
    os.mkdir("a")
    put("a/f", b"f")
    os.mkdir("b")
    os.rename("a", "b")
    equal(get("b/f"), b"f")
    os.mkdir("full")
    put("full/x")
    fails("ENOTEMPTY EEXIST", os.rename, "b", "full")
    put("file")
    fails("ENOTDIR", os.rename, "b", "file")
    fails("EISDIR", os.rename, "file", "b")
    fails("EINVAL", os.rename, "b", "b/sub")
    os.mkdir("top")
    before = os.stat("top").st_nlink
    os.rename("b", "top/b")
    equal(os.stat("top/b/..").st_ino, os.stat("top").st_ino, "..")
    after = os.stat("top").st_nlink
    check(after == before + 1 or before == 1, f"nlink {before} to {after}")
    equal(get("top/b/f"), b"f")


@test
def rename_same_inode():
    """Between two names of one inode nothing happens."""
    put("a", b"x")
    os.link("a", "b")
    os.rename("a", "b")
    equal(sorted(os.listdir(".")), ["a", "b"])
    equal(os.stat("a").st_nlink, 2)


@test
def rename_noreplace():
    """RENAME_NOREPLACE never replaces."""
    put("a", b"a")
    put("b", b"b")
    fails("EEXIST", renameat2, "a", "b", RENAME_NOREPLACE)
    equal(get("b"), b"b")
    renameat2("a", "c", RENAME_NOREPLACE)
    equal(get("c"), b"a")
    os.mkdir("d")
    fails("EEXIST", renameat2, "c", "d", RENAME_NOREPLACE)


@test
def rename_exchange():
    """RENAME_EXCHANGE swaps any two, also a file and a full directory."""
    put("f", b"f")
    os.mkdir("d")
    put("d/in", b"in")
    os.mkdir("e")
    renameat2("f", "d", RENAME_EXCHANGE)
    equal(get("d"), b"f")
    equal(get("f/in"), b"in")
    os.rename("d", "e/g")
    renameat2("f", "e/g", RENAME_EXCHANGE)
    equal(get("f"), b"f")
    equal(get("e/g/in"), b"in")
    equal(os.stat("e/g/..").st_ino, os.stat("e").st_ino)
    fails("ENOENT", renameat2, "f", "no", RENAME_EXCHANGE)
    fails("ENOENT", renameat2, "no", "f", RENAME_EXCHANGE)
    fails("EINVAL", renameat2, "f", "e/g",
          RENAME_EXCHANGE | RENAME_NOREPLACE)
    fails("EINVAL", renameat2, "f", "e", 1 << 20)
    os.unlink("f")


@test
def rename_is_atomic():
    """A reader of a name that is replaced all the time always finds it."""
    put("f", b"0" * 100)
    stop = []
    bad = []

    def read():
        while not stop:
            try:
                if len(get("f")) != 100:
                    bad.append("short")
            except OSError as e:
                bad.append(e)

    t = threading.Thread(target=read)
    t.start()
    for i in range(200):
        put("tmp", bytes([48 + i % 10]) * 100)
        os.rename("tmp", "f")
    stop.append(1)
    t.join()
    equal(bad, [])


@test
def rename_then_reuse():
    """Names that were moved away are free at once."""
    for i in range(50):
        put("x", str(i).encode())
        os.rename("x", f"x{i}")
        fails("ENOENT", os.stat, "x")
    for i in range(50):
        equal(get(f"x{i}"), str(i).encode())


@test
def sticky_directory():
    """In a sticky directory only owners remove."""
    need_root()
    os.mkdir("t")
    os.chmod("t", 0o1777)
    put("t/root", b"")

    def user():
        put("t/mine", b"")
        fails("EPERM EACCES", os.unlink, "t/root")
        fails("EPERM EACCES", os.rename, "t/root", "t/stolen")
        os.unlink("t/mine")

    as_user(user)


@test
def directory_permissions():
    """Search and write permission of directories count."""
    need_root()
    os.mkdir("d")
    put("d/f", b"x", 0o644)
    os.chmod("d", 0o700)

    def shut():
        fails("EACCES", os.stat, "d/f")
        fails("EACCES", os.listdir, "d")
        fails("EACCES", os.open, "d/new", os.O_CREAT | os.O_WRONLY)

    as_user(shut)
    os.chmod("d", 0o711)

    def search():
        equal(get("d/f"), b"x")
        fails("EACCES", os.listdir, "d")
        fails("EACCES", os.unlink, "d/f")

    as_user(search)
    os.chown("d", USER, GROUP)
    os.chmod("d", 0o700)
    as_user(lambda: os.unlink("d/f"))


@test
def threads_in_one_directory():
    """Many threads make, move and remove in one directory."""
    errors = []

    def run(k):
        try:
            for i in range(60):
                put(f"t{k}-{i}", b"%d" % i)
                os.rename(f"t{k}-{i}", f"r{k}-{i}")
                if i % 3 == 0:
                    os.unlink(f"r{k}-{i}")
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(errors, [])
    want = {f"r{k}-{i}" for k in range(8) for i in range(60) if i % 3 != 0}
    equal(set(os.listdir(".")), want, "names")
