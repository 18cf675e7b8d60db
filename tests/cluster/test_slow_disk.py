# SPDX-License-Identifier: Apache-2.0
# needs: root fuse quiet
"""A disk that hangs under one of three bricks (slowdisk.py)."""
import signal
import time

import pytest

import pool
from runtime import wait_for

OP = 1.0  # s; network.op-timeout here
SLACK = 1.5  # s; of a machine on which everything runs at once


@pytest.fixture
def c(formed):
    c = formed(3)
    c[1].clusterfs("volume", "create", "v", "replica", 3, "n1:/dev/disk1",
                   "n2:/dev/disk1", "n3:" + c[3].slow_disk())
    c[1].clusterfs("volume", "set", "v", "network.op-timeout", "%gs" % OP)
    c[1].clusterfs("volume", "start", "v")
    c[2].mount("v")
    return c


def reason(c):
    """What n3's own mgmtd, which asks the brick, says of it."""
    return [b["reason"] for b in c[3].json("volume", "status", "v")["bricks"]
            if b["host"] == "n3"][0]


def test_a_disk_that_hangs_for_a_while_stops_nothing_but_what_needs_it(c):
    """The brick answers pings and mgmtd all the while: else it were out after
    one op-timeout."""
    writer = pool.Writer(c[2], "/mnt/v/w")
    bricks = c[3].pids("clusterfs-brickd")
    assert c[3].signal("slowdisk", signal.SIGSTOP) > 0
    end = time.monotonic() + 3.5 * OP
    while time.monotonic() < end:
        with pool.Clock() as t:
            assert pool.in_sync(c[3]) == ["n1", "n2", "n3"]
        assert t.s < OP + SLACK
    assert "has not answered" in reason(c)
    c[3].signal("slowdisk", signal.SIGCONT)
    writer.moves()
    assert writer.stop()["stall"] > 3 * OP  # so it did hang
    wait_for("the disk is well again", lambda: reason(c) == "")
    assert pool.in_sync(c[1]) == ["n1", "n2", "n3"]
    assert c[3].pids("clusterfs-brickd") == bricks


def test_a_disk_that_hangs_for_good_costs_five_op_timeouts(c):
    writer = pool.Writer(c[2], "/mnt/v/w")
    bricks = c[3].pids("clusterfs-brickd")
    began = time.monotonic()
    c[3].signal("slowdisk", signal.SIGSTOP)
    wait_for("n3 is out", lambda: pool.in_sync(c[1]) == ["n1", "n2"], 20)
    assert 4.5 * OP < time.monotonic() - began < 6.5 * OP + SLACK
    writer.moves()
    assert "device did not answer" in reason(c)
    assert writer.stop()["stall"] < 6.5 * OP + SLACK
    assert c[3].pids("clusterfs-brickd") == bricks  # it lives, and waits
    c[3].signal("slowdisk", signal.SIGCONT)


def test_a_disk_that_fails_costs_its_brick_alone(c):
    writer = pool.Writer(c[2], "/mnt/v/w")
    c[3].signal("slowdisk")
    wait_for("n3 is out", lambda: pool.in_sync(c[1]) == ["n1", "n2"], 20)
    writer.moves()
    assert writer.stop()["stall"] < 1 + SLACK
    wait_for("it says why", lambda: pool.states(c[3])["n3"] == "failed")
    assert reason(c) != ""
