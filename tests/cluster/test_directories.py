# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""Directories and disks that are not what they were: put back as they had
been, copied to another machine, or of somebody else. What holds mgmtd's state,
etcd's, and a brick, each in turn; what is noticed, by whom, is in
docs/cluster.md.
"""
import subprocess

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

def let_another_lead(n, other):
    """What a voter acknowledged only etcd's leader of then knows."""
    def leads():
        if pool.leader(other) != n.name:
            return True
        n.signal("etcd")  # mgmtd starts it again
        return False
    wait_for("another leads than " + n.name, leads, 60, 2)


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
    let_another_lead(c[3], c[1])
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


def copy_state(a, b):
    """Of mgmtd, to another machine."""
    b.service("stop")
    b.sh("rm -rf %s" % STATE)
    subprocess.run(["cp", "-a", str(a.host(STATE)), str(b.host(STATE))],
                   check=True)


def does_not_start(n, why):
    n.order("start", unit="clusterfs-mgmtd")
    wait_for(lambda: "%s says why not: %s" % (n.name, log(n)[-1500:]),
             lambda: why in log(n))
    assert not n.pids("clusterfs-mgmtd") and not n.pids("etcd")
    n.service("stop")


def test_a_state_directory_copied_to_another_machine_is_not_used(cluster):
    c = cluster(2)
    c[1].clusterfs("cluster", "create")
    c[1].clusterfs("volume", "create", "v", "n1:/dev/disk1")
    copy_state(c[1], c[2])
    does_not_start(c[2], "is another machine's, which is node n1")
    # As with a clone, which has the machine-id too.
    c[2].sh("touch %s/moved" % STATE)
    does_not_start(c[2], "node n1 runs already, at 10.47.0.11:24007")
    assert "10.47.0.12" in log(c[1]) and "directory copied?" in log(c[1])
    # The machine of n1 is gone, and this one takes its place.
    c[1].crash()
    c[2].service("start")
    assert [v["name"] for v in c[2].json("volume", "list")] == ["v"]
    wait_for("it says where it is", lambda: c[2].json(
        "peer", "list")["peers"][0]["host"] == c[2].address, 30)
    assert change(c[2])


def test_of_two_machines_that_are_one_node_the_second_is_refused(formed):
    """A clone that does not reach the machine that it was made of."""
    c = formed(3, others=1)
    copy_state(c[1], c[4])
    c[4].sh("touch %s/moved" % STATE)
    c[4].cut(c[1])
    c[4].order("start", unit="clusterfs-mgmtd")
    wait_for(lambda: "it is refused: " + log(c[4])[-1500:],
             lambda: "another machine is node n1 too" in log(c[4]), 40)
    c[4].crash()
    assert any("which is here already" in log(n) for n in (c[2], c[3]))
    pool.wait_formed(list(c)[:3])
    for n in list(c)[:3]:
        assert change(n)
    where = {p["name"]: p["host"] for p in c[2].json("peer", "list")["peers"]}
    assert where["n1"] == c[1].address


# -------------------------------------------------------------- etcd's

def test_an_etcd_directory_of_another_node_is_not_used(formed):
    c = formed(3)
    wait_voters(c[1], names(c))
    before = member(c[3])
    for n in (c[1], c[3]):
        stop(n)
    c[3].sh("rm -rf %s/etcd" % STATE)
    subprocess.run(["cp", "-a", str(c[1].host(STATE + "/etcd")),
                    str(c[3].host(STATE + "/etcd"))], check=True)
    for n in (c[1], c[3]):
        n.service("start")
    wait_for("n3 is another member",
             lambda: member(c[3]) not in (None, before), 60)
    assert "is not this node's: it is of etcd member" in log(c[3])
    wait_voters(c[1], names(c), 60)
    for n in c:
        wait_current(n)
        assert change(n)


# ------------------------------------------------------------ a brick's

def brick(n, of):
    """What is shown of the brick on that node."""
    return next(b for b in n.json("volume", "status", "v")["bricks"]
                if b["host"] == of.name)


def rewind(n, disk="/root/kept.img"):
    n.sh("cp --sparse=always %s /dev/disk1; sync /dev/disk1" % disk)


def kept_disk(n, disk="/root/kept.img"):
    n.sh("cp --sparse=always /dev/disk1 %s" % disk)


def test_a_brick_that_was_put_back_is_out_until_it_is_healed(formed):
    c = formed(3, True)
    c[1].clusterfs("volume", "stop", "v", "--yes")
    kept_disk(c[3])
    c[1].clusterfs("volume", "start", "v")
    pool.wait_states(c[1], n1="in-sync", n2="in-sync", n3="in-sync")
    mnt = c[1].mount("v")
    c[1].sh("echo new > %s/f" % mnt)
    c[1].umount()
    c[1].clusterfs("volume", "stop", "v", "--yes")
    rewind(c[3])
    c[1].clusterfs("volume", "start", "v")
    # It stopped cleanly too: but in an older view.
    pool.wait_states(c[1], n1="in-sync", n2="in-sync", n3="out")
    mnt = c[3].mount("v")
    assert c[3].sh("cat %s/f" % mnt) == "new\n"
    c[3].umount()


def test_a_copy_of_a_brick_is_no_second_one(cluster):
    """The brick's disk by dd on another disk, and both offered."""
    c = cluster(1, disks=2)
    pool.volume(c[1], [c[1]])
    mnt = c[1].mount("v")
    c[1].sh("echo here > %s/f; sync %s/f" % (mnt, mnt))
    c[1].sh("dd if=/dev/disk1 of=/dev/disk2 bs=1M conv=sparse 2>/dev/null")
    assert "brick" in c[1].refused("volume", "create", "w", "n1:/dev/disk2")
    # Restarted, the brick is on its own device.
    c[1].signal("clusterfs-brickd")
    pool.wait_states(c[1], n1="in-sync")
    assert c[1].sh("cat %s/f" % mnt) == "here\n"
    c[1].umount()
    assert brick(c[1], c[1])["path"] == "/dev/disk1"
    assert len(c[1].pids("clusterfs-brickd")) == 1


def test_a_brick_of_another_cluster_is_not_served(cluster):
    """On a disk that came from there, in the place of one of ours."""
    c = cluster(2)
    for n in c:
        pool.volume(n, [n])
    assert "brick" in c[1].refused("volume", "create", "w", "n1:/dev/disk1")
    for n in c:
        n.clusterfs("volume", "stop", "v", "--yes")
    subprocess.run(["cp", "--sparse=always", str(c[2].host("/dev/disk1")),
                    str(c[1].host("/root/kept.img"))], check=True)
    rewind(c[1])
    theirs, ours = brick(c[2], c[2])["id"], brick(c[1], c[1])["id"]
    assert "/dev/disk1 holds brick %s, not %s" % (theirs, ours) in c[
        1].refused("volume", "start", "v")
    assert not c[1].pids("clusterfs-brickd")
