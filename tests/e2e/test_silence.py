# SPDX-License-Identifier: Apache-2.0
# needs: quiet
"""Bricks that hang: dropped in time, and only when another one answers."""
import os
import signal
import subprocess
import time

import instance


class Stopped:
    """Processes that stand still for as long as the block lasts."""

    def __init__(self, pids):
        self.pids = pids

    def __enter__(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *exc):
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


def stall(mnt, seconds):
    """Write small files for so long; the longest that one of them took."""
    longest, end, i = 0.0, time.monotonic() + seconds, 0
    while time.monotonic() < end:
        begin = time.monotonic()
        (mnt / ("w%d" % i)).write_text("x")
        longest = max(longest, time.monotonic() - begin)
        i += 1
        time.sleep(0.01)
    return longest


def write_meanwhile(path, text):
    """Another process that writes; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            path.write_text(text)
            os._exit(0)
        finally:
            os._exit(1)
    return pid


def test_a_hung_brick_holds_a_mount_up_for_op_timeout(volume):
    mnt = volume.mount()
    (mnt / "f").write_text("1")
    with Stopped([volume.bricks()[1]["pid"]]):
        took = stall(mnt, 4)
        print("stalled for %.2f s" % took)
        assert 1.5 < took < 3.5
        volume.wait_states(["in-sync", "out", "in-sync"])
        assert "did not answer" in volume.bricks()[1]["reason"]
    time.sleep(0.5)
    assert volume.states() == ["in-sync", "out", "in-sync"]
    (mnt / "f").write_text("2")


def test_a_short_stop_drops_nobody(volume):
    mnt = volume.mount()
    (mnt / "f").write_text("1")
    with Stopped([volume.bricks()[0]["pid"]]):
        time.sleep(1.2)
    (mnt / "f").write_text("2")
    time.sleep(1.5)
    assert volume.states() == ["in-sync"] * 3


def test_when_all_hang_nobody_is_dropped(volume):
    mnt = volume.mount()
    (mnt / "f").write_text("1")
    with Stopped([b["pid"] for b in volume.bricks()]):
        writer = write_meanwhile(mnt / "f", "2")
        time.sleep(15)  # longer than the dead time of a session
    assert os.waitpid(writer, 0)[1] == 0
    time.sleep(1.5)
    assert volume.states() == ["in-sync"] * 3
    assert len(volume.status()["clients"]) == 1
    (mnt / "f").write_text("3")


def test_who_hung_with_all_others_may_be_the_last_to_answer(volume):
    mnt = volume.mount()
    (mnt / "f").write_text("1")
    pids = [b["pid"] for b in volume.bricks()]
    for last in range(3):
        with Stopped([pids[last]]):
            with Stopped([p for p in pids if p != pids[last]]):
                writer = write_meanwhile(mnt / "f", "2")
                time.sleep(4)
            time.sleep(1)
        assert os.waitpid(writer, 0)[1] == 0
        time.sleep(1.5)
        assert volume.states() == ["in-sync"] * 3
    with Stopped([pids[0]]):
        with Stopped(pids[1:]):
            time.sleep(4)
        (mnt / "f").write_text("3")
        assert volume.states() == ["out", "in-sync", "in-sync"]


def test_the_timeout_is_an_option(volume):
    volume.cli("volume", "set", "v", "network.op-timeout", "500ms")
    mnt = volume.mount()
    (mnt / "f").write_text("1")
    with Stopped([volume.bricks()[2]["pid"]]):
        took = stall(mnt, 2.5)
        print("stalled for %.2f s" % took)
        assert took < 1.9
        volume.wait_states(["in-sync", "in-sync", "out"])


def test_a_dead_client_is_closed_while_a_brick_hangs(volume):
    mnt = volume.mount()
    (mnt / "f").write_text("1")
    with Stopped([volume.bricks()[1]["pid"]]):
        for pid in volume.client_pids(mnt):
            os.kill(pid, signal.SIGKILL)
        subprocess.run(["umount", "-l", str(mnt)], check=False)
        instance.wait_for(
            "its session is closed",
            lambda: volume.status()["clients"] == [], 30)
    again = volume.mount()
    assert (again / "f").read_text() == "1"
