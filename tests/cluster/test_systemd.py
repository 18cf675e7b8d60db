# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""The units, under a systemd of their own: process 1 of namespaces within a
node, with a cgroup to itself. Elsewhere process 1 is init.py, which reads the
same units but is no systemd.
"""
import json
import os
import subprocess

import pytest

import runtime
from runtime import wait_for
from test_one_node import same_tree, some_tree, states, volume

SYSTEMD = "/lib/systemd/systemd"
GROUP = "clusterfs-test-%d" % os.getpid()

# Nothing of the machine's own services; no cgroup of anybody else.
START = r"""
mount --make-rprivate /
mount -t tmpfs tmpfs /sys/fs/cgroup
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
mkdir /sys/fs/cgroup/systemd/GROUP
echo $$ >/sys/fs/cgroup/systemd/GROUP/cgroup.procs
umount /sys/fs/cgroup/systemd
cd /usr/lib/systemd/system
rm -rf *.target.wants /etc/systemd/system/*.wants
cp PREFIX/lib/systemd/system/clusterfs-*.service /etc/systemd/system
SYSTEMD_OFFLINE=1 /usr/bin/systemctl -q enable clusterfs-mgmtd remote-fs.target
exec unshare --cgroup --pid --fork --kill-child --mount-proc sh -ec '
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    exec env -i container=clusterfs-test PATH="$PATH" SYSTEMD \
        --system --unit=multi-user.target --log-target=null'
"""
GROUPS = r"""
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt && mkdir /mnt/g
mount -t cgroup -o none,name=systemd cgroup /mnt/g
[ ! -d /mnt/g/%s ] || find /mnt/g/%s -depth -type d -exec rmdir {} +
"""


def why_not():
    if not os.access(SYSTEMD, os.X_OK):
        return "needs systemd (package systemd)"
    if runtime.choose() is not runtime.Namespaces:
        return "is for nodes made of namespaces"
    p = subprocess.run(["unshare", "-m", "sh", "-ec", GROUPS % ("-", "-")],
                       stderr=subprocess.PIPE, text=True)
    return p.returncode and "needs cgroups of version 1 for systemd: " + \
        p.stderr.strip()


def systemd_below(pid):
    """The host's number of the process, among the children of @pid."""
    with open("/proc/%d/comm" % pid) as f:
        if f.read() == "systemd\n":
            return pid
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        for child in f.read().split():
            found = systemd_below(int(child))
            if found:
                return found
    return None


class Booted:
    """A node that systemd has booted."""

    def __init__(self, node):
        self.node = node
        text = START.replace("PREFIX", str(runtime.PREFIX))
        text = text.replace("SYSTEMD \\", SYSTEMD + " \\").replace(
            "GROUP", GROUP)
        self.p = node.popen("unshare", "--mount", "sh", "-ec", text)
        self.pid = wait_for("systemd starts", self.find)
        wait_for("systemd has booted", lambda: self.try_systemctl(
            "is-system-running").stdout.strip() in ("running", "degraded"),
            90)

    def find(self):
        assert self.p.poll() is None, "systemd did not start"
        return systemd_below(self.p.pid)

    def argv(self, *argv):
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p",
                "-C", *argv]

    def run(self, *argv, check=True, **kw):
        p = subprocess.run(self.argv(*argv), env=runtime.ENV, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           timeout=120, **kw)
        assert not check or p.returncode == 0, "%s: %s" % (argv, p.stderr)
        return p

    def try_systemctl(self, *argv):
        return self.run("/usr/bin/systemctl", *argv, check=False)

    def systemctl(self, *argv):
        return self.run("/usr/bin/systemctl", *argv).stdout.strip()

    def show(self, unit, name="ActiveState"):
        return self.systemctl("show", "--value", "-p", name, unit)

    def bricks(self):
        """Process ids; one that ended is none, though nobody has reaped it."""
        out = self.run("ps", "-C", "clusterfs-brickd", "-o", "pid=,stat=",
                       check=False).stdout
        return sorted(line.split()[0] for line in out.splitlines()
                      if not line.split()[1].startswith("Z"))

    # What test_one_node asks of a node.
    def json(self, *argv):
        return json.loads(self.run("clusterfs", *argv, "--json").stdout)


@pytest.fixture
def booted(cluster):
    """A node with the volume v, with files in it, and a line in fstab."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    n = cluster(1)[1]
    volume(n)
    n.sh("echo 'localhost:/v /srv/v clusterfs _netdev 0 0' >>/etc/fstab;"
         "mkdir /srv/v; mount /srv/v")
    some_tree(n, "/srv/v")
    n.shutdown()
    n.power_on()
    yield Booted(n)
    n.rt.kill(n)
    wait_for("the cgroup is gone", lambda: subprocess.run(
        ["unshare", "-m", "sh", "-ec", GROUPS % (GROUP, GROUP)],
        stderr=subprocess.DEVNULL).returncode == 0)


def test_units_boot_mount_restart_and_stop(booted):
    b = booted
    known = b.run("systemd-analyze", "--man=no", "verify",
                  "clusterfs-mgmtd.service", "clusterfs-bricks.service")
    assert "clusterfs" not in known.stderr, known.stderr
    assert b.show("clusterfs-mgmtd", "Type") == "notify"
    assert b.show("clusterfs-mgmtd") == "active"
    assert b.show("srv-v.mount") == "active"
    wait_for("all are in sync", lambda: states(b) == ["in-sync"] * 3)
    assert same_tree(b, "/srv/v")

    before = b.bricks()
    assert len(before) == 3
    copy = subprocess.Popen(b.argv("cp", "-a", "/usr/include/linux",
                                   "/srv/v/again"), env=runtime.ENV)
    b.systemctl("restart", "clusterfs-mgmtd")
    b.systemctl("kill", "-s", "KILL", "--kill-who=main", "clusterfs-mgmtd")
    assert copy.wait(60) == 0
    wait_for("it was started again", lambda: b.show(
        "clusterfs-mgmtd", "NRestarts") == "1" and b.show(
            "clusterfs-mgmtd") == "active")
    assert b.bricks() == before
    wait_for("all are in sync", lambda: states(b) == ["in-sync"] * 3)
    b.run("diff", "-r", "/usr/include/linux", "/srv/v/again")

    b.systemctl("stop", "clusterfs-mgmtd")
    assert b.bricks() == before
    assert b.show("srv-v.mount") == "active"
    b.run("ls", "/srv/v/tree")
    b.systemctl("stop", "srv-v.mount")
    b.systemctl("stop", "clusterfs-bricks")
    assert b.bricks() == [], b.run("ps", "axf").stdout
