# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""Volumes over three nodes: made, mounted anywhere, and nodes lost while they
are made."""
from runtime import wait_for


def make(c, name="v", nodes=(1, 2, 3), at=1):
    c[at].clusterfs("volume", "create", name, "replica", len(nodes),
                    *("%s:/srv/%s.img" % (c[i].name, name) for i in nodes),
                    "--brick-size", "1G", "--sparse", timeout=120)
    c[at].clusterfs("volume", "start", name, timeout=120)


def states(n, name="v"):
    return [b["state"] for b in n.json("volume", "status", name)["bricks"]]


def clients(n, name="v"):
    return n.json("volume", "status", name)["clients"]


def test_a_volume_is_mounted_on_each_node_in_turn(formed):
    c = formed(3)
    make(c, at=2)
    for n in c:
        wait_for("%s shows all" % n.name,
                 lambda n=n: states(n) == ["in-sync"] * 3)
    for n in c:
        at = n.mount("v")
        n.sh("echo %s > %s/%s; cat %s/*" % (n.name, at, n.name, at))
        n.umount(at)
        wait_for("its session is closed", lambda n=n: clients(n) == [])
    at = c[1].mount("v")
    assert sorted(c[1].sh("cat %s/*" % at).split()) == sorted(
        n.name for n in c)
    assert "mounted" in c[3].refused("volume", "stop", "v", "--yes")
    c[1].umount(at)
    wait_for("its session is closed", lambda: clients(c[3]) == [])
    c[3].clusterfs("volume", "stop", "v", "--yes", timeout=120)
    for n in c:
        assert n.pids("clusterfs-brickd") == []
    c[2].clusterfs("volume", "delete", "v", "--yes")
    wait_for("n1 knows", lambda: c[1].json("volume", "list") == [])


def test_mgmtds_that_are_gone_stop_nothing(formed):
    c = formed(3)
    make(c)
    at = c[1].mount("v")
    c[1].sh("cp -a /usr/include/linux %s/tree" % at)
    for n in c:
        n.service("stop")
    c[1].sh("cp -a %s/tree %s/again; diff -r %s/tree %s/again"
            % (at, at, at, at))
    for n in c:
        n.service("start")
    for n in c:
        wait_for("%s is back" % n.name,
                 lambda n=n: states(n) == ["in-sync"] * 3, 30)


def test_what_fails_on_one_node_leaves_nothing_on_any(formed):
    c = formed(3)
    c[3].sh("echo precious > /srv/v.img")
    bricks = ["%s:/srv/v.img" % n.name for n in c]
    why = c[1].refused("volume", "create", "v", "replica", 3, *bricks,
                       "--brick-size", "256M", timeout=120)
    assert c[3].name in why and "exists already" in why
    for n in (c[1], c[2]):
        assert n.run("test", "-e", "/srv/v.img", check=False).returncode == 1
    assert c[3].sh("cat /srv/v.img") == "precious\n"
    c[3].sh("rm /srv/v.img")
    c[2].clusterfs("volume", "create", "v", "replica", 3, *bricks,
                   "--brick-size", "256M", timeout=120)
    assert "already" in c[3].refused(
        "volume", "create", "w", "replica", 3, *bricks, "--brick-size",
        "256M", timeout=120)


def test_a_brick_of_another_cluster_is_not_served(cluster):
    """Its image carries what makes it a brick of ours, but for the cluster."""
    c = cluster(1)
    make(c, nodes=(1,))
    n = c[1]
    n.clusterfs("volume", "stop", "v", "--yes")
    brick = n.json("volume", "info", "v")["bricks"][0]["id"]
    n.sh("mkfs.clusterfs --force --brick-id %s --cluster "
         "11111111-2222-3333-4444-555555555555 /srv/v.img" % brick)
    assert "of cluster 11111111" in n.refused("volume", "start", "v",
                                              timeout=120)
    assert n.pids("clusterfs-brickd") == []


def test_a_create_whose_node_dies_in_the_middle_leaves_nothing(formed):
    c = formed(3)
    c[3].sh("m=$(command -v mkfs.clusterfs); cp $m /tmp/mkfs;"
            "printf '#!/bin/sh\\n/tmp/mkfs \"$@\" && exec sleep 100\\n'"
            " >/tmp/slow; chmod +x /tmp/slow; mount --bind /tmp/slow $m")
    p = c[1].popen("clusterfs", "volume", "create", "v", "replica", "3",
                   *("%s:/srv/v.img" % n.name for n in c), "--brick-size",
                   "256M", stdout=-1, stderr=-1)
    wait_for("n3 has made its brick", lambda: c[3].pids("sleep"))
    for n in c:
        assert n.host("/srv/v.img").exists()
    c[3].crash()
    p.communicate(timeout=60)
    assert p.returncode != 0
    c[3].boot()
    for n in c:
        wait_for("nothing is left on %s" % n.name,
                 lambda n=n: not n.host("/srv/v.img").exists(), 60)
    wait_for("it can be said again", lambda: c[2].clusterfs(
        "volume", "create", "v", "replica", 3,
        *("%s:/srv/v.img" % n.name for n in c), "--brick-size", "256M",
        check=False, timeout=120).returncode == 0, 60, 0.5)


def test_bricks_need_no_paths(cluster):
    c = cluster(1)
    c[1].clusterfs("volume", "create", "v", "replica", 2, "n1", "localhost",
                   "--brick-size", "256M", "--force", check=False)
    bricks = c[1].json("volume", "info", "v")["bricks"]
    assert [b["path"] for b in bricks] == [
        "/var/lib/clusterfs/bricks/v-%d.img" % i for i in (1, 2)]


def test_of_creates_at_the_same_time_one_is_done(formed):
    c = formed(3)
    bricks = ["%s:/srv/v.img" % n.name for n in c]
    all_at_once = [n.popen("clusterfs", "volume", "create", "v", "replica",
                           "3", *bricks, "--brick-size", "64M", stdout=-1,
                           stderr=-1) for n in c]
    said = [p.communicate(timeout=60)[1] for p in all_at_once]
    assert [p.returncode for p in all_at_once].count(0) == 1
    assert all("made" in s for s in said if s)
    c[2].clusterfs("volume", "start", "v", timeout=60)


def test_two_nodes_are_no_place_for_a_volume(formed):
    c = formed(2)
    args = ["volume", "create", "v", "replica", 2, c[1].name + ":/srv/a.img",
            c[2].name + ":/srv/a.img", "--brick-size", "256M"]
    assert "third node" in c[1].refused(*args, timeout=120)
    c[1].clusterfs(*args, "--force", timeout=120)
