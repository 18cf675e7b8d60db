# SPDX-License-Identifier: Apache-2.0
"""Processes die under load; what was answered stays."""
import mmap
import os
import signal
import subprocess
import tempfile
import time

import pytest

import instance
import tree
from brick_image import Brick, PAGE


class Copy:
    """A copy that runs while something is done to the volume."""

    def __init__(self, source, target):
        self.output = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            ["cp", "-a", source, str(target)], stdin=subprocess.DEVNULL,
            stdout=self.output, stderr=subprocess.STDOUT)

    def done_so_far(self):
        """What it has read and written, and in how many calls."""
        with open("/proc/%d/io" % self.process.pid) as f:
            return f.read()

    def wait(self, seconds=60):
        """-> exit status, output. It may take long, on a machine that has
        much to do; it hangs when no call of it ends for @seconds."""
        seen, since = None, 0
        while self.process.poll() is None:
            now = self.done_so_far()
            if now != seen:
                seen, since = now, time.monotonic()
            assert time.monotonic() - since < seconds * instance.PATIENCE, (
                "the copy hangs")
            time.sleep(0.1)
        self.output.seek(0)
        return self.process.returncode, self.output.read()


def copy_meanwhile(mnt, action):
    """Copy /usr/include; call action() in the middle; compare."""
    copy = Copy("/usr/include", mnt / "copy")
    instance.wait_for("the copy has begun", lambda: (mnt / "copy").exists()
                      and len(os.listdir(mnt / "copy")) > 3, 30)
    action()
    status, output = copy.wait()
    assert status == 0, output
    assert tree.differences(tree.snapshot("/usr/include"),
                            tree.snapshot(mnt / "copy")) == []


def fsck_all(node, bricks=(1, 2, 3)):
    for i in bricks:
        node.run("fsck.clusterfs", node.brick_path(i), timeout=300)


@pytest.mark.parametrize("victim", [0, 2], ids=["master", "last"])
def test_killed_brick_costs_nothing_and_is_restarted(volume, victim):
    mnt = volume.mount()
    pid = volume.bricks()[victim]["pid"]
    copy_meanwhile(mnt, lambda: os.kill(pid, signal.SIGKILL))

    expected = ["in-sync"] * 3
    expected[victim] = "out"
    volume.wait_states(expected)
    again = volume.bricks()[victim]["pid"]
    assert again and again != pid and instance.alive(again)

    volume.umount(mnt)
    volume.cli("volume", "stop", "v", "--yes")
    fsck_all(volume)


def test_a_brick_that_was_out_stays_out_over_a_restart(volume):
    mnt = volume.mount()
    (mnt / "before").write_text("1")
    os.kill(volume.bricks()[1]["pid"], signal.SIGKILL)
    volume.wait_states(["in-sync", "out", "in-sync"])
    (mnt / "after").write_text("2")
    volume.umount(mnt)
    volume.cli("volume", "stop", "v", "--yes")
    volume.cli("volume", "start", "v")
    volume.wait_states(["in-sync", "out", "in-sync"])
    mnt = volume.mount()
    assert (mnt / "after").read_text() == "2"


def test_all_bricks_killed_one_serves_everything_answered(volume):
    mnt = volume.mount()
    for i in range(200):
        (mnt / ("f%d" % i)).write_text("%d\n" % i)
    for brick in volume.bricks():
        os.kill(brick["pid"], signal.SIGKILL)
    instance.wait_for("one member serves again",
                      lambda: volume.states().count("in-sync") == 1)
    assert sorted(os.listdir(mnt)) == sorted("f%d" % i for i in range(200))
    for i in range(200):
        assert (mnt / ("f%d" % i)).read_text() == "%d\n" % i
    (mnt / "more").write_text("goes on")


def test_last_member_killed_under_load_goes_on_by_itself(volume):
    mnt = volume.mount()
    bricks = volume.bricks()
    os.kill(bricks[0]["pid"], signal.SIGKILL)
    volume.wait_states(["out", "in-sync", "in-sync"])
    os.kill(bricks[1]["pid"], signal.SIGKILL)
    volume.wait_states(["out", "out", "in-sync"])
    copy_meanwhile(mnt, lambda: os.kill(bricks[2]["pid"], signal.SIGKILL))
    volume.wait_states(["out", "out", "in-sync"])


