# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""Nodes and clients that reach each other by IPv6 alone."""
import pool
from runtime import wait_for
from test_clients import PEM, add


def test_three_nodes_serve_a_volume_over_ipv6_alone(cluster):
    c = cluster(4, ipv6=True)
    desk = c[4]
    desk.service("stop")
    pool.form(c, [c[1], c[2], c[3]])
    for p in c[2].json("peer", "list")["peers"]:
        assert p["host"] == "fd47::%d" % (10 + p["number"])
    pool.volume(c[1], [c[1], c[2], c[3]])
    at = c[2].mount("v")
    c[2].sh("echo from a node >%s/f" % at)
    c[2].umount(at)
    # From elsewhere: by address, by name, with a port; the others in reserve.
    add(c[1], desk)
    assert "# server [fd47::11]:24007" in desk.sh("cat " + PEM)
    for server in ("[fd47::11]", "n1", "[fd47::11],[fd47::12]"):
        desk.mount(server + ":/v")
        assert desk.sh("cat /mnt/v/f") == "from a node\n"
        desk.umount()
    for server in ("[fd47::12]:24007", "[fd47::12]", "fd47::12"):
        desk.clusterfs("--server", server, "volume", "status", "v")
    # A brick, a node, and who serves the client its volfile: all go.
    at = desk.mount("[fd47::13]:/v", options=
                    "backup-volfile-servers=[fd47::12]:[fd47::11]")
    w = pool.Writer(desk, at + "/d")
    c[3].crash()
    pool.wait_states(c[1], n1="in-sync", n2="in-sync")
    w.moves()
    wait_for("it asks another mgmtd", lambda: "connected to mgmtd at [fd47::1"
             in desk.sh("cat /var/log/clusterfs/client-mnt-v.log").split(
                 "connected to mgmtd at [fd47::13]", 1)[1])
    c[1].clusterfs("volume", "set", "v", "network.wait", "11s")
    assert w.stop()["stall"] < 8
    desk.umount(at)


def test_addresses_in_commands_over_ipv6(cluster):
    """auth.allow, bricks and invitations that name addresses."""
    c = cluster(3, ipv6=True)
    desk = c[3]
    desk.service("stop")
    c[1].clusterfs("cluster", "create", "--address", "n1")
    t = c[2].json("peer", "token")["token"]
    c[1].clusterfs("peer", "probe", "--token", t, timeout=120)
    pool.wait_formed([c[1], c[2]])
    c[1].clusterfs("volume", "create", "v", "replica", 2,
                   "[fd47:0::12]:/srv/a.img", "n1:/srv/b.img", "--brick-size",
                   "500M", "--sparse", "--force", "--option",
                   "auth.allow=fd47::13,fd48::/16")
    c[1].clusterfs("volume", "start", "v")
    assert sorted(pool.states(c[1])) == ["n1", "n2"]
    at = desk.mount("[fd47::12]:/v")
    desk.sh("echo hello >%s/f" % at)
    desk.umount(at)
    c[1].clusterfs("volume", "set", "v", "auth.allow", "fd47::99")
    desk.run("mkdir", "-p", "/mnt/x")
    done = desk.run("mount", "-t", "clusterfs", "[fd47::12]:/v", "/mnt/x",
                    check=False)
    assert "auth.allow" in done.stderr
