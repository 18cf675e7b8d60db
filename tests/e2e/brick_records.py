# SPDX-License-Identifier: Apache-2.0
"""The records of a brick's tree and journal, taken apart as docs/store.md says
(The records; Records of the journal). A record that has more or less than that
is damaged.
"""
import collections
import stat
import struct

ROOT = bytes(15) + b"\1"
CHUNK_BLOCKS = 32


class Damaged(Exception):
    pass


def check(right, what):
    if not right:
        raise Damaged(what)


class Reader:
    """Little-endian fields, one behind the other."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def bytes(self, n):
        check(self.at + n <= len(self.data), "a record is too short")
        self.at += n
        return self.data[self.at - n:self.at]

    def n(self, size):
        return int.from_bytes(self.bytes(size), "little")

    def ns(self, *sizes):
        return [self.n(size) for size in sizes]

    def time(self):
        sec, = struct.unpack("<q", self.bytes(8))
        return sec, self.n(4)

    def version(self):
        return self.n(8), self.n(8)

    def text(self):
        return self.bytes(self.n(2))

    def rest(self):
        return self.bytes(len(self.data) - self.at)

    def end(self):
        check(self.at == len(self.data), "a record is too long")

    def format(self, *known):
        fmt = self.n(1)
        check(fmt in (known or (1,)), "an unknown format %d" % fmt)
        return fmt


def bits(mask):
    return [i for i in range(CHUNK_BLOCKS) if mask >> i & 1]


# -- the tables: the value of each, as a dict ---------------------------------

def inode(r):
    r.format()
    i = dict(zip(("flags", "xattrs", "mode", "nlink", "uid", "gid", "dirty"),
                 r.ns(1, 2, 4, 4, 4, 4, 4)))
    i["version"] = r.version()
    i["size"] = r.n(8)
    for name in "atime", "mtime", "ctime", "btime":
        i[name] = r.time()
    if stat.S_ISREG(i["mode"]):
        i["blocks"], i["marks"] = r.ns(8, 4)
    elif stat.S_ISDIR(i["mode"]):
        i["parent"], i["entries"] = r.bytes(16), r.n(8)
    elif stat.S_ISCHR(i["mode"]) or stat.S_ISBLK(i["mode"]):
        i["rdev"] = r.n(8)
    return i


def dirent(r):
    r.format()
    return dict(type=r.n(1), child=r.bytes(16), cookie=r.n(8))


def cookie(r):
    r.format()
    return dict(type=r.n(1), child=r.bytes(16), name=r.rest())


def plain(r):
    return dict(bytes=r.rest())


def chunk(r):
    """lba: of the blocks that have one; unwritten: a set; sum: of the others;
    packs: dicts; holes: (block, from, up to)."""
    fmt = r.format(1, 3)
    c = dict(lba={}, unwritten=set(), sum={}, packs=[], holes=[])
    for _ in range(r.n(1)):
        first, n, lba = r.ns(1, 1, 6)
        run = range(first, first + (n & 127))
        check(len(run) > 0 and run.stop <= CHUNK_BLOCKS and
              all(i not in c["lba"] for i in run), "the runs of a chunk")
        c["lba"].update((i, lba + i - first) for i in run)
        if n & 128:
            c["unwritten"].update(run)
    packed = []
    if fmt == 3:
        for _ in range(r.n(1)):
            lba, size, pack_sum, held, left = r.ns(6, 4, 8, 4, 4)
            packed += bits(left)
            c["packs"].append(dict(lba=lba, size=size, sum=pack_sum,
                                   held=bits(held), left=bits(left)))
        check(packed and len(set(packed)) == len(packed) and
              not set(packed) & set(c["lba"]), "the packs of a chunk")
        c["holes"] = [r.ns(1, 2, 2) for _ in range(r.n(1))]
        check({i for i, _, _ in c["holes"]} <= set(packed), "holes of a chunk")
    written = sorted({*c["lba"], *packed} - c["unwritten"])
    c["sum"] = {i: r.n(8) for i in written}
    return c


def removal(r):
    r.format()
    return dict(start=r.n(8))


def orphan(r):
    r.format()
    return dict(session=r.n(4))


def tombstone(r):
    r.format()
    return dict(version=r.version())


def dirty(r):
    r.format()
    return dict(session=r.n(4), version=r.version())


def oplog(r):
    r.format()
    return dict(operation=r.n(1), request=r.rest())


def session(r):
    r.format()
    s = dict(zip(("state", "pid", "dead_ms", "start"), r.ns(1, 4, 4, 8)))
    s["boot"], s["acked"] = r.bytes(16), r.n(8)
    s["node"], s["service"], s["where"] = r.text(), r.text(), r.text()
    s["owner"] = r.text() if r.at < len(r.data) else b""
    return s


def attributes(r):
    data = r.bytes(136)
    r = Reader(data)
    a = dict(gfid=r.bytes(16), version=r.version())
    a.update(zip(("mode", "nlink", "uid", "gid", "rdev", "size", "blocks"),
                 r.ns(4, 4, 4, 4, 8, 8, 8)))
    a["times"] = [r.time() for _ in range(4)]
    return a if any(data) else None


def answer(r):
    r.format()
    a = dict(zip(("operation", "status", "position", "copied"),
                 r.ns(1, 4, 8, 4)))
    a["attributes"] = [attributes(r) for _ in range(r.n(1))]
    return a


def view(r):
    r.format()
    v = dict(set=r.bytes(16), lineage=r.n(8), epoch=r.n(8), id=r.bytes(16))
    in_sync, syncing = r.ns(1, 1)
    members = [(r.bytes(16), r.n(8)) for _ in range(in_sync + syncing)]
    return dict(v, in_sync=members[:in_sync], syncing=members[in_sync:])


def brick(r):
    r.format()
    b = dict(zip(("highest", "floor", "flags", "inodes", "dirty", "oplog"),
                 r.ns(4, 4, 1, 8, 8, 8)))
    b["repaired"] = r.n(8) if b["flags"] & 2 else 0
    return b


# Of each table: its name for debugfs.clusterfs dump, the fields of its key
# (numbers of bytes; 0: the rest), how its value is read.
TABLES = {
    "A": ("answer", (4, 8), answer),
    "B": ("brick", (), brick),
    "C": ("cookie", (16, 8), cookie),
    "D": ("dirty", (16,), dirty),
    "E": ("entry", (16, 0), dirent),
    "F": ("small", (16,), plain),
    "I": ("inode", (16,), inode),
    "K": ("chunk", (16, 8), chunk),
    "N": ("orphan", (16,), orphan),
    "O": ("oplog", (4, 8), oplog),
    "R": ("removal", (16, 8), removal),
    "S": ("session", (4,), session),
    "T": ("tombstone", (16,), tombstone),
    "V": ("view", (8, 8), view),
    "X": ("xattr", (16, 0), plain),
}


def key_of(key, sizes):
    """Its fields: gfids and names as bytes, all else as numbers."""
    r = Reader(key[1:])
    fields = []
    for size in sizes:
        piece = r.bytes(size) if size else r.rest()
        fields.append(piece if size in (0, 16)
                      else int.from_bytes(piece, "big"))
    r.end()
    return fields


def read_tables(records):
    """{table: {(fields of the key): value}} of all of a brick's records."""
    found = collections.defaultdict(dict)
    for key, value in records:
        name, sizes, read = TABLES[chr(key[0])]
        r = Reader(value)
        found[name][tuple(key_of(key, sizes))] = read(r)
        r.end()
    return found


