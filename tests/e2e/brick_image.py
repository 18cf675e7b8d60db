# SPDX-License-Identifier: Apache-2.0
"""A second reader of bricks, made from docs/store.md and not from the code: it
takes where each field lies from the tables on that page. It believes nothing
that has no right checksum, and reads what the newest checkpoint has.
"""
import collections
import os
import pathlib
import re
import struct

import xxhash

from brick_records import Reader, check

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "store.md"
BLOCK = 4096
GROUP_BLOCKS = 4194304
GROUP_PAGES = 128
MAP_BLOCKS = 32768
GROUP_HEAD = 258


# -- fields, as the page has them ---------------------------------------------

class Layout:
    """A struct of the page: its fields, of which each begins where the one
    before it ends."""

    def __init__(self, name, rows):
        self.name = name
        self.fields = {}
        self.size = 0
        for at, size, field in rows:
            assert int(at) == self.size, "%s.%s" % (name, field)
            self.fields[field] = (self.size, int(size))
            self.size += int(size)

    def read(self, data):
        """Fields of up to 8 bytes are numbers."""
        check(len(data) >= self.size, "too short for " + self.name)
        out = {}
        for field, (at, size) in self.fields.items():
            piece = data[at:at + size]
            out[field] = (int.from_bytes(piece, "little") if size <= 8
                          else piece)
        return collections.namedtuple(self.name, out)(**out)


def layouts(page):
    """{name: Layout} of all tables that have a column `at`."""
    found = {}
    with open(page) as f:
        text = f.read()
    for m in re.finditer(r"^\| at \| bytes \| `(\w+)` \|.*\n\|[-:|]*\n"
                         r"((?:\|.*\n)+)", text, re.M):
        rows = [[cell.strip() for cell in row.split("|")[1:4]]
                for row in m[2].splitlines()]
        found[m[1]] = Layout(m[1], rows)
    return found


def sum0(data):
    return xxhash.xxh3_64_intdigest(data)


# -- the store ----------------------------------------------------------------

