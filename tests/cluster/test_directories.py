# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""Directories and disks that are not what they were: put back as they had been,
copied to another machine, or of somebody else. What holds mgmtd's state, etcd's,
and a brick, each in turn; what is noticed, by whom, is in docs/cluster.md.
"""
import json
import signal

import pool
from runtime import wait_for
from test_engine import change, member, names, wait_current, wait_voters

STATE = "/var/lib/clusterfs"


def log(n):
    return n.host("/var/log/clusterfs/clusterfs-mgmtd.log").read_text()


def stop(n):
    """mgmtd and its etcd; bricks go on."""
    n.service("stop")
    n.signal("etcd")


def keep(n):
    """Of a node that is stopped."""
    n.sh("rm -rf /root/kept; cp -a %s /root/kept" % STATE)


def put_back(n):
    n.sh("rm -rf %s && mv /root/kept %s" % (STATE, STATE))


# ------------------------------------------------------------- mgmtd's

def test_one_node_s_state_that_was_rolled_back_costs_nothing(formed):
    """All of it, as of a snapshot of the machine's disk."""
    c = formed(3)
    wait_voters(c[1], names(c))
    before = member(c[3])
    stop(c[3])
    keep(c[3])
    c[3].service("start")
    wait_voters(c[1], names(c))
    for _ in range(30):
        assert change(c[1])
    wait_current(c[3])
    stop(c[3])
    put_back(c[3])
    c[3].service("start")
    wait_for(lambda: "it is noticed: " + log(c[3])[-2000:],
             lambda: "put back from an old copy" in log(c[3]), 30)
    wait_for("n3 is another member",
             lambda: member(c[3]) not in (None, before), 60)
    wait_voters(c[1], names(c), 60)
    wait_current(c[3])
    for n in c:
        assert change(n)


def test_a_configuration_rolled_back_on_all_nodes_is_noticed_by_bricks(
        formed):
    c = formed(3, True)
    for n in c:
        n.shutdown()
    for n in c:
        n.power_on()
        keep(n)
    for n in c:
        n.order("boot")
    pool.wait_formed(list(c))
    pool.wait_states(c[1], n1="in-sync", n2="in-sync", n3="in-sync")
    mnt = c[1].mount("v")
    c[3].signal("clusterfs-brickd")
    pool.wait_states(c[1], n3="out")
    c[1].sh("echo without the third > %s/f; sync %s/f" % (mnt, mnt))
    epoch = pool.epoch(c[1])
    for n in c:
        stop(n)
        put_back(n)
    for n in c:
        n.order("start", unit="clusterfs-mgmtd")
    pool.wait_formed(list(c))

    def status(n):
        return n.json("volume", "status", "v")
    for n in c:
        wait_for(lambda: "%s notices it: %s" % (n.name, status(n)),
                 lambda: "never had" in status(n)["problem"])
    # What the bricks remember counts: the third lacks a change.
    old = pool.epoch(c[1])
    assert old < epoch
    assert c[1].sh("cat %s/f" % mnt) == "without the third\n"
    # Nothing is decided, whatever ends.
    was = c[2].pids("clusterfs-brickd")
    c[2].signal("clusterfs-brickd")
    wait_for("n2's brick is back", lambda: c[2].pids("clusterfs-brickd")
             not in ([], was))
    assert pool.epoch(c[2]) == old
    assert "never had" in status(c[2])["problem"]
    c[1].run("umount", "-l", mnt)
