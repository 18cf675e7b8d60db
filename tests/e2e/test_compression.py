# SPDX-License-Identifier: Apache-2.0
"""storage.compression, set and reset while the volume is mounted."""
import os
import random

from instance import wait_for

SIZE = 24 << 20


def data(seed):
    """Half of it can be saved."""
    rnd = random.Random(seed)
    piece = b"".join(rnd.randbytes(64) + bytes([seed] * 64)
                     for _ in range(8192))
    return piece * (SIZE // len(piece))


def put(path, what):
    """Write it, durably: the bytes that the volume has less afterwards."""
    before = os.statvfs(path.parent)
    with open(path, "wb", buffering=0) as f:
        for at in range(0, len(what), 1 << 20):
            f.write(what[at:at + (1 << 20)])
        os.fsync(f.fileno())
    after = os.statvfs(path.parent)
    assert os.stat(path).st_blocks * 512 == len(what)
    return (before.f_bavail - after.f_bavail) * after.f_frsize


def super_of(node, i):
    return node.run("debugfs.clusterfs", "--live", "super",
                    node.brick_path(i)).stdout


def packed_of(node, i):
    """What the chunks of the stopped brick say."""
    lines = node.run("debugfs.clusterfs", "dump", node.brick_path(i),
                     "chunk").stdout.splitlines()
    return sum("[packed" in line for line in lines), len(lines)


def test_it_is_set_and_reset_while_files_are_written_and_read(node):
    node.create(size="1G", bricks=2)
    node.cli("volume", "start", "v")
    mnt = node.mount()
    files = {mnt / name: data(seed)
             for seed, name in enumerate(("before", "with", "after"))}
    before, meanwhile, after = files

    assert put(before, files[before]) > SIZE * 9 // 10
    assert "compressed" not in super_of(node, 1)
    node.cli("volume", "set", "v", "storage.compression", "lz4")
    wait_for("both bricks compress", lambda: all(
        "may have compressed data" in super_of(node, i) for i in (1, 2)))
    assert put(meanwhile, files[meanwhile]) < SIZE * 7 // 10
    with open(meanwhile, "r+b", buffering=0) as f: # small ones into packs
        for at in range(10000, SIZE, SIZE // 50):
            f.seek(at)
            f.write(b"small")
            files[meanwhile] = (files[meanwhile][:at] + b"small" +
                                files[meanwhile][at + 5:])
        f.truncate(SIZE - 5000)
        files[meanwhile] = files[meanwhile][:SIZE - 5000]
    node.cli("volume", "reset", "v", "storage.compression")
    wait_for("both bricks stop that", lambda: all(
        log.read_text().count("the volfile changed: taken over") == 2
        for log in (node.dirs["log"] / "bricks").glob("*.log")))
    node.umount(mnt)
    node.mount(where=mnt)
    assert put(after, files[after]) > SIZE * 9 // 10
    for path, want in files.items():
        assert path.read_bytes() == want
    assert node.states() == ["in-sync"] * 2
    node.umount(mnt)
    node.cli("volume", "stop", "v", "--yes")
    for i in (1, 2):
        node.run("fsck.clusterfs", node.brick_path(i), timeout=300)
        packed, chunks = packed_of(node, i)
        assert SIZE // (256 << 10) < packed < chunks // 2
    trees = [node.run("debugfs.clusterfs", "tree", node.brick_path(i)).stdout
             for i in (1, 2)]
    assert trees[0] == trees[1]
    node.cli("volume", "start", "v")
    node.mount(where=mnt)
    for path, want in files.items():
        assert path.read_bytes() == want


def test_a_wrong_word_is_refused(volume):
    said = volume.refused("volume", "set", "v", "storage.compression", "zip")
    assert "lz4" in said
