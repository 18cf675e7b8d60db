# SPDX-License-Identifier: Apache-2.0
"""A brickd that is killed, at any moment and many times, has every change that
it answered: the only brick of a volume, under load from several threads.
"""
import os
import random
import signal
import threading
import time

import instance

ROUNDS = 10
WRITERS = 4


class Writer(threading.Thread):
    """Changes names and bytes in a directory of its own, and remembers what
    it was told to be done. What fails ends it."""

    def __init__(self, mnt, number):
        super().__init__()
        self.dir = mnt / ("w%d" % number)
        self.random = random.Random(number)
        self.files = {}  # name: bytes
        self.over = False
        self.done = 0
        self.failed = None

    def write(self, name):
        data = os.urandom(self.random.choice((10, 3000, 5000, 70000)))
        with open(self.dir / name, "wb") as f:
            f.write(data)
            if self.random.random() < 0.2:
                f.flush()
                os.fsync(f.fileno())
        self.files[name] = data

    def append(self, name):
        data = os.urandom(self.random.choice((1, 500, 9000)))
        with open(self.dir / name, "ab") as f:
            f.write(data)
        self.files[name] += data

    def cut(self, name):
        size = self.random.randrange(len(self.files[name]) + 1)
        os.truncate(self.dir / name, size)
        self.files[name] = self.files[name][:size]

    def move(self, name):
        to = "m%d" % self.done
        os.rename(self.dir / name, self.dir / to)
        self.files[to] = self.files.pop(name)

    def remove(self, name):
        os.unlink(self.dir / name)
        del self.files[name]

    def step(self):
        if len(self.files) < 20 or self.random.random() < 0.3:
            self.write("f%d" % self.done)
        else:
            act = self.random.choice((self.append, self.cut, self.move,
                                      self.remove, self.write))
            act(self.random.choice(sorted(self.files)))
        self.done += 1

    def run(self):
        try:
            while not self.over:
                self.step()
        except Exception as e:  # told by the main thread
            self.failed = e

    def check(self, where):
        assert sorted(os.listdir(where)) == sorted(self.files)
        for name, data in self.files.items():
            assert (where / name).read_bytes() == data, name


def serves_again(node, pid):
    """One that dies too often is left alone until somebody wants it."""
    brick = node.bricks()[0]
    if brick["state"] == "faulty":
        node.cli("volume", "start", "v", "--force")
    return brick["pid"] not in (0, None, pid) and brick["state"] == "in-sync"


def test_a_killed_brick_has_every_change_that_it_answered(node):
    node.create(bricks=1)
    node.cli("volume", "start", "v")
    mnt = node.mount()
    writers = [Writer(mnt, i) for i in range(WRITERS)]
    for w in writers:
        w.dir.mkdir()
        w.start()
    moment = random.Random(1)
    try:
        for _ in range(ROUNDS):
            before = [w.done for w in writers]
            instance.wait_for(
                "everybody goes on",
                lambda: all(w.done > b or w.failed
                            for w, b in zip(writers, before)), 60)
            time.sleep(moment.random() * 0.4)
            pid = node.bricks()[0]["pid"]
            os.kill(pid, signal.SIGKILL)
            instance.wait_for("the brick serves again",
                              lambda: serves_again(node, pid), 60)
    finally:
        for w in writers:
            w.over = True
        for w in writers:
            w.join(60 * instance.PATIENCE)
    assert [w.failed for w in writers] == [None] * WRITERS
    assert all(not w.is_alive() for w in writers)
    print("%d changes, %d kills" % (sum(w.done for w in writers), ROUNDS))

    # From the brick alone: no client remembers anything.
    node.umount(mnt)
    node.cli("volume", "stop", "v", "--yes")
    node.run("fsck.clusterfs", node.brick_path(1), timeout=300)
    node.cli("volume", "start", "v")
    mnt = node.mount()
    for w in writers:
        w.check(mnt / w.dir.name)