class Brick:
    def __init__(self, path, page):
        self.layouts = layouts(page)
        self.fd = os.open(path, os.O_RDONLY)
        self.blocks = os.fstat(self.fd).st_size // BLOCK
        self.super = self.read_super()
        self.ckpt, self.tops = self.read_ckpt()
        self.used = set() # blocks that the tree refers to

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def read(self, lba, n=1):
        data = os.pread(self.fd, n * BLOCK, lba * BLOCK)
        check(len(data) == n * BLOCK, "block %d is not there" % lba)
        return data

    def sum(self, data):
        return xxhash.xxh3_64_intdigest(data, seed=self.super.nonce)

    def sum_with_zeros(self, data, layout):
        """Of a record whose own checksum counts as zeros."""
        at, size = self.layouts[layout].fields["sum"]
        return self.sum(data[:at] + bytes(size) + data[at + size:])

    def superblocks(self):
        """Of the three places: what is there, or None."""
        lay = self.layouts["fmt_super"]
        for lba in 0, self.blocks - 64, 63:
            data = self.read(lba)
            sb = lay.read(data)
            yield sb if (data[:8] == b"1FLCFSB1" and
                         sb.sum == sum0(data[:lay.fields["sum"][0]])) else None

    def read_super(self):
        sb = next(filter(None, self.superblocks()), None)
        check(sb, "there is no superblock")
        check(sb.version == 1 and sb.block == BLOCK and not sb.incompat & ~5,
              "an unknown feature")
        return sb

    def ckpt_at(self, lba):
        data = self.read(lba, 16)
        c = self.layouts["fmt_ckpt"].read(data)
        data = data[:c.len]
        if (data[:4] != b"CKPT" or c.brick != self.super.brick or
                c.sum != self.sum_with_zeros(data, "fmt_ckpt")):
            return None
        return c, data

    def read_ckpt(self):
        ends = 0, self.super.size - 64
        found = [self.ckpt_at(end + slot) for end in ends for slot in (16, 32)]
        check(any(found), "there is no checkpoint record")
        c, data = max(filter(None, found), key=lambda f: f[0].seq)
        head, top = self.layouts["fmt_ckpt"], self.layouts["fmt_top"]
        check(c.len == head.size + c.n_groups * top.size, "its length")
        return c, [top.read(data[head.size + i * top.size:])
                   for i in range(c.n_groups)]

    # -- the space map --------------------------------------------------------

    def pages(self, group):
        """(address of what it covers, its bits, free blocks) of each."""
        first = self.super.grp_lba + group * GROUP_BLOCKS
        top, lay = self.tops[group], self.layouts["fmt_top"]
        if top.place == 255:
            return
        data = self.read(first + top.place)
        index = self.layouts["fmt_index"].read(data)
        check(data[:4] == b"INDX" and index.lba == first and
              self.sum(data) == top.sum, "the index of group %d" % group)
        for i in range(GROUP_PAGES):
            page = lay.read(index.page[i * lay.size:])
            if page.place == 255:
                continue
            data = self.read(first + 2 + 2 * i + page.place)
            check(self.sum(data) == page.sum, "a map page")
            yield first + i * MAP_BLOCKS, data, page.free

    def blocks_of_groups(self):
        """As many as the record knows: a store may have grown since."""
        if self.ckpt.last_blocks == 0:
            return self.super.grp_blocks
        return (self.ckpt.n_groups - 1) * GROUP_BLOCKS + self.ckpt.last_blocks

    def in_use(self):
        """Addresses of blocks in use, without the heads of the groups; what
        pages, groups and the record count as free is free."""
        used, free = set(), 0
        end = self.super.grp_lba + self.blocks_of_groups()
        for group, top in enumerate(self.tops):
            first = self.super.grp_lba + group * GROUP_BLOCKS
            taken = set(range(first, first + GROUP_HEAD))
            for page, data, page_free in self.pages(group):
                bits = {page + 8 * i + k for i, byte in enumerate(data)
                        if byte for k in range(8) if byte >> k & 1}
                check(MAP_BLOCKS - len(bits) == page_free, "a page's count")
                taken |= {lba for lba in bits if lba < end}
            blocks = min(GROUP_BLOCKS, end - first)
            check(top.free == blocks - len(taken), "a group's count")
            free += top.free
            used |= taken - set(range(first, first + GROUP_HEAD))
        check(free == self.ckpt.free, "the record's count")
        return used

    # -- the tree -------------------------------------------------------------

    def block(self, ptr):
        """What a pointer refers to, from all of its copies."""
        data = self.read(ptr.lba)
        check(self.sum(data) == ptr.sum, "block %d" % ptr.lba)
        if ptr.lba2:
            check(self.read(ptr.lba2) == data, "a second copy")
        for lba in {ptr.lba, ptr.lba2} - {0}:
            check(lba not in self.used, "block %d has two owners" % lba)
            self.used.add(lba)
        return data

    def cells(self, ptr, level):
        data = self.block(ptr)
        head = self.layouts["fmt_node"].read(data)
        check(data[:4] == b"NODE" and head.level == level and
              head.lba == ptr.lba and head.gen == ptr.gen, "a node's head")
        keys = []
        for i in range(head.n):
            at, = struct.unpack_from("<H", data, 32 + 2 * i)
            klen, vlen = struct.unpack_from("<HH", data, at)
            key = data[at + 4:at + 4 + klen]
            value = data[at + 4 + klen:at + 4 + klen + (vlen & 0x7fff)]
            if i > (level > 0):
                check(keys[-1] < key, "the order of keys")
            keys.append(key)
            yield key, value, vlen >> 15

    def large(self, value):
        size, = struct.unpack_from("<I", value)
        ptr = self.layouts["fmt_ptr"]
        data = b"".join(self.block(ptr.read(value[at:at + ptr.size]))
                        for at in range(4, len(value), ptr.size))
        check(0 <= len(data) - size < BLOCK and not any(data[size:]),
              "the length of a large value")
        return data[:size]

    def records(self, ptr=None, level=None):
        """All keys and values, in order."""
        lay = self.layouts["fmt_ptr"]
        if ptr is None:
            ptr, level = lay.read(self.ckpt.root), self.ckpt.level
        for key, value, large in self.cells(ptr, level):
            if level > 0:
                yield from self.records(lay.read(value), level - 1)
            else:
                yield key, self.large(value) if large else value

    # -- the journal ----------------------------------------------------------

    def journal_bytes(self, pos, n):
        size = self.super.jrn_blocks * BLOCK
        base = self.super.jrn_lba * BLOCK
        at = pos % size
        n = min(n, size)
        head = os.pread(self.fd, min(n, size - at), base + at)
        return head + os.pread(self.fd, n - len(head), base)

    def journal_at(self, pos, prev):
        """(head, extents, checksums, body) of the record there, or None."""
        lay = self.layouts["fmt_rec"]
        data = self.journal_bytes(pos, lay.size)
        head = lay.read(data)
        if data[:4] != b"JRNL" or head.pos != pos or head.prev != prev:
            return None
        data = self.journal_bytes(pos, head.len)
        if head.sum != self.sum_with_zeros(data, "fmt_rec"):
            return None
        r = Reader(data[lay.size:])
        ext = [(r.n(8), r.n(4)) for _ in range(head.n_ext)]
        sums = [r.n(8) for _ in range(head.n_sums)]
        body = r.bytes(head.body)
        check(len(r.rest()) < 8, "the length of a journal record")
        return head, ext, sums, body

    def journal(self):
        """The records behind the checkpoint."""
        pos, prev = self.ckpt.jrn_start, self.ckpt.jrn_chain
        while True:
            rec = self.journal_at(pos, prev)
            if rec is None:
                rec = self.journal_at(-(-pos // BLOCK) * BLOCK, prev)
            if rec is None:
                return
            yield rec
            pos, prev = rec[0].pos + rec[0].len, rec[0].sum

    # -- heartbeats -----------------------------------------------------------

    def beats(self):
        lay = self.layouts["fmt_beat"]
        for slot in range(self.super.hb_blocks):
            data = self.read(self.super.hb_lba + slot)
            if not any(data):
                continue
            beat = lay.read(data)
            check(data[:4] == b"BEAT" and beat.format == 1 and
                  beat.brick == self.super.brick and beat.slot == slot and
                  beat.sum == self.sum(data[:lay.fields["sum"][0]]),
                  "heartbeat slot %d" % slot)
            yield beat
