# SPDX-License-Identifier: Apache-2.0
"""Directories: mkdir, reading, deep and wide ones."""

import ctypes
import os
import stat
import threading

from posix_lib import (check, equal, fails, get, in_child, libc, mode_of, put,
                       test)


@test
def mkdir_and_count():
    """mkdir, modes, link counts."""
    os.mkdir("d", 0o750)
    equal(mode_of("d"), 0o750)
    fails("EEXIST", os.mkdir, "d")
    fails("ENOENT", os.mkdir, "no/d")
    put("f")
    fails("ENOTDIR", os.mkdir, "f/d")
    base = os.stat("d").st_nlink
    for i in range(5):
        os.mkdir(f"d/s{i}")
    n = os.stat("d").st_nlink
    check(n == base + 5 or base == 1, f"nlink {base} to {n}")
    for i in range(5):
        os.rmdir(f"d/s{i}")
    equal(os.stat("d").st_nlink, base)
    put("d/file")
    equal(os.stat("d").st_nlink, base, "a file counts as a directory")


@test
def listing():
    """Names, kinds and numbers of entries, with the dots."""
    os.mkdir("d")
    put("d/file")
    os.mkdir("d/dir")
    os.symlink("x", "d/link")
    os.mkfifo("d/fifo")
    with os.scandir("d") as it:
        seen = {e.name: e for e in it}
    equal(set(seen), {"file", "dir", "link", "fifo"})
    check(seen["dir"].is_dir(follow_symlinks=False), "dir")
    check(seen["link"].is_symlink(), "link")
    check(seen["file"].is_file(follow_symlinks=False), "file")
    for name, e in seen.items():
        equal(e.inode(), os.lstat(f"d/{name}").st_ino, name)
    names = [n for n, _, _ in raw_entries("d")]
    equal(sorted(names)[:2], [b".", b".."])
    equal(len(names), len(set(names)), "names")
    inos = {n: i for n, i, _ in raw_entries("d")}
    equal(inos[b"."], os.stat("d").st_ino)


class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64),
                ("reclen", ctypes.c_ushort), ("type", ctypes.c_ubyte),
                ("name", ctypes.c_char * 256)]


libc.fdopendir.restype = ctypes.c_void_p
libc.readdir64.restype = ctypes.POINTER(Dirent)
libc.telldir.restype = ctypes.c_long


