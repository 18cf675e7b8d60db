# SPDX-License-Identifier: Apache-2.0
# needs: root fuse long
"""kill -9 at any point of any command, on any node: the cluster is in one of
the two states, never between them, and the command can be repeated.
"""
import itertools
import random

import pytest

import pool
from runtime import wait_for
from test_kills import switch, wait_a_little
from test_peers_long import settled

KILLS = 4  # of each kind of program, in each command


def kill_during(victims, program, node, *argv):
    """Run the command; kill the program on the victims in the middle of it,
    each time a little later. -> yields after everything has settled."""
    for i in range(KILLS):
        p = node.popen("clusterfs", *argv)
        victim = victims[i % len(victims)]
        for _ in range(i * i):
            if p.poll() is not None:
                break
            with_time = random.random() / 200
            wait_a_little(with_time)
        victim.signal(program)
        p.wait(60)
        pool.wait_answers(node, victim)
        yield i


@pytest.fixture
def c(formed):
    return formed(3)


def names(n):
    return [v["name"] for v in n.json("volume", "list")]


def agree(c, what):
    """All nodes say the same."""
    wait_for(lambda: "all agree: %s" % [what(n) for n in c],
             lambda: all(what(n) == what(c[1]) for n in c))
    return what(c[1])


def create(c, name="v"):
    return ("volume", "create", name, "replica", 3,
            *("%s:/dev/disk1" % n.name for n in c), "--force")


@pytest.mark.parametrize("program", ["clusterfs-mgmtd", "etcd"])
def test_create_and_delete_happen_or_not(c, program):
    for _ in kill_during(list(c), program, c[1], *create(c)):
        if agree(c, names):
            assert len(c[2].json("volume", "info", "v")["bricks"]) == 3
            pool.wait_formed(list(c))
            c[3].clusterfs("volume", "delete", "v", "--yes")
    wait_for("create can be repeated", lambda: names(c[1]) or c[1].clusterfs(
        *create(c), check=False).returncode == 0, 60, 0.5)
    for _ in kill_during(list(c), program, c[2], "volume", "delete", "v",
                         "--yes"):
        if not agree(c, names):
            pool.wait_formed(list(c))
            c[3].clusterfs(*create(c))


@pytest.mark.parametrize("program", ["clusterfs-mgmtd", "etcd"])
def test_start_and_stop_happen_or_not(c, program):
    c[1].clusterfs(*create(c))

    def state(n):
        return n.json("volume", "info", "v")["state"]

    for verb, end in (("start", "started"), ("stop", "stopped")) * 2:
        for _ in kill_during(list(c), program, c[2], "volume", verb, "v",
                             "--yes" if verb == "stop" else "--force"):
            assert agree(c, state) in ("created", "started", "stopped")
        wait_for("%s can be repeated" % verb, lambda: state(c[1]) == end
                 or not c[2].clusterfs("volume", verb, "v", *(
                     ["--yes"] if verb == "stop" else []),
                     check=False).returncode)
        assert agree(c, state) == end
    pool.wait_formed(list(c))
    c[1].clusterfs("volume", "start", "v")
    pool.wait_states(c[1], n1="in-sync", n2="in-sync", n3="in-sync")


@pytest.mark.parametrize("program", ["clusterfs-mgmtd", "etcd"])
def test_set_happens_or_not(c, program):
    c[1].clusterfs(*create(c))
    values = itertools.cycle([("5s", "100"), ("6s", "200")])

    def options(n):
        o = n.json("volume", "info", "v")["options"]
        return o.get("network.wait"), o.get("storage.small-file")

    allowed = {(None, None)}
    for i in range(3):
        a, b = next(values)
        allowed.add((a, b))
        for _ in kill_during(list(c), program, c[3], "volume", "set", "v",
                             "network.wait", a, "storage.small-file", b):
            assert agree(c, options) in allowed


@pytest.mark.parametrize("victim,program", [
    (1, "clusterfs-mgmtd"), (2, "clusterfs-mgmtd"), (1, "etcd")])
def test_the_switch_from_one_to_many_happens_or_not(cluster, victim, program):
    switch(cluster, victim, program, 5)


