# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""Nodes become a cluster, leave it, and come back."""
import pool
from runtime import wait_for


def test_three_nodes_form_and_each_sees_all(cluster):
    c = pool.form(cluster(3))
    seen = [pool.status(n) for n in c]
    assert len({s["id"] for s in seen}) == 1
    for s in seen:
        assert [n["name"] for n in s["nodes"]] == ["n1", "n2", "n3"]
        assert [n["number"] for n in s["nodes"]] == [1, 2, 3]
        assert s["engine"] == "etcd"
    for n in c:
        peers = n.json("peer", "list")["peers"]
        assert {p["name"]: p["up"] for p in peers} == {
            "n1": True, "n2": True, "n3": True}
    c[3].clusterfs("volume", "create", "w", "n2:/srv/w.img",
                   "--brick-size", "1G", "--sparse")
    for n in c:
        wait_for("%s knows the volume" % n.name, lambda: [
            v["name"] for v in n.json("volume", "list")] == ["w"], 5)


def test_a_seven_node_pool_has_five_voters(cluster):
    c = pool.form(cluster(7, disks=0))
    assert len(pool.voters(c[7])) == 5
    # Two voters may go.
    gone = [n for n in c if n.name in pool.voters(c[1])][:2]
    left = [n for n in c if n not in gone]
    for n in gone:
        n.crash()
    wait_for("a change is accepted", lambda: left[-1].clusterfs(
        "volume", "create", "w", left[-1].name + ":/srv/w.img",
        "--brick-size", "1G", "--sparse", "--force",
        check=False).returncode == 0)
    for n in gone:
        n.boot()
    pool.wait_formed(list(c))


def test_a_minority_refuses_changes_rejoins_and_catches_up(formed):
    c = formed(3, True)
    c[3].cut()
    wait_for("the rest goes on", lambda: pool.can_change(c[1]))
    said = c[3].refused("volume", "set", "v", "network.wait", "9s")
    assert "n1" in said and "n2" in said and "majority" in said
    assert pool.status(c[3])["current"] is False
    c[1].clusterfs("volume", "set", "v", "storage.small-file", "77")
    c[3].mend()
    pool.wait_formed(list(c))
    assert c[3].json("volume", "info", "v")["options"][
        "storage.small-file"] == "77"
    assert pool.can_change(c[3])
