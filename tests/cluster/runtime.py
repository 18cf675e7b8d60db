# SPDX-License-Identifier: Apache-2.0
"""Where nodes live: in namespaces that we make ourselves (the default), or in
containers of docker or podman (CLUSTERFS_TEST_RUNTIME). A runtime knows how to
start and to end a node's process 1 (init.py), and how to get a command to run
in a node; everything else is the same for all of them.
"""
import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
PREFIX = pathlib.Path(os.environ.get("CLUSTERFS_PREFIX", "/usr"))
PATIENCE = int(os.environ.get("CLUSTERFS_TEST_PATIENCE", 1))  # tests/run.py
# What a sanitized build finds, where Cluster.close() looks for it.
SANITIZERS = {v: os.environ.get(v, "") + ":log_path=/node/sanitizers"
              for v in ("ASAN_OPTIONS", "UBSAN_OPTIONS")}
ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
       "LC_ALL": "C.UTF-8", "HOME": "/root", "TERM": os.environ.get(
           "TERM", "dumb"), **SANITIZERS}
TOOLS = {"nsenter": "util-linux", "losetup": "util-linux", "ip": "iproute2",
         "tc": "iproute2", "nft": "nftables", "mkfs.ext4": "e2fsprogs"}


class Missing(Exception):
    """Nodes cannot be made here; the text says why."""


def wait_for(what, condition, seconds=20.0, every=0.02):
    """Poll until condition() is true; its value is returned. @what may be a
    function: it is asked when time is up."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %g s: %s" % (
                seconds, what() if callable(what) else what))
        time.sleep(every)


def process_env():
    """The environment of what runs on the host, findable by tests/run.py."""
    return {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}


def start_time(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rsplit(")", 1)[1].split()[19]


def loops_of(folder):
    """Loop devices whose image is in the folder."""
    out = []
    for entry in os.listdir("/sys/block"):
        with contextlib.suppress(OSError):
            path = pathlib.Path("/sys/block", entry, "loop/backing_file")
            if path.read_text().startswith(str(folder) + "/"):
                out.append("/dev/" + entry)
    return out


class Namespaces:
    """A switch is a network namespace with a bridge, a node is namespaces of
    its own with an end of a veth pair. Each is held by one process that ends
    when the test ends."""

    name = "namespaces"

    def __init__(self, tag):
        self.tag = tag
        self.switch = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link add br0 type bridge && "
             "ip link set br0 up && echo up && exec cat", "switch-" + tag],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=process_env())
        if self.switch.stdout.readline() != b"up\n":
            raise Missing("no bridge can be made here")

    @staticmethod
    def why_not():
        if os.geteuid() != 0:
            return "needs root"
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            return "needs /dev/fuse"
        if not os.access("/dev/loop-control", os.R_OK | os.W_OK):
            return "needs loop devices"
        path = process_env()["PATH"]
        for tool, package in TOOLS.items():
            if not shutil.which(tool, path=path):
                return "needs %s (package %s)" % (tool, package)
        with open("/proc/filesystems") as f:
            if "\toverlay\n" not in f.read():
                return "needs overlayfs (modprobe overlay)"
        p = subprocess.run(["unshare", "--net", "--mount", "--pid", "--uts",
                            "--ipc", "--fork", "true"], env=process_env(),
                           stderr=subprocess.PIPE, text=True)
        if p.returncode != 0:
            return "needs namespaces: " + p.stderr.strip()
        return None

    def start(self, node):
        """Returns when process 1 takes orders and the link is there."""
        node.forget_control()
        log = open(node.dir / "init.out", "ab")
        with log:
            node.maker = subprocess.Popen(
                [sys.executable, "-B", str(HERE / "init.py"), str(node.dir)],
                stdin=subprocess.PIPE, stdout=log, stderr=log,
                env=process_env(), start_new_session=True)

        def ready():
            if node.maker.poll() is not None:
                raise AssertionError("%s did not start:\n%s" % (
                    node.name, (node.dir / "init.out").read_text()))
            return all((node.dir / name).exists()
                       for name in ("control", "pid"))
        # It mounts what was only just made: that waits for the host's disk, for
        # as long as that is busy with what others have written.
        wait_for(lambda: "%s starts: %s" % (
            node.name, (node.dir / "init.out").read_text()), ready, 60)
        node.pid = int((node.dir / "pid").read_text())
        self.link(node)

    def link(self, node):
        port = "v%d" % node.number
        # The network of a node that was killed takes its time to go.
        self.in_switch("ip", "link", "del", port, check=False)
        self.in_switch("ip", "link", "add", port, "type", "veth", "peer",
                       "name", "eth0", "address",
                       "02:00:00:00:00:%02x" % node.number,
                       "netns", str(node.pid))
        self.in_switch("ip", "link", "set", port, "master", "br0", "up")
        batch = ("link set lo up\naddr add %s dev eth0\n"
                 "link set eth0 up\n" % (
                     node.address + "/64 nodad" if node.cluster.ipv6
                     else node.address + "/24"))
        self.net(node, "ip", "-batch", "-", text=batch)

    def in_switch(self, *argv, check=True):
        subprocess.run(["nsenter", "--net=/proc/%d/ns/net" % self.switch.pid,
                        *argv], check=check, env=process_env(),
                       stderr=None if check else subprocess.DEVNULL)

    def net(self, node, *argv, text=None):
        """A command of the host, on the node's network."""
        subprocess.run(["nsenter", "--net=/proc/%d/ns/net" % node.pid, *argv],
                       check=True, input=text, text=True, env=process_env())

    def unplug(self, node):
        """As when the power goes: no goodbye is heard by the others."""
        self.in_switch("ip", "link", "set", "v%d" % node.number, "down")

    def argv(self, node, argv, tty=False):
        return ["nsenter", "-t", str(node.pid), "-m", "-u", "-i", "-n", "-p",
                *argv], ENV

    def pids(self, node):
        """Host's numbers of all the node's processes but the first."""
        ns = os.readlink("/proc/%d/ns/pid" % node.pid)
        out = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if (os.readlink("/proc/%s/ns/pid" % entry) == ns
                        and int(entry) != node.pid):
                    out.append(int(entry))
        return out

    def kill(self, node):
        with contextlib.suppress(ProcessLookupError):
            os.kill(node.pid, signal.SIGKILL)
        node.wake_inside()
        node.maker.wait(60)
        node.maker.stdin.close()
        node.pid = None
        wait_for("loop devices of %s are let go" % node.name,
                 lambda: not loops_of(node.dir), 30)

    def close(self):
        self.switch.stdin.close()
        self.switch.wait(10)
        self.switch.stdout.close()


