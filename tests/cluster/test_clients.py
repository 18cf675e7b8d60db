# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""Machines that are no nodes: which may mount what, and what else they may."""
import json
import time

import pool as pool_py
from runtime import wait_for

PEM = "/etc/clusterfs/client.pem"


def pool(cluster, nodes=2):
    """Nodes with a volume v, and a machine without mgmtd behind them."""
    c = cluster(nodes + 1)
    c[nodes + 1].service("stop")
    c[1].clusterfs("cluster", "create")
    for i in range(2, nodes + 1):
        c[i].clusterfs("peer", "join", "--token",
                       c[1].json("peer", "token")["token"], timeout=120)
    c[1].clusterfs("volume", "create", "v", "replica", 2,
                   "n1:/srv/a.img", "n1:/srv/b.img",
                   "--brick-size", "500M", "--sparse", "--force")
    c[1].clusterfs("volume", "start", "v")
    return c


def add(by, to, name="desk", *more, path=PEM):
    by.run("rm", "-f", "/root/%s.pem" % name)
    by.clusterfs("client", "add", name, *more, "-o", "/root/%s.pem" % name)
    text = by.run("cat", "/root/%s.pem" % name).stdout
    to.run("tee", path, text=text)
    to.run("chmod", "600", path)


def mount_refused(n, *argv):
    n.run("mkdir", "-p", "/mnt/x")
    done = n.run("mount", "-t", "clusterfs", *argv, "/mnt/x", check=False)
    assert done.returncode != 0
    return done.stderr


def test_a_client_mounts_with_its_certificate(cluster):
    c = pool(cluster)
    desk = c[3]
    assert "it has no certificate" in mount_refused(desk, "n1:/v")
    add(c[1], desk)
    at = desk.mount("n2:/v")
    desk.sh("echo hello >%s/f" % at)
    assert desk.sh("cat %s/f" % at) == "hello\n"
    clients = c[1].json("client", "list")["clients"]
    assert [(x["name"], x["volumes"]) for x in clients] == [("desk", [])]
    desk.umount(at)


def test_a_client_mounts_only_what_is_for_it(cluster):
    c = pool(cluster, 1)
    desk = c[2]
    c[1].clusterfs("volume", "create", "w", "n1:/srv/w.img", "--brick-size",
                   "500M", "--sparse")
    c[1].clusterfs("volume", "start", "w")
    add(c[1], desk, "desk", "--volume", "w", path="/root/d.pem")
    assert "not for this volume" in mount_refused(
        desk, "-o", "credentials=/root/d.pem", "n1:/v")
    desk.mount("n1:/w", options="credentials=/root/d.pem")
    desk.umount()
    assert "there is no volume" in c[1].refused(
        "client", "add", "x", "--volume", "none", "-o", "/root/x.pem")
    assert c[1].run("test", "-e", "/root/x.pem", check=False).returncode


def test_auth_allow_lets_addresses_in_and_no_others(cluster):
    c = pool(cluster, 1)
    desk = c[2]
    c[1].clusterfs("volume", "set", "v", "auth.allow", "10.99.0.0/16")
    assert "auth.allow" in mount_refused(desk, "n1:/v")
    c[1].clusterfs("volume", "set", "v", "auth.allow",
                   "192.0.2.1,%s/31" % desk.address)
    at = desk.mount("n1:/v")
    desk.sh("echo hello >%s/f" % at)
    assert "neither an address" in c[1].refused("volume", "set", "v",
                                                "auth.allow", "desk")
    # Another list, with it in: it goes on. Without it: it is cut off.
    c[1].clusterfs("volume", "set", "v", "auth.allow", desk.address)
    desk.sh("echo again >%s/f" % at)
    c[1].clusterfs("volume", "set", "v", "auth.allow", "10.99.0.0/16")
    wait_for("its session is closed", lambda: c[1].sh(
        "cat /var/log/clusterfs/bricks/*.log").count("host:%s was removed"
                                                     % desk.address) >= 4)
    desk.run("umount", "-l", at)


