# SPDX-License-Identifier: Apache-2.0
"""What lies in a brick is what docs/store.md says: a reader that was made from
that page, and has no line of the programs (brick_image.py), finds the same
files, data, blocks in use and journal in it as they do.
"""
import os
import random
import re
import signal
import socket
import stat
import subprocess

from brick_files import Files
from brick_image import BLOCK, PAGE, Brick, layouts, sum0
from brick_records import TABLES, read_body, read_tables
from instance import alive, wait_for

HEADER = PAGE.parents[1] / "xlators/storage/block/engine/format.h"


def half_random(size, seed):
    rnd = random.Random(seed)
    return b"".join(rnd.randbytes(64) + bytes([seed] * 64)
                    for _ in range(size // 128))


def fill(mnt):
    """Files of each kind that records differ for."""
    for size in (0, 1, 1280, 1281, 4096, 300000):
        (mnt / ("bytes-%d" % size)).write_bytes(os.urandom(size))
    with open(mnt / "sparse", "wb") as f:
        f.seek(9000000)
        f.write(b"behind holes")
    fd = os.open(mnt / "reserved", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(fd, 0, 20 << 20)
    os.pwrite(fd, b"among what is unwritten", 300001)
    os.close(fd)
    with open(mnt / "packed", "wb", buffering=0) as f:
        for seed in range(4):
            f.write(half_random(1 << 20, seed))
        os.pwrite(f.fileno(), b"over a block of a pack", 500000)
        f.truncate((2 << 20) + 5000)
    subprocess.run(["fallocate", "-p", "-o", "9000", "-l", "100",
                    mnt / "packed"], check=True)
    with open(mnt / "in pieces", "wb", buffering=0) as f:
        for seed in range(20):
            f.write(half_random(50000, seed))
            os.fsync(f.fileno())
    os.link(mnt / "packed", mnt / "packed too")
    os.symlink("to\twhere", mnt / "symlink")
    os.mkfifo(mnt / "fifo", 0o604)
    os.mknod(mnt / "device", 0o600 | stat.S_IFBLK, os.makedev(300, 70000))
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(mnt / "socket"))
    for size in (0, 5, 1000, 5000, 65536):
        os.setxattr(mnt / "bytes-1", "user.of-%d" % size, os.urandom(size))
    os.makedirs(mnt / "a" / "b")
    for i in range(3000): # so that the tree has more than a root above leaves
        os.close(os.open(mnt / "a" / ("%d-" % i + "x" * (i % 200)),
                         os.O_CREAT | os.O_WRONLY))
    os.rename(mnt / "a" / "0-", os.fsencode(mnt / "a" / "b") + b"/\xff \\")
    os.utime(mnt / "a", ns=(-5, 7 << 60))


def compare(node, *options):
    """The reader with debugfs.clusterfs; the reader's tables and journal."""
    path = node.brick_path(1)
    with Brick(path, PAGE) as brick:
        assert None not in list(brick.superblocks())
        tables = read_tables(brick.records())
        files = Files(brick, tables)
        tree = list(files.tree())
        journal = list(brick.journal())
        assert brick.in_use() == brick.used | files.used
        ckpt, sb, beats = brick.ckpt, brick.super, list(brick.beats())
        for _, ext, sums, _ in journal:
            blocks = [lba + i for lba, n in ext for i in range(n)]
            assert [sum0(brick.read(lba)) for lba, _ in
                    zip(blocks, sums)] == sums

    def debugfs(verb, *more):
        return node.run("debugfs.clusterfs", *options, verb, path,
                        *more).stdout.splitlines()

    said = debugfs("tree")
    assert len(tree) == len(said)
    for mine, theirs in zip(tree, said):
        assert mine == theirs
    for name, _, _ in TABLES.values():
        assert len(debugfs("dump", name)) == len(tables[name]), name
    assert len(debugfs("heartbeat")) == len(beats) + 1
    assert "root at %d " % int.from_bytes(ckpt.root[:8], "little") in "".join(
        debugfs("super"))
    return ckpt, sb, tables, journal


def compare_journal(node, journal):
    """Positions and extents of all records; what their bodies are is known."""
    said = node.run("debugfs.clusterfs", "journal",
                    node.brick_path(1)).stdout.splitlines()
    mine = []
    for head, ext, _, body in journal:
        read_body(head.type, body)
        mine.append((head.pos, ext))
    theirs = [(int(line.split(":")[0]),
               [(int(lba), int(n)) for n, lba in
                re.findall(r"\[(\d+) at (\d+)\]", line)]) for line in said]
    assert mine == theirs


def end_brick(node, how):
    """mgmtd first, which would start it again."""
    pid = node.bricks()[0]["pid"]
    node.kill_mgmtd()
    os.kill(pid, how)
    wait_for("the brick ends", lambda: not alive(pid))


def test_a_brick_is_as_the_page_says(node):
    node.create(bricks=1, size="256M")
    node.cli("volume", "set", "v", "storage.compression", "lz4",
             "storage.discard", "on")
    node.cli("volume", "start", "v")
    mnt = node.mount()
    fill(mnt)
    node.umount(mnt)
    node.cli("volume", "stop", "v", "--yes")

    ckpt, sb, tables, journal = compare(node)
    assert ckpt.flags == 1 and ckpt.level > 1 and journal == []
    assert sb.incompat == 5 # two copies, packs
    assert not os.path.exists(mnt / "bytes-1")
    chunks = tables["chunk"].values()
    assert any(len(c["packs"]) > 1 for c in chunks)
    assert any((9000 % 4096, 9100 % 4096) == (start, end)
               for c in chunks for _, start, end in c["holes"])
    assert any(c["unwritten"] for c in chunks)

    # Larger, and killed with a journal; no checkpoint cuts that short.
    node.cli("volume", "set", "v", "storage.checkpoint-interval", "1h")
    os.truncate(node.brick_path(1), 400 << 20)
    node.cli("volume", "start", "v")
    node.mount(where=mnt)
    (mnt / "a" / "inline").write_bytes(b"x" * 100)
    with open(mnt / "more", "wb", buffering=0) as f:
        f.write(half_random(1 << 20, 9))
        f.write(os.urandom(100000))
        os.fsync(f.fileno())
    os.truncate(mnt / "packed", 0)
    os.truncate(mnt / "reserved", 5000) # a mark, and steps that remove
    os.unlink(mnt / "bytes-300000")
    end_brick(node, signal.SIGKILL)
    _, grown, tables, journal = compare(node, "--checkpoint")
    assert grown.size == (400 << 20) // BLOCK and grown.compat == 0
    bodies = [read_body(head.type, body) for head, _, _, body in journal]
    assert {"session", "change"} <= {name for name, _ in bodies}
    assert any(body.get("packs") for _, body in bodies)
    assert any(body.get("hidden") for _, body in bodies)
    compare_journal(node, journal)


def test_so_is_one_whose_replica_is_out(node):
    """With the records of replication, and a session that is still there."""
    node.create(bricks=2, size="256M")
    node.cli("volume", "start", "v")
    mnt = node.mount()
    (mnt / "to be removed").mkdir()
    os.kill(node.bricks()[1]["pid"], signal.SIGKILL)
    node.wait_states(["in-sync", "out"])
    with open(mnt / "unlinked", "wb") as f:
        f.write(b"x" * 5000)
        f.flush()
        os.unlink(mnt / "unlinked")
        (mnt / "to be removed").rmdir()
        (mnt / "changed").write_bytes(b"y" * 100)
        end_brick(node, signal.SIGTERM)
        _, _, tables, _ = compare(node)
    missing = {name for name, _, _ in TABLES.values() if not tables[name]}
    assert missing == {"removal", "xattr"}


def structs(text):
    """{name: [(field, bytes)]} of format.h."""
    numbers = {"CFS_NODE_MAX": 64, "FMT_SERVICE": 32, "GROUP_PAGES": 128}
    sizes = {"uint8_t": 1, "char": 1, "uint16_t": 2, "uint32_t": 4,
             "uint64_t": 8, "struct cfs_uuid": 16, "struct fmt_ptr": 32,
             "struct fmt_top": 16}
    field = r"^    ((?:struct )?\w+) +(\w+)(?:\[(\w+)\])?;"
    return {m[1]: [(name, sizes[kind] *
                    int(numbers.get(count, count or 1)))
                   for kind, name, count in re.findall(field, m[2], re.M)]
            for m in re.finditer(r"^struct (\w+) \{\n(.*?)^\};", text,
                                 re.M | re.S)}


def test_the_page_has_every_field():
    there = structs(HEADER.read_text())
    page = {name: [(field, size) for field, (_, size) in lay.fields.items()]
            for name, lay in layouts(PAGE).items()}
    assert len(page) == 8
    assert page == there
