# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""kill -9 of mgmtd, or of etcd, on any node in the middle of commands: what the
cluster says afterwards is what was before the command or after it, on all nodes
the same; and the command can be repeated. test_kill_loop.py does it for longer.
"""
import random
import select

import pytest

import pool
from runtime import wait_for


def wait_a_little(seconds):
    """The moment of a kill is what is varied here, nothing is waited for."""
    select.select([], [], [], seconds)


def world(n):
    """What the node says of all that the commands change."""
    volumes = {}
    for v in n.json("volume", "list"):
        info = n.json("volume", "info", v["name"])
        volumes[v["name"]] = info["state"], info["options"]
    clients = [x["name"] for x in n.json("client", "list")["clients"]]
    return volumes, sorted(clients)


def agree(c):
    """-> what all nodes say"""
    def same():
        said = [world(n) for n in c]
        return said[0] if all(s == said[0] for s in said) else None
    return wait_for("all nodes say the same", same, 40)


OPTIONS = {"network.wait": "5s", "storage.small-file": "100"}


def commands(c):
    """Each with what it makes of the world."""
    bricks = ["%s:/dev/disk1" % n.name for n in c]
    return [
        (["volume", "create", "v", "replica", 3, *bricks, "--force"],
         lambda v, k: ({**v, "v": ("created", {})}, k)),
        (["volume", "start", "v"],
         lambda v, k: ({"v": ("started", v["v"][1])}, k)),
        (["volume", "set", "v", *(w for o in OPTIONS.items() for w in o)],
         lambda v, k: ({"v": (v["v"][0], OPTIONS)}, k)),
        (["client", "add", "desk", "-o", "/tmp/desk.pem"],
         lambda v, k: (v, ["desk"])),
        (["volume", "stop", "v", "--yes"],
         lambda v, k: ({"v": ("stopped", v["v"][1])}, k)),
        (["client", "remove", "desk", "--yes"], lambda v, k: (v, [])),
        (["volume", "delete", "v", "--yes"], lambda v, k: ({}, k)),
    ]


def kill_in(c, rng, program, argv):
    """-> the node that was asked"""
    node, victim = rng.choice(list(c)), rng.choice(list(c))
    p = node.popen("clusterfs", *argv)
    wait_a_little(rng.uniform(0, 0.3))
    victim.signal(program)
    p.wait(90)
    pool.wait_answers(*c)
    return node


@pytest.mark.parametrize("program", ["clusterfs-mgmtd", "etcd"])
def test_each_command_happens_or_not(formed, program):
    c = formed(3)
    seed = random.randrange(1 << 30)
    print("seed %d" % seed)
    rng = random.Random(seed)
    before = agree(c)
    for argv, effect in commands(c):
        after = effect(*before)
        node = kill_in(c, rng, program, argv)
        now = agree(c)
        assert now in (before, after), argv

        def repeated():
            done = node.clusterfs(*argv, check=False, timeout=90)
            return done.returncode == 0 or world(node) == after
        if now == before:
            wait_for("%s can be repeated" % argv, repeated, 60, 0.5)
        before = agree(c)
        assert before == after, argv


def switch(cluster, victim, program, kills):
    """The first join: from the embedded store to etcd."""
    c = cluster(2)
    c[1].clusterfs("cluster", "create")
    c[1].clusterfs("volume", "create", "w", "n1:/dev/disk1")

    def names(n):
        return [v["name"] for v in n.json("volume", "list")]

    def join():
        token = c[1].json("peer", "token")["token"]
        return ("peer", "join", "n1", "--token", token)
    for i in range(kills):
        if pool.status(c[2])["founded"]:
            break
        p = c[2].popen("clusterfs", *join())
        if program == "etcd":
            wait_for("etcd is there", lambda: c[victim].pids("etcd")
                     or p.poll() is not None)
        wait_a_little(0.02 + 0.15 * i)
        c[victim].signal(program)
        p.wait(90)
        pool.wait_answers(*c)
        assert names(c[1]) == ["w"]
    # One that was cut off goes on by itself.
    wait_for("n2 is a member", lambda: pool.status(c[2])["founded"]
             or not c[2].clusterfs(*join(), check=False).returncode, 60)
    pool.wait_formed(list(c))
    assert names(c[1]) == names(c[2]) == ["w"]


@pytest.mark.parametrize("program", ["clusterfs-mgmtd", "etcd"])
def test_the_switch_from_one_to_many_happens_or_not(cluster, program):
    switch(cluster, 1, program, 2)