def test_a_removed_client_is_out(cluster):
    c = pool(cluster, 1)
    desk = c[2]
    add(c[1], desk)
    at = desk.mount("n1:/v")
    desk.sh("echo hello >%s/f" % at)
    c[1].clusterfs("client", "remove", "desk", "--yes")
    assert c[1].json("client", "list")["clients"] == []
    wait_for("its certificate is refused", lambda: "revoked" in desk.refused(
        "--server", "n1", "volume", "list"))
    desk.run("umount", "-l", at)
    desk.signal("clusterfs-client")
    assert "revoked" in mount_refused(desk, "n1:/v")
    add(c[1], desk)
    wait_for("it is let in again", lambda: desk.clusterfs(
        "--server", "n1", "volume", "list", check=False).returncode == 0)


def secret_number(n):
    """Of the volume's secret, as its first brick has it."""
    path = n.json("volume", "statedump", "v")["bricks"][0]["file"]
    for line in n.sh("cat " + path).splitlines():
        if line.startswith("option.secret-number="):
            return int(line.split("=")[1])
    return 0


def test_many_removed_clients_are_forgotten_and_mounts_go_on(cluster):
    """The volume's secret is renewed for that."""
    c = pool(cluster, 1)
    desk = c[2]
    add(c[1], desk)
    at = desk.mount("n1:/v")
    w = pool_py.Writer(desk, at + "/d")
    assert secret_number(c[1]) == 1
    c[1].sh("""for i in $(seq 100 185); do
        n=$(printf x%.0s {1..44})-$i
        clusterfs client add $n --json >/dev/null
        clusterfs client remove $n --yes
        done""", timeout=100)
    wait_for("the volume's secret is renewed",
             lambda: secret_number(c[1]) == 2)
    w.moves()
    # What is connected stays; what connects anew has the new one.
    c[1].signal("clusterfs-brickd")
    w.moves(30)
    c[1].clusterfs("client", "remove", "desk", "--yes")
    wait_for("who is removed now is out", lambda: "desk was removed" in c[1].sh(
        "cat /var/log/clusterfs/bricks/*.log"))
    desk.signal("python3")
    desk.run("umount", "-l", at)
    c[1].clusterfs("volume", "stop", "v", "--force", "--yes")
    c[1].clusterfs("volume", "start", "v")


def test_a_client_reads_and_changes_nothing(cluster):
    c = pool(cluster, 1)
    desk = c[2]

    def there(*argv):
        return desk.clusterfs("--server", "n1", *argv, check=False)
    assert there("volume", "list").returncode != 0
    add(c[1], desk)
    for verb in (("volume", "list"), ("volume", "info", "v"),
                 ("volume", "status", "v"), ("cluster", "status"),
                 ("peer", "status")):
        assert there(*verb).returncode == 0, there(*verb).stderr
    assert [v["name"] for v in json.loads(
        there("volume", "list", "--json").stdout)] == ["v"]
    for verb in (("volume", "stop", "v", "--yes"), ("peer", "token"),
                 ("client", "add", "x", "-o", "/root/x"),
                 ("volume", "delete", "v", "--yes")):
        done = there(*verb)
        assert done.returncode != 0 and "only root may" in done.stderr, verb
    assert c[1].json("volume", "status", "v")["state"] == "started"


def test_a_client_moves_to_another_mgmtd_and_hears_of_changes(cluster):
    c = pool(cluster, 3)
    desk = c[4]
    add(c[1], desk, path="/root/d.pem")
    # The file names servers; without those the volfile does.
    desk.run("sed", "-i", "/^# server/d", "/root/d.pem")
    at = desk.mount("n3:/v", options="credentials=/root/d.pem")
    c[3].service("stop")
    c[3].signal("clusterfs-mgmtd")
    log = "cat /var/log/clusterfs/client-*.log"
    wait_for("it asks another", lambda: "connected to mgmtd at 10.47.0.11" in
             desk.sh(log) or "connected to mgmtd at 10.47.0.12" in
             desk.sh(log), 30)
    # A brick dies: the new view arrives, and writing goes on.
    c[1].signal("clusterfs-brickd")
    desk.sh("echo after >%s/f" % at, timeout=40)
    assert desk.sh("cat %s/f" % at) == "after\n"
    desk.umount(at)


