# SPDX-License-Identifier: Apache-2.0
# needs: root fuse long
"""Volumes over nodes, what takes its time: sick networks, a mgmtd that stands
still, clients whose node is lost."""
import signal

from pool import form
from runtime import wait_for
from test_volumes import clients, longest_stall, make, states


def test_a_client_whose_node_is_lost_is_closed(cluster):
    c = cluster(4)
    form(c)
    make(c, nodes=(1, 2, 3))
    at = c[4].mount("v")
    c[4].sh("echo before > %s/f; sync %s/f" % (at, at))
    c[4].crash()
    wait_for("its session is closed", lambda: clients(c[1]) == [], 40)
    at = c[2].mount("v")
    assert c[2].sh("cat %s/f" % at) == "before\n"


def test_two_nodes_are_no_place_for_a_volume(cluster):
    c = cluster(2)
    form(c)
    args = ["volume", "create", "v", "replica", 2, c[1].name + ":/srv/a.img",
            c[2].name + ":/srv/a.img", "--brick-size", "256M"]
    assert "third node" in c[1].refused(*args, timeout=120)
    c[1].clusterfs(*args, "--force", timeout=120)


def test_a_node_with_a_sick_network_takes_nothing_down(cluster):
    c = cluster(3)
    form(c)
    make(c)
    at = c[1].mount("v")
    c[1].sh("echo 1 > %s/f" % at)
    longest_stall(c[1], at, 8, lambda: c[3].lose(0.5))
    c[3].mend()
    wait_for("two at least serve", lambda: states(c[1])[:2] == [
        "in-sync"] * 2, 30)
    longest_stall(c[1], at, 6, lambda: c[3].cut(direction="in"))
    c[3].mend()
    wait_for("two at least serve", lambda: states(c[2])[:2] == [
        "in-sync"] * 2, 30)
    assert c[1].sh("cat %s/f" % at) == "1\n"


def test_a_mgmtd_that_stands_still_drops_nobody(cluster):
    c = cluster(3)
    form(c)
    make(c)
    at = c[1].mount("v")
    longest_stall(c[1], at, 11, lambda: c[3].signal("clusterfs-mgmtd",
                                                    signal.SIGSTOP))
    assert c[1].json("volume", "status", "v")["view"]["epoch"] == 1
    c[3].signal("clusterfs-mgmtd", signal.SIGCONT)
    for n in c:
        wait_for("%s shows all" % n.name,
                 lambda n=n: states(n) == ["in-sync"] * 3, 30)
