# SPDX-License-Identifier: Apache-2.0
# needs: root fuse long
"""Volumes over nodes, what takes its time: clients whose node is lost."""
from pool import form
from runtime import wait_for
from test_volumes import clients, make


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
