# SPDX-License-Identifier: Apache-2.0
"""What a directory tree is, object by object, to compare one with another."""
import hashlib
import os
import stat


def content(path):
    h = hashlib.sha256()
    with open(path, "rb", buffering=0) as f:
        while chunk := f.read(1 << 20):
            h.update(chunk)
    return h.hexdigest()


def describe(path, st, links):
    """Everything of one object that a copy must keep."""
    kind = stat.S_IFMT(st.st_mode)
    what = [oct(st.st_mode), st.st_uid, st.st_gid]
    if kind == stat.S_IFREG:
        first = links.setdefault((st.st_dev, st.st_ino), path)
        what += [st.st_size, st.st_mtime_ns, st.st_nlink, first,
                 content(path) if first == path else None]
    elif kind == stat.S_IFLNK:
        what.append(os.readlink(path))
    elif kind == stat.S_IFDIR:
        what.append(st.st_mtime_ns)
    else:
        what.append(st.st_rdev)
    return what


def snapshot(top):
    """{path relative to top: description}, hard links told as such."""
    links, out = {}, {}
    here = os.getcwd()
    os.chdir(top)
    try:
        for folder, dirs, files in os.walk(b"."):
            dirs.sort()
            for name in [b""] + sorted(dirs) + sorted(files):
                path = os.path.join(folder, name) if name else folder
                st = os.lstat(path)
                if name and stat.S_ISDIR(st.st_mode):
                    continue  # told when walked
                out[path] = describe(path, st, links)
    finally:
        os.chdir(here)
    return out


def differences(a, b, most=10):
    """In words; empty when the same."""
    out = []
    for path in sorted(set(a) | set(b)):
        if a.get(path) != b.get(path):
            out.append("%r: %s / %s" % (path, a.get(path), b.get(path)))
    return out[:most]
