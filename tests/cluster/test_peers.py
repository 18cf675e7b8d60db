# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""Nodes that come and go: who is taken in, and who is not."""
from runtime import wait_for


def token(n, *more):
    return n.json("peer", "token", *more)["token"]


def peers(n):
    """Name to whether it is up, as @n sees it."""
    return {p["name"]: p["up"] for p in n.json("peer", "list")["peers"]}


def names(c):
    return [n.name for n in c]


def join(n, by):
    n.clusterfs("peer", "join", "--token", token(by), timeout=120)


def all_up(c):
    for n in c:
        wait_for("%s sees all of %s" % (n.name, names(c)),
                 lambda: peers(n) == {name: True for name in names(c)})


def test_three_nodes_form(cluster):
    c = cluster(3)
    c[1].clusterfs("cluster", "create")
    for n in (c[2], c[3]):
        join(n, c[1])
    all_up(c)
    numbers = {p["name"]: p["number"]
               for p in c[3].json("peer", "list")["peers"]}
    assert sorted(numbers.values()) == [1, 2, 3]
