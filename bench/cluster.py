#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Figures of a cluster: how long changes, failovers and views take, on nodes
made of namespaces on this machine (tests/cluster).

    sudo CLUSTERFS_PREFIX=build-test/stage bench/cluster.py [ROUNDS]

All nodes share this machine's processors and its disk, each state file lies in
a file system in a file: real machines are rather faster. Only figures of one
run compare. What is measured is printed with its rounds: median, least, most.
"""
import os
import pathlib
import signal
import statistics
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "cluster"))
import node  # noqa: E402
import pool  # noqa: E402
import runtime  # noqa: E402
from runtime import wait_for  # noqa: E402


def show(what, values, unit="ms"):
    print("%-52s %9.1f %s  (%.1f to %.1f, %d rounds)" % (
        what, statistics.median(values), unit, min(values), max(values),
        len(values)), flush=True)


def ms(began):
    return (time.monotonic() - began) * 1e3


def commits(n, rounds):
    """Of a command as a user waits for it, and of one that only reads: the
    difference is the transaction."""
    values = {"read": [], "change": []}
    for i in range(rounds):
        began = time.monotonic()
        n.clusterfs("volume", "get", "v", "network.wait")
        values["read"].append(ms(began))
        began = time.monotonic()
        n.clusterfs("volume", "set", "v", "network.wait", "%ds" % (20 + i % 9))
        values["change"].append(ms(began))
    return values


def one_node(rounds, volumes):
    with node.Cluster(1, state_size="4G") as c:
        n = c[1]
        pool.volume(n, [n])
        v = commits(n, rounds)
        show("1 node: a command that reads", v["read"])
        show("1 node: a change of the configuration", v["change"])
        began = time.monotonic()
        n.sh("for i in $(seq %d); do clusterfs volume create v$i n1:/srv/$i.img"
             " --brick-size 256M --sparse >/dev/null; done" % volumes,
             timeout=600)
        show("1 node: %d volumes created in sequence" % volumes,
             [(time.monotonic() - began)], "s")
        values = []
        for _ in range(3):
            n.service("stop")
            began = time.monotonic()
            n.service("start")
            values.append(ms(began))
        show("1 node: start of mgmtd with %d volumes" % (volumes + 1), values)
        memory(n, "1 node: ")


def memory(n, label):
    for program in ("clusterfs-mgmtd", "etcd"):
        for pid in n.pids(program):
            with open("/proc/%d/smaps_rollup" % pid) as f:
                pss = [int(line.split()[1]) for line in f
                       if line.startswith("Pss:")][0]
            show("%s%s, memory (Pss)" % (label, program), [pss / 1024], "MiB")


def new_view(c, last):
    """Whoever decides it says so in its log: no command is waited for."""
    text = "view of epoch %d " % (last + 1)
    logs = [n.dir / "log" / "clusterfs-mgmtd.log" for n in c]
    wait_for("a new view", lambda: any(text in p.read_text() for p in logs),
             every=0.001)


def views(saved, rounds):
    kinds = {"a brick is killed": lambda c: c[3].signal("clusterfs-brickd"),
             "a brick hangs": lambda c: c[3].signal("clusterfs-brickd",
                                                    signal.SIGSTOP),
             "half of a node's packets are lost": lambda c: c[3].lose(0.5),
             "the node with etcd's leader is lost": lose_leader}
    for what, event in kinds.items():
        values, stalls = [], []
        for _ in range(rounds):
            with node.Cluster(3, saved=saved) as c:
                pool.wait_formed(list(c))
                c[2].mount("v")
                w = pool.Writer(c[2], "/mnt/v/w")
                lead(c)
                last = pool.epoch(c[2])
                began = time.monotonic()
                event(c)
                new_view(c, last)
                values.append(ms(began))
                w.moves()
                stalls.append(w.stop()["stall"] * 1e3)
        show("new view after " + what, values)
        show("  longest wait of a writing application", stalls)


def lead(c):
    """n1 has etcd's leader."""
    while pool.leader(c[2]) != "n1":
        now = {n.name: n for n in c}.get(pool.leader(c[2]))
        if now:
            now.signal("etcd", signal.SIGSTOP)
            wait_for("another leads", lambda: pool.leader(c[1]) not in
                     ("", now.name))
            now.signal("etcd", signal.SIGCONT)


def lose_leader(c):
    c[1].crash()


def failover(saved, rounds):
    values = []
    for _ in range(rounds):
        with node.Cluster(3, saved=saved) as c:
            pool.wait_formed(list(c))
            lead(c)
            c[1].signal("etcd", signal.SIGSTOP)
            began = time.monotonic()
            wait_for("a change", lambda: pool.can_change(c[2]), every=0)
            values.append(ms(began))
    show("3 nodes: etcd's leader hangs, to the next change", values)


def three_nodes(rounds):
    with tempfile.TemporaryDirectory(prefix=node.PREFIX,
                                     dir=node.PARENT) as top:
        saved = pathlib.Path(top, "saved")
        with node.Cluster(3) as c:
            began = time.monotonic()
            pool.form(c)
            show("3 nodes: from cluster create to three voters",
                 [time.monotonic() - began], "s")
            pool.volume(c[1], list(c))
            v = commits(c[1], rounds)
            show("3 nodes: a command that reads", v["read"])
            show("3 nodes: a change of the configuration", v["change"])
            memory(c[1], "3 nodes: ")
            c.save(saved)
        failover(saved, max(3, rounds // 10))
        views(saved, max(3, rounds // 10))


def main():
    reason = runtime.why_not()
    if reason:
        sys.exit("bench/cluster.py: " + reason)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    print("%d processors, load %.1f, %s" % (
        os.cpu_count(), os.getloadavg()[0], os.uname().release))
    one_node(rounds, 100)
    three_nodes(rounds)


if __name__ == "__main__":
    main()