class Engine:
    """docker or podman: the image of extras/Containerfile with the installation
    of this test in it, one privileged container a node, a network a cluster.
    With CLUSTERFS_TEST_IMAGE=host no image is made (where no registry can be
    reached): podman lays an overlay over this machine's own root."""

    def __init__(self, tag):
        self.engine = os.environ["CLUSTERFS_TEST_RUNTIME"]
        self.name = self.engine
        self.tag = tag
        self.image = ["clusterfs-test"]
        self.prefix = "/usr"
        # The user's number decides on a subnet that other runs do not have.
        self.subnet = "10.%d.%d" % (64 + os.getpid() // 250 % 60,
                                    os.getpid() % 250)
        if self.over_host():
            self.image = ["--rootfs", "/:O"]
            self.prefix = str(PREFIX)
        else:
            self.call("build", "-q", "-t", self.image[0], "-f",
                      str(TOP / "extras/Containerfile"), str(TOP))
        self.call("network", "create", "--subnet", self.subnet + ".0/24",
                  self.tag)

    @staticmethod
    def over_host():
        return os.environ.get("CLUSTERFS_TEST_IMAGE") == "host"

    @staticmethod
    def why_not():
        engine = os.environ["CLUSTERFS_TEST_RUNTIME"]
        if engine not in ("docker", "podman"):
            return "CLUSTERFS_TEST_RUNTIME is docker, podman, or not set"
        if not shutil.which(engine):
            return "needs %s" % engine
        if engine != "podman" and Engine.over_host():
            return "CLUSTERFS_TEST_IMAGE=host needs podman"
        p = subprocess.run([engine, "info"], stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True)
        if p.returncode != 0:
            return "%s: %s" % (engine, p.stderr.strip().split("\n")[-1])
        return None

    def call(self, *argv, check=True, text=None):
        p = subprocess.run([self.engine, *argv], input=text, text=True,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if check and p.returncode != 0:
            raise AssertionError("%s %s: %s" % (
                self.engine, " ".join(argv), p.stderr))
        return p.stdout.strip()

    def container(self, node):
        return "%s-%s" % (self.tag, node.name)

    def start(self, node):
        node.forget_control()
        name = self.container(node)
        if not self.call("ps", "-aq", "-f", "name=^%s$" % name):
            hosts = ["--add-host=%s:%s" % (n, a)
                     for n, a in node.cluster.hosts().items()]
            self.call("create", "--privileged", "--name", name, "--hostname",
                      node.name, "--network", self.tag, "--ip", node.address,
                      *hosts, "-v", "%s:/node" % node.dir, "--tmpfs",
                      "/run:notmpcopyup" if self.over_host() else "/run",
                      *self.image, "/usr/bin/python3", "/node/init.py",
                      "--engine", "/node")
        self.call("start", name)
        wait_for("%s starts" % node.name,
                 lambda: (node.dir / "control").exists())
        node.pid = int(self.call("inspect", "-f", "{{.State.Pid}}", name))

    def net(self, node, *argv, text=None):
        self.call("exec", "-i", self.container(node), *argv, text=text)

    def unplug(self, node):
        self.net(node, "ip", "link", "set", "eth0", "down")

    def argv(self, node, argv, tty=False):
        env = [w for k, v in ENV.items() for w in ("-e", "%s=%s" % (k, v))]
        return [self.engine, "exec", "-it" if tty else "-i", *env,
                self.container(node), *argv], None

    pids = Namespaces.pids

    def kill(self, node):
        self.call("kill", "-s", "KILL", self.container(node), check=False)
        node.pid = None
        wait_for("loop devices of %s are let go" % node.name,
                 lambda: not loops_of(node.dir), 30)

    def close(self):
        for cid in self.call("ps", "-aq", "-f", "name=^%s-" % self.tag
                             ).split():
            self.call("rm", "-f", cid, check=False)
        self.call("network", "rm", self.tag, check=False)


def choose():
    return (Engine if os.environ.get("CLUSTERFS_TEST_RUNTIME")
            not in (None, "", "namespaces") else Namespaces)


def why_not():
    reason = choose().why_not()
    if not reason and not any((PREFIX / d / "clusterfs").exists()
                              for d in ("bin", "sbin")):
        reason = "no installation under %s" % PREFIX
    return reason
