# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""A volume whose bricks are on three nodes."""
import threading

import pool
from runtime import wait_for


def test_it_is_mounted_on_each_in_turn_and_on_one_that_runs_no_mgmtd(cluster):
    c = cluster(4, boot=False)
    for n in c:
        n.power_on()
    for n in list(c)[:3]:
        n.order("enable", unit="clusterfs-mgmtd")
        n.order("boot")
    nodes = list(c)[:3]
    pool.form(c, nodes)
    pool.volume(c[2], nodes)
    for i, n in enumerate(nodes):
        at = n.mount("v")
        n.sh("echo of %s >%s/%d" % (n.name, at, i))
        for j in range(i + 1):
            assert n.sh("cat %s/%d" % (at, j)) == "of %s\n" % nodes[j].name
        n.umount()
    c[1].clusterfs("client", "add", "laptop", "-o", "/tmp/laptop.pem")
    c[4].run("install", "-m", "600", "/dev/stdin",
             "/etc/clusterfs/client.pem", text=c[1].sh("cat /tmp/laptop.pem"))
    at = c[4].mount("n1:/v")
    assert c[4].sh("cat %s/*" % at) == "of n1\nof n2\nof n3\n"
    c[4].sh("echo x >%s/x" % at)
    c[4].umount()
    assert not c[4].pids("clusterfs-mgmtd")


def test_replicas_on_one_node_are_warned_of(formed):
    c = formed(3)
    done = c[1].json("volume", "create", "v", "replica", 3, "n1:/srv/1.img",
                     "n1:/srv/2.img", "n2:/srv/1.img", "--brick-size", "256M")
    assert any("on one node" in w for w in done["warnings"])


def test_options_reach_bricks_and_mounts_on_all_nodes(formed):
    c = formed(3, True)
    c[2].mount("v")
    c[3].clusterfs("volume", "set", "v", "storage.cache-size", "64M",
                   "network.compression", "lz4")
    for n in c:
        wait_for("the brick of %s has it" % n.name, lambda: n.sh(
            "grep -c 'the volfile changed: taken over'"
            " /var/log/clusterfs/bricks/* || :").strip() == "1")
    wait_for("the mount has it", lambda: "new options are in use" in
             c[2].sh("cat /var/log/clusterfs/client-mnt-v.log"))
    c[2].sh("cp -r /usr/include/linux /mnt/v/; sync /mnt/v")
    assert c[2].run("diff", "-r", "/usr/include/linux",
                    "/mnt/v/linux").returncode == 0


def test_statistics_of_bricks_on_other_nodes_are_shown(formed):
    c = formed(3, True)
    c[2].mount("v")
    c[2].sh("for i in 1 2 3; do echo $i >/mnt/v/$i; done")
    bricks = c[3].json("volume", "profile", "v", "info")["bricks"]
    assert [b["fops"]["create"]["count"] for b in bricks] == [3, 3, 3]
    for d in c[1].json("volume", "statedump", "v")["bricks"]:
        node = {n.name: n for n in c}[d["brick"].split(":")[0]]
        assert "[xlator.v-block]" in node.sh("cat " + d["file"])


def test_a_mount_in_fstab_waits_for_servers_that_come_later(formed):
    c = formed(3, True)
    c[3].sh("echo 'n1:/v /srv/v clusterfs _netdev 0 0' >>/etc/fstab;"
            "mkdir -p /srv/v")
    for n in c:
        n.shutdown()
    result = {}
    t = threading.Thread(target=lambda: result.update(c[3].boot()))
    t.start()
    wait_for("n3 tries to mount", lambda: c[3].pid
             and c[3].pids("clusterfs-client"))
    for n in (c[1], c[2]):
        n.boot()
    t.join()
    assert result["mounts"] == {"/srv/v": 0}
    c[3].sh("echo x >/srv/v/x")
    pool.wait_states(c[3], n1="in-sync", n2="in-sync", n3="in-sync")


def test_a_mount_right_after_a_crash_of_who_had_it_waits(formed):
    """Until the dead node's session is closed; one of a node that lives keeps
    others out, and soon says so."""
    c = formed(3, True)
    at = c[3].mount("v")
    c[3].sh("echo of n3 >%s/f; sync %s/f" % (at, at))
    with pool.Clock() as t:
        done = c[1].run("mount", "-t", "clusterfs", "v", "/mnt", check=False)
    assert done.returncode and "mounted already: on node n3" in done.stderr
    assert t.s < 8
    c[3].crash()
    with pool.Clock() as t:
        at = c[1].mount("v")
    print("waited for %.1f s" % t.s)
    assert t.s > 5
    assert c[1].sh("cat %s/f" % at) == "of n3\n"
    assert "which is not heard: waiting" in c[1].sh(
        "cat /var/log/clusterfs/client-mnt-v.log")
    c[1].umount()
    c[3].boot()
    at = c[3].mount("v")
    assert c[3].sh("cat %s/f" % at) == "of n3\n"
    c[3].umount()


def test_a_mgmtd_that_is_alone_serves_new_mounts(formed):
    c = formed(3, True)
    wait_for("n3 remembers two ports", lambda: c[3].sh(
        "grep -o ':[1-9][0-9]*' /var/lib/clusterfs/ports.json || :"
        ).count(":") == 3)  # and the version
    for n in c:
        n.service("stop")
    # Without what it remembers it does not find those bricks.
    ports = "/var/lib/clusterfs/ports.json"
    c[3].sh("mv %s /root/" % ports)
    c[3].service("start")
    pool.wait_answers(c[3])
    done = c[3].run("mount", "-t", "clusterfs", "-o", "mount-timeout=2", "v",
                    "/mnt", check=False)
    assert "bricks that did not answer: v-client-0, v-client-1" in done.stderr
    c[3].service("stop")
    c[3].sh("mv /root/ports.json " + ports)
    c[3].service("start")
    pool.wait_answers(c[3])
    assert not c[1].pids("clusterfs-mgmtd") + c[2].pids("clusterfs-mgmtd")
    at = c[3].mount("v")
    c[3].sh("echo alone >%s/f; sync %s/f" % (at, at), timeout=40)
    c[3].umount()
    for n in (c[1], c[2]):
        n.service("start")
    pool.wait_states(c[1], n1="in-sync", n2="in-sync", n3="in-sync")
    at = c[1].mount("v")
    assert c[1].sh("cat %s/f" % at) == "alone\n"
