# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""A whole clusterfs on one node, as installed on a machine of its own."""
import subprocess

from runtime import wait_for


def volume(n, name="v"):
    """Three replicas in image files."""
    n.clusterfs("volume", "create", name, "replica", 3,
                *("localhost:/srv/%s%d.img" % (name, i) for i in (1, 2, 3)),
                "--brick-size", "1G", "--sparse")
    n.clusterfs("volume", "start", name)


def states(n, name="v"):
    return [b["state"] for b in n.json("volume", "status", name)["bricks"]]


def serves_anew(n, name="v"):
    """One mount at a time: the one from before the crash must be closed."""
    v = n.json("volume", "status", name)
    return (any(b["state"] == "in-sync" for b in v["bricks"])
            and not v["clients"])


def some_tree(n, at):
    n.sh("cp -a /usr/include/linux %s/tree" % at)


def same_tree(n, at):
    return n.run("diff", "-r", "/usr/include/linux", at + "/tree",
                 check=False).returncode == 0


def test_everything_comes_back_after_a_crash_of_the_node(cluster):
    c = cluster(1)
    n = c[1]
    volume(n)
    at = n.mount("v")
    some_tree(n, at)
    assert same_tree(n, at)
    n.crash()
    n.boot()
    wait_for("the volume serves", lambda: serves_anew(n))
    n.mount("v")
    assert same_tree(n, at)


def test_what_was_fsynced_survives_a_power_cut(cluster):
    c = cluster(1)
    n = c[1]
    volume(n)
    at = n.mount("v")
    n.sh("dd if=/dev/urandom of=%s/f bs=64k count=50 conv=fsync 2>/dev/null;"
         "cp %s/f /var/lib/f; sync /var/lib/f" % (at, at))
    n.crash(lose_unsynced=True)
    n.boot()
    wait_for("the volume serves", lambda: serves_anew(n))
    n.mount("v")
    n.run("cmp", at + "/f", "/var/lib/f")


def test_a_disk_is_a_brick(cluster):
    c = cluster(1, disks=2)
    n = c[1]
    n.clusterfs("volume", "create", "d", "replica", 2, "localhost:/dev/disk1",
                "localhost:/dev/disk2")
    n.clusterfs("volume", "start", "d")
    at = n.mount("d")
    some_tree(n, at)
    n.umount(at)
    n.shutdown()
    n.boot()
    wait_for("both are in sync",
             lambda: states(n, "d") == ["in-sync", "in-sync"])
    n.mount("d")
    assert same_tree(n, at)


def test_fstab_mounts_at_boot_and_a_clean_shutdown_loses_no_brick(cluster):
    c = cluster(1)
    n = c[1]
    volume(n)
    n.sh("echo 'localhost:/v /srv/v clusterfs _netdev 0 0' >>/etc/fstab;"
         "mkdir /srv/v; mount /srv/v")
    some_tree(n, "/srv/v")
    n.shutdown()
    up = n.boot()
    assert up["mounts"] == {"/srv/v": 0}
    assert states(n) == ["in-sync"] * 3
    assert same_tree(n, "/srv/v")


def test_mgmtd_restarts_and_mounts_and_bricks_do_not_notice(cluster):
    c = cluster(1)
    n = c[1]
    volume(n)
    at = n.mount("v")
    bricks = sorted(n.pids("clusterfs-brickd"))
    copy = n.popen("cp", "-a", "/usr/include/linux", at + "/tree",
                   stdout=subprocess.DEVNULL)
    n.sh("systemctl restart clusterfs-mgmtd")
    n.signal("clusterfs-mgmtd")
    assert copy.wait(60) == 0
    wait_for("the service is restarted", lambda: n.clusterfs(
        "volume", "status", "v", check=False).returncode == 0)
    assert same_tree(n, at)
    assert sorted(n.pids("clusterfs-brickd")) == bricks