def test_a_bad_block_of_one_brick_costs_that_brick_alone(volume):
    """Part of a block is written whose rest one brick cannot read."""
    mnt = volume.mount()
    pattern = bytes(range(1, 200)) * 400
    with open(mnt / "a", "wb") as f:
        f.write(pattern)
        f.flush()
        os.fsync(f.fileno())
    with open(volume.brick_path(3), "r+b") as image, \
            mmap.mmap(image.fileno(), 0) as m:
        at = m.find(pattern[:4096])
        assert at > 0
        m[at:at + 8] = bytes(8)
    fd = os.open(mnt / "a", os.O_RDWR)
    assert os.pwrite(fd, b"hello", 100) == 5
    os.fsync(fd)
    os.close(fd)
    volume.wait_states(["in-sync", "in-sync", "out"])
    assert (mnt / "a").read_bytes() == pattern[:100] + b"hello" + pattern[105:]


def rot(path):
    """One bit in the root of the tree."""
    with Brick(path, PAGE) as brick:
        lba = int.from_bytes(brick.ckpt.root[:8], "little")
    with open(path, "r+b") as f:
        f.seek(lba * 4096 + 4000)
        byte = f.read(1)[0]
        f.seek(lba * 4096 + 4000)
        f.write(bytes([byte ^ 1]))


def test_a_brick_that_rots_at_rest_is_mended_and_still_a_copy(volume):
    mnt = volume.mount()
    files = {mnt / ("f%d" % i): os.urandom(i * 100) for i in range(200)}
    for path, data in files.items():
        path.write_bytes(data)
    volume.umount(mnt)
    volume.cli("volume", "stop", "v", "--yes")
    rot(volume.brick_path(1))
    rot(volume.brick_path(3))
    for option, status in ("-n", 4), ("-p", 1), ("-n", 0):
        done = volume.run("fsck.clusterfs", option, volume.brick_path(1),
                          check=False)
        assert done.returncode == status, done.stdout + done.stderr

    volume.cli("volume", "start", "v", check=False)
    volume.wait_states(["in-sync", "in-sync", "faulty"])
    assert "see fsck.clusterfs" in volume.bricks()[2]["reason"]
    volume.mount(where=mnt)
    assert all(path.read_bytes() == data for path, data in files.items())


def test_killed_client_can_be_followed_by_another_mount(volume):
    mnt = volume.mount()
    copy = Copy("/usr/include", mnt / "copy")
    instance.wait_for("the copy has begun", (mnt / "copy").exists)
    time.sleep(0.3)
    (pid,) = volume.client_pids(mnt)
    os.kill(pid, signal.SIGKILL)
    status, output = copy.wait()
    assert status != 0, output
    subprocess.run(["umount", "-l", str(mnt)], check=True)

    instance.wait_for(
        "the dead session is closed",
        lambda: volume.status()["clients"] == [])
    again = volume.mount()
    names = os.listdir(again / "copy")
    assert names
    assert "in-sync" in volume.states()
    volume.umount(again)
    volume.cli("volume", "stop", "v", "--yes")
    fsck_all(volume)


def test_mgmtd_killed_and_restarted_disturbs_nothing(volume):
    mnt = volume.mount()
    pids = [b["pid"] for b in volume.bricks()]

    def restart():
        volume.kill_mgmtd()
        volume.start()

    copy_meanwhile(mnt, restart)
    instance.wait_for("bricks are adopted",
                      lambda: [b["pid"] for b in volume.bricks()] == pids)
    volume.wait_states(["in-sync"] * 3)
    assert len(volume.status()["clients"]) == 1


def test_brick_killed_while_mgmtd_is_away_is_dealt_with_when_it_returns(volume):
    mnt = volume.mount()
    pid = volume.bricks()[0]["pid"]
    volume.kill_mgmtd()
    os.kill(pid, signal.SIGKILL)
    volume.start()
    volume.wait_states(["out", "in-sync", "in-sync"])
    (mnt / "x").write_text("y")
    assert (mnt / "x").read_text() == "y"
