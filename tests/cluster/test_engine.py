# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""How several nodes keep one configuration: an etcd on one, three or five of
them, whatever happens to those.
"""
from runtime import wait_for


def join(n, by):
    t = by.json("peer", "token")["token"]
    n.clusterfs("peer", "join", "--token", t, timeout=120)


def status(n):
    return n.json("cluster", "status")


def roles(n):
    """Name of each node to its role and what its etcd does."""
    return {p["name"]: (p["role"], p["etcd"]) for p in status(n)["nodes"]}


def voters(n):
    return sorted(name for name, (role, etcd) in roles(n).items()
                  if role == "voter" and etcd == "running")


def wait_voters(n, names, seconds=40):
    wait_for("voters are %s: %s" % (names, roles(n)),
             lambda: voters(n) == sorted(names), seconds)


def wait_current(n, seconds=20):
    wait_for("%s is current" % n.name, lambda: status(n)["current"], seconds)


def form(cluster, n):
    """@n nodes, with as many voters as there shall be."""
    c = cluster(n)
    c[1].clusterfs("cluster", "create", "--name", "test")
    for i in range(2, n + 1):
        join(c[i], c[1])
    wait_voters(c[1], [c[i].name for i in range(1, min(n, 5) + 1)])
    return c


def change(n, name="x"):
    """A change that any node can make; True when it was made."""
    done = n.clusterfs("peer", "token", "--json", check=False, timeout=60)
    return done.returncode == 0


def test_three_nodes_have_three_voters_and_any_one_may_be_lost(cluster):
    c = form(cluster, 3)
    assert status(c[2])["engine"] == "etcd"
    leader = status(c[1])["leader"]
    assert leader in [n.name for n in c]
    for n in c:
        n.crash()
        others = [o for o in c if o is not n]
        wait_for("a change without %s" % n.name, lambda: change(others[0]))
        assert change(others[1])
        n.boot()
        wait_voters(others[0], [m.name for m in c])
        wait_current(n)