class Dir:
    """A directory stream, with telldir and seekdir."""

    def __init__(self, path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self.p = ctypes.c_void_p(libc.fdopendir(fd))

    def next(self):
        ctypes.set_errno(0)
        e = libc.readdir64(self.p)
        if not e:
            if ctypes.get_errno():
                raise OSError(ctypes.get_errno(), "readdir")
            return None
        return e.contents.name, e.contents.ino, e.contents.type

    def tell(self):
        return libc.telldir(self.p)

    def seek(self, at):
        libc.seekdir(self.p, ctypes.c_long(at))

    def rewind(self):
        libc.rewinddir(self.p)

    def close(self):
        libc.closedir(self.p)


def raw_entries(path):
    d = Dir(path)
    out = []
    while (e := d.next()) is not None:
        out.append(e)
    d.close()
    return out


@test
def wide_directory():
    """10,000 entries: each once; found by name; removed while being read."""
    n = 10000
    os.mkdir("w")
    for i in range(n):
        os.close(os.open(f"w/entry-{i:05d}", os.O_CREAT | os.O_WRONLY))
    names = [e for e, _, _ in raw_entries("w") if e not in (b".", b"..")]
    equal(len(names), n, "entries")
    equal(len(set(names)), n, "different entries")
    for i in range(0, n, 997):
        os.stat(f"w/entry-{i:05d}")

    # Remove each second one as it comes: the others come exactly once.
    d = Dir("w")
    seen = []
    while (e := d.next()) is not None:
        name = e[0]
        if name in (b".", b".."):
            continue
        seen.append(name)
        if int(name[-5:]) % 2:
            os.unlink(b"w/" + name)
    d.close()
    equal(len(seen), len(set(seen)), "an entry came twice")
    kept = {b"entry-%05d" % i for i in range(0, n, 2)}
    check(kept <= set(seen), "an entry that stayed was left out")
    left = {e for e, _, _ in raw_entries("w")} - {b".", b".."}
    equal(left, kept, "entries left")

    # And all, from another handle than the one that reads.
    d = Dir("w")
    count = 0
    while (e := d.next()) is not None:
        if e[0] in (b".", b".."):
            continue
        os.unlink(b"w/" + e[0])
        count += 1
    d.close()
    equal(count, len(kept))
    os.rmdir("w")


@test
def made_while_reading():
    """Entries made and removed meanwhile disturb no others."""
    os.mkdir("d")
    fixed = {b"fixed-%d" % i for i in range(500)}
    for name in fixed:
        put(b"d/" + name)
    stop = []

    def churn():
        i = 0
        while not stop:
            put(f"d/churn-{i}")
            os.unlink(f"d/churn-{i}")
            i += 1

    t = threading.Thread(target=churn)
    t.start()
    try:
        for _ in range(20):
            names = [e for e, _, _ in raw_entries("d")]
            got = [x for x in names if x in fixed]
            equal(len(got), len(fixed), "fixed entries")
            equal(set(got), fixed)
    finally:
        stop.append(1)
        t.join()


@test
def tell_and_seek():
    """telldir's places stay good; rewinddir starts anew."""
    os.mkdir("d")
    for i in range(300):
        put(f"d/f{i}")
    d = Dir("d")
    places = []
    while True:
        at = d.tell()
        e = d.next()
        if e is None:
            break
        places.append((at, e[0]))
    for at, name in places[::17] + places[::-29]:
        d.seek(at)
        equal(d.next()[0], name, f"at {at}")
    put("d/new")
    d.rewind()
    names = set()
    while (e := d.next()) is not None:
        names.add(e[0])
    check(b"new" in names, "rewinddir does not see a new entry")
    equal(len(names), 303)
    d.close()


@test
def deep_directory():
    """200 levels; getcwd; relative ways up and down."""

    def child():
        top = os.getcwd()
        for i in range(200):
            os.mkdir(f"level-{i}")
            os.chdir(f"level-{i}")
        put("bottom", b"here")
        equal(os.getcwd().count("level-"), 200)
        os.chdir("../" * 200)
        equal(os.getcwd(), top)
        path = "/".join(f"level-{i}" for i in range(200))
        equal(get(path + "/bottom"), b"here")
        os.rename("level-0", "renamed")
        equal(get(path.replace("level-0/", "renamed/", 1) + "/bottom"),
              b"here")

    in_child(child)


@test
def moved_current_directory():
    """The current directory may be moved under one's feet."""

    def child():
        os.makedirs("a/b")
        os.mkdir("c")
        os.chdir("a/b")
        os.rename("../../a/b", "../../c/b")
        check(os.getcwd().endswith("/c/b"), os.getcwd())
        put("x", b"1")
        equal(get("../../c/b/x"), b"1")
        equal(os.stat("..").st_ino, os.stat("../../c").st_ino)

    in_child(child)


@test
def trees_walked():
    """A tree made, walked, counted, removed bottom-up."""
    for i in range(10):
        for j in range(5):
            os.makedirs(f"t/{i}/{j}")
            for k in range(5):
                put(f"t/{i}/{j}/{k}", b"x" * k)
    dirs = files = size = 0
    for _, d, f in os.walk("t"):
        dirs += len(d)
        files += len(f)
    equal((dirs, files), (60, 250))
    for base, d, f in os.walk("t", topdown=False):
        for name in f:
            size += os.stat(os.path.join(base, name)).st_size
            os.unlink(os.path.join(base, name))
        for name in d:
            os.rmdir(os.path.join(base, name))
    os.rmdir("t")
    equal(size, 500)


@test
def path_handles():
    """O_PATH, openat, fstatat, unlinkat relative to a directory's handle."""
    os.mkdir("d")
    put("d/f", b"x")
    fd = os.open("d", os.O_PATH)
    st = os.stat("f", dir_fd=fd)
    check(stat.S_ISREG(st.st_mode), "kind")
    g = os.open("f", os.O_RDONLY, dir_fd=fd)
    equal(os.read(g, 5), b"x")
    os.close(g)
    os.rename("d", "moved")
    os.mkdir("sub", dir_fd=fd)
    check(os.path.isdir("moved/sub"), "made in the wrong directory")
    os.unlink("f", dir_fd=fd)
    os.rmdir("sub", dir_fd=fd)
    equal(os.listdir("moved"), [])
    os.close(fd)
