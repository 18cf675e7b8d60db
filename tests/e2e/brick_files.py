# SPDX-License-Identifier: Apache-2.0
"""Files of a brick, from its records (brick_records.py): their blocks, and the
lines that `debugfs.clusterfs tree` prints for them.
"""
import os
import stat
import uuid

import lz4.block
import xxhash

from brick_records import CHUNK_BLOCKS, ROOT, check

BLOCK = 4096
ZEROS = bytes(BLOCK)
WORDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink",
         stat.S_IFCHR: "char", stat.S_IFBLK: "block", stat.S_IFIFO: "fifo",
         stat.S_IFSOCK: "socket"}


def escape(data):
    return "".join(chr(b) if 32 < b < 127 and b != 0x5c else "\\x%02x" % b
                   for b in data)


def seconds(time):
    return "%d.%09d" % time


def by_gfid(table):
    """{gfid: [(rest of the key, value)]}, in the order of keys."""
    out = {}
    for key, value in sorted(table.items(), key=lambda item: item[0]):
        out.setdefault(key[0], []).append((key[1], value))
    return out


class Files:
    def __init__(self, brick, tables):
        self.brick = brick
        self.tables = tables
        self.chunks, self.xattrs, self.entries, self.marks = (
            by_gfid(tables[name])
            for name in ("chunk", "xattr", "entry", "removal"))
        self.used = set() # blocks of files

    def use(self, lba, n):
        blocks = set(range(lba, lba + n))
        check(not blocks & self.used, "a block of two files")
        self.used |= blocks

    # -- data ------------------------------------------------------------------

    def packed(self, c, pack):
        """(number in the chunk, bytes) of the blocks that are in this pack."""
        stored = -(-pack["size"] // BLOCK)
        data = self.brick.read(pack["lba"], stored)
        self.use(pack["lba"], stored)
        check(xxhash.xxh3_64_intdigest(data) == pack["sum"], "a pack")
        held = pack["held"]
        data = lz4.block.decompress(data[:pack["size"]],
                                    uncompressed_size=len(held) * BLOCK)
        check(len(data) == len(held) * BLOCK, "the length of a pack")
        for k, i in enumerate(held):
            if i not in pack["left"]:
                continue
            block = data[k * BLOCK:(k + 1) * BLOCK]
            check(xxhash.xxh3_64_intdigest(block) == c["sum"][i], "packed data")
            for at, start, end in c["holes"]:
                if at == i:
                    block = block[:start] + bytes(end - start) + block[end:]
            yield i, block

    def blocks_of_chunk(self, c):
        for i, lba in c["lba"].items():
            self.use(lba, 1)
            if i in c["unwritten"]:
                continue
            data = self.brick.read(lba)
            check(xxhash.xxh3_64_intdigest(data) == c["sum"][i],
                  "data at %d" % lba)
            yield i, data
        for pack in c["packs"]:
            yield from self.packed(c, pack)

    def blocks(self, gfid, inode):
        """(number in the file, 4096 bytes) of all that were written, verified;
        holes and what is unwritten are left out."""
        if inode["flags"] & 1:
            data = self.tables["small"][(gfid,)]["bytes"]
            yield 0, data.ljust(BLOCK, b"\0")
            return
        for index, c in self.chunks.get(gfid, []):
            removed = any(mark["start"] <= index < end
                          for end, mark in self.marks.get(gfid, []))
            for i, data in sorted(self.blocks_of_chunk(c)):
                if not removed:
                    yield index * CHUNK_BLOCKS + i, data

    def content(self, gfid, inode):
        """The digest of debugfs.clusterfs(8)."""
        digest = xxhash.xxh3_128()
        for number, data in self.blocks(gfid, inode):
            left = inode["size"] - number * BLOCK
            if left <= 0:
                continue
            data = data[:left].ljust(BLOCK, b"\0")
            if data != ZEROS:
                digest.update(number.to_bytes(8, "little") + data)
        return digest.hexdigest()

    # -- lines -----------------------------------------------------------------

    def line(self, gfid):
        i = self.tables["inode"][(gfid,)]
        kind = stat.S_IFMT(i["mode"])
        size = BLOCK if kind == stat.S_IFDIR else i["size"]
        words = [WORDS[kind], "mode=%04o" % stat.S_IMODE(i["mode"]),
                 "uid=%d" % i["uid"], "gid=%d" % i["gid"],
                 "nlink=%d" % i["nlink"], "size=%d" % size,
                 "mtime=" + seconds(i["mtime"]),
                 "ctime=" + seconds(i["ctime"]),
                 "version=%d.%d" % i["version"],
                 "gfid=%s" % uuid.UUID(bytes=gfid)]
        if "rdev" in i:
            words.append("rdev=%d:%d" % (os.major(i["rdev"]),
                                         os.minor(i["rdev"])))
        for name, value in self.xattrs.get(gfid, []):
            words.append("xattr:%s=%s" % (escape(name),
                                          escape(value["bytes"])))
        if kind == stat.S_IFLNK:
            words.append("target=" +
                         escape(self.tables["small"][(gfid,)]["bytes"]))
        if kind == stat.S_IFREG:
            words.append("content=" + self.digests[gfid])
        return " ".join(words)

    def below(self, path, gfid):
        for name, entry in self.entries.get(gfid, []):
            child = entry["child"]
            cookie = self.tables["cookie"][(gfid, entry["cookie"])]
            check((cookie["name"], cookie["child"], cookie["type"]) ==
                  (name, child, entry["type"]), "a cookie")
            at = "%s/%s" % (path, escape(name))
            yield at + " " + self.line(child)
            if entry["type"] == stat.S_IFDIR >> 12:
                yield from self.below(at, child)

    def tree(self):
        """As debugfs.clusterfs tree prints it. Reads all data."""
        self.digests = {gfid: self.content(gfid, i)
                        for (gfid,), i in self.tables["inode"].items()
                        if stat.S_ISREG(i["mode"])}
        yield "/ " + self.line(ROOT)
        yield from self.below("", ROOT)
        for gfid, in sorted(self.tables["orphan"]):
            yield "(unlinked) " + self.line(gfid)