# -- the journal --------------------------------------------------------------

def change(r):
    r.format()
    c = dict(zip(("operation", "how"), r.ns(1, 1)))
    segments, c["payload"], inline, request, c["hidden"] = r.ns(1, 4, 4, 4, 8)
    c["segments"] = [r.ns(8, 4) for _ in range(segments)]
    c["packs"] = []
    if c["how"] & 4:
        n, size = r.ns(1, 4)
        packs = Reader(r.bytes(size))
        for _ in range(n):
            block, held, length, pack_sum = packs.ns(8, 1, 4, 8)
            c["packs"].append((block, length, pack_sum, packs.ns(*[8] * held)))
        packs.end()
    c["bytes"], c["request"] = r.bytes(inline), r.bytes(request)
    return c


def clear(r):
    r.format()
    c = dict(session=r.n(4), below=r.n(8), inodes=[])
    while r.at < len(r.data):
        c["inodes"].append((r.bytes(16), r.version()))
    return c


def numbered_session(r):
    r.format()
    return dict(number=r.n(4), **session(r))


def formatted_view(r):
    r.format()
    return view(r)


# Type of a record: its name, how its body is read.
JOURNAL = {
    1: ("genesis", lambda r: dict(format=r.format(), time=r.time())),
    2: ("clean", lambda r: dict(format=r.format())),
    3: ("change", change),
    4: ("view", formatted_view),
    5: ("session", numbered_session),
    6: ("clear", clear),
    7: ("purge", lambda r: dict(format=r.format(), gfid=r.bytes(16),
                                version=r.version())),
    8: ("remove", lambda r: dict(format=r.format(), gfid=r.bytes(16),
                                 end=r.n(8), upto=r.n(8))),
}


def read_body(kind, body):
    name, read = JOURNAL[kind]
    r = Reader(body)
    got = read(r)
    r.end()
    return name, got