def served_by(n):
    """The end of the certificate in the file, and its serial number."""
    return n.sh("openssl x509 -in %s -noout -serial -enddate" % PEM)


def test_a_client_renews_its_certificate(cluster):
    """With a life of 16 s. A file that is read-only is left as it is."""
    c = pool(cluster, 1)
    desk = c[2]
    c[1].service("stop")
    c[1].sh("sed -i 's/^CLUSTERFS_MGMTD_OPTIONS=.*/"
            "CLUSTERFS_MGMTD_OPTIONS=\"--certificate-life 16s\"/' "
            "/etc/default/clusterfs")
    c[1].service("start")
    add(c[1], desk)
    desk.run("cp", "-p", PEM, "/root/fixed.pem")
    desk.run("chmod", "400", "/root/fixed.pem")
    first, end = served_by(desk), time.time() + 18
    desk.mount("n1:/v")
    c[1].clusterfs("volume", "create", "w", "n1:/srv/w.img", "--brick-size",
                   "500M", "--sparse")
    c[1].clusterfs("volume", "start", "w")
    desk.mount("n1:/w", "/mnt/w", "credentials=/root/fixed.pem")

    def renewed():  # a client asks with each new volfile
        for volume in "vw":
            pool_py.can_change(c[1], volume)
        return served_by(desk) != first
    wait_for("it has another certificate", renewed, 30, 0.5)
    assert desk.sh("stat -c %%a %s" % PEM) == "600\n"
    assert desk.sh("ls -A /etc/clusterfs /root | grep -c pem") == "2\n"
    wait_for("the other one says why it is not kept", lambda: "cannot be kept"
             in desk.sh("cat /var/log/clusterfs/client-mnt-w.log"))

    def over():  # and what they have by now is not
        for volume in "vw":
            pool_py.can_change(c[1], volume)
        return time.time() > end
    wait_for("the first certificate is over", over, 40, 0.5)
    assert "refuse" in mount_refused(
        desk, "-o", "credentials=/root/fixed.pem", "n1:/v")
    # Both are connected, by certificates that are newer than their files'.
    c[1].service("stop")
    c[1].service("start")
    desk.clusterfs("--server", "n1", "volume", "list")
    c[1].clusterfs("volume", "set", "v", "network.wait", "17s")
    for log in ("client-mnt-v.log", "client-mnt-w.log"):
        said = desk.sh("cat /var/log/clusterfs/" + log)
        assert "its certificate" not in said and "refuses our" not in said
    desk.umount("/mnt/w")
    desk.umount()
    # All that were given out are revoked.
    c[1].clusterfs("client", "remove", "desk", "--yes")
    assert "revoked" in desk.refused("--server", "n1", "volume", "list")


def test_a_client_knows_who_was_detached(cluster):
    c = pool(cluster, 3)
    desk = c[4]
    add(c[1], desk)
    desk.mount("n1:/v")
    for n in (c[1], c[2]):  # it does not hear of it, and serves on
        c[3].cut(n)
    assert desk.clusterfs("--server", "n3", "volume", "list").returncode == 0
    c[1].clusterfs("peer", "detach", "n3", "--yes", timeout=60)
    wait_for("the client has the list", lambda: "not believed was renewed" in
             desk.sh("cat /var/log/clusterfs/client-mnt-v.log"))
    assert "revoked" in desk.refused("--server", "n3", "volume", "list")
    add(c[1], desk, "lamp", path="/root/lamp.pem")
    assert "revoked" in desk.refused("--credentials", "/root/lamp.pem",
                                     "--server", "n3", "volume", "list")