def test_a_restore_happens_or_not(cluster):
    c = cluster(1)
    n = c[1]
    pool.volume(n, [n])
    n.clusterfs("cluster", "backup", "/root/b.json")
    for i in range(6):
        lineage = pool.status(n)["lineage"]
        p = n.popen("clusterfs", "cluster", "restore", "/root/b.json",
                    "--yes")
        wait_a_little(0.05 * i)
        n.signal("clusterfs-mgmtd")
        p.wait(60)
        pool.wait_answers(n)
        assert pool.status(n)["lineage"] in (lineage, lineage + 1)
        assert names(n) == ["v"]
    n.clusterfs("cluster", "restore", "/root/b.json", "--yes")
    pool.wait_answers(n)
    pool.wait_states(n, n1="in-sync")


def test_a_detach_happens_or_not(c):
    others = [c[1], c[2]]
    for i, program in enumerate(["clusterfs-mgmtd", "etcd"] * 3):
        p = c[1].popen("clusterfs", "peer", "detach", "n3", "--yes")
        wait_a_little(0.1 * i)
        c[1 + i % 3].signal(program)
        p.wait(120)
        pool.wait_answers(*c)
        how = wait_for("n3 is a member or not", lambda: settled(
            c, c[3], others), 60)
        if how == "member":
            wait_for("it can be repeated", lambda: c[2].clusterfs(
                "peer", "detach", "n3", "--yes", check=False,
                timeout=120).returncode == 0, 60, 0.5)
            wait_for("n3 is nobody's", lambda: settled(
                c, c[3], others) == "nobody", 40)
        pool.join(c[3], c[1])
        pool.wait_formed(list(c))


def test_etcds_leader_is_killed_during_a_create(c):
    by_name = {n.name: n for n in c}
    for i in range(3):
        p = c[1].popen("clusterfs", *create(c))
        wait_a_little(0.05 * i)
        by_name[pool.leader(c[1]) or "n2"].signal("etcd")
        p.wait(60)
        wait_for("it is there in the end", lambda: names(c[1]) or not
                 c[1].clusterfs(*create(c), check=False).returncode)
        pool.wait_formed(list(c))
        assert agree(c, names) == ["v"]
        c[1].clusterfs("volume", "delete", "v", "--yes")


def test_the_node_of_etcds_leader_is_lost_during_a_create(c):
    lost = {n.name: n for n in c}[pool.leader(c[1])]
    left = [n for n in c if n is not lost]
    p = left[0].popen("clusterfs", "volume", "create", "v", "replica", 2,
                      *("%s:/dev/disk1" % n.name for n in left))
    lost.crash()
    p.wait(60)
    wait_for("it is there in the end", lambda: names(left[0]) or not
             left[0].clusterfs("volume", "create", "v", "replica", 2,
                               *("%s:/dev/disk1" % n.name for n in left),
                               "--force", check=False).returncode)
    lost.boot()
    pool.wait_formed(list(c))
    assert agree(c, names) == ["v"]


def test_a_create_whose_node_is_lost_is_taken_back_by_another(c):
    """n1 is lost while n2 is still at work for it."""
    c[2].sh("printf '#!/bin/sh\\nexec sleep 5\\n' >/tmp/slow; chmod +x /tmp/slow;"
            "mount --bind /tmp/slow $(command -v mkfs.clusterfs)")
    p = c[1].popen("clusterfs", *create(c))
    wait_for("n2 makes its brick", lambda: c[2].pids("sleep"))
    c[1].crash()
    p.wait(60)
    c[2].sh("umount $(command -v mkfs.clusterfs)")
    again = ("volume", "create", "v", "replica", 2, "n2:/dev/disk1",
             "n3:/dev/disk1")
    assert "is still to be taken back" in c[3].refused(*again)
    wait_for("it can be made of what is left", lambda: c[3].clusterfs(
        *again, check=False).returncode == 0, 60, 0.5)
    assert names(c[2]) == ["v"]
    c[1].boot()
    pool.wait_formed(list(c))
    wait_for("n1's disk is free", lambda: c[1].clusterfs(
        "volume", "create", "w", "n1:/dev/disk1",
        check=False).returncode == 0, 60, 0.5)
    assert agree(c, names) == ["v", "w"]
    assert not c[3].sh(
        "clusterfs cluster backup /tmp/b >/dev/null;"
        "grep -o creating/ /tmp/b || :")
