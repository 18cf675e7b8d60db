# SPDX-License-Identifier: Apache-2.0
"""A cluster of nodes on this machine, and all that can happen to a node.

    with Cluster(3) as c:
        c[1].clusterfs("volume", "list")
        c[2].cut(c[1])
        c[3].crash(); c[3].boot()

Nodes are named n1, n2, ... and know each other by these names. Each has disks
(/dev/disk1, ...: loop devices), a file system of its own over that of the host,
and the installed programs. What a fault does, in one line each, is at its
function. All faults but hangs outlive a crash of the node.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import init
import runtime
from runtime import wait_for

HERE = runtime.HERE
PARENT = "/var/tmp"  # on a disk; sockets' paths are short there
PREFIX = "cfsc."


def work_dir():
    return os.environ.get("CLUSTERFS_TEST_WORK", PARENT)


def own(folder):
    """It is taken away by sweep() when this process is no more."""
    (folder / "owner").write_text("%d %s\n" % (
        os.getpid(), runtime.start_time(os.getpid())))


class CommandError(Exception):
    """A command that should have succeeded did not."""

    def __init__(self, node, done):
        super().__init__("%s: %s: exit %d\n%s%s" % (
            node.name, done.args, done.returncode,
            done.stdout, done.stderr))
        self.done = done


class Cluster:
    """Nodes, and the network between them."""

    def __init__(self, nodes=1, disks=1, disk_size="1500M", state_size="2G",
                 boot=True, enable=True, saved=None, ipv6=False):
        """@saved: a folder that save() filled: of the first nodes, with as many
        disks. @ipv6: no IPv4 addresses but loopback's."""
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX,
                                                 dir=work_dir()))
        own(self.dir)
        self.sizes = disks, disk_size, state_size
        self.ipv6 = ipv6
        self.nodes = []
        self.runtime = None
        try:
            self.runtime = runtime.choose()(self.dir.name.replace(".", "-"))
            for i in range(nodes):
                self.nodes.append(Node(self, i + 1))
            for node in self.nodes:
                node.make(saved and saved / node.name)
            if boot:
                self.boot(enable)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __getitem__(self, number):
        """Counted from 1, as they are named."""
        return self.nodes[number - 1]

    def __iter__(self):
        return iter(self.nodes)

    def __len__(self):
        return len(self.nodes)

    def hosts(self):
        return {n.name: n.address for n in self.nodes}

    def boot(self, enable=True):
        """All nodes, with mgmtd as an enabled service (or not)."""
        for node in self.nodes:
            node.power_on()
        for node in self.nodes:
            if enable:
                node.order("enable", unit="clusterfs-mgmtd")
            node.order("boot")

    def save(self, folder):
        """Turn all off, and keep their disks: others begin from there."""
        for node in self.nodes:
            node.shutdown()
            (folder / node.name).mkdir(parents=True)
            for image in node.dir.glob("*.img"):
                copy_image(image, folder / node.name / image.name)

    def logs(self):
        return "\n".join(n.logs() for n in self.nodes)

    def close(self):
        for node in self.nodes:
            with contextlib.suppress(Exception):
                if node.pid:
                    self.runtime.kill(node)
        if self.runtime:
            self.runtime.close()
        for path in self.dir.glob("n*/sanitizers.*"):  # for tests/run.py
            shutil.copy(path, pathlib.Path(work_dir(), "%s.%s" % (
                path.name, path.parent.name)))
        remove_folder(self.dir)


class Inside(subprocess.Popen):
    """A command in a node. What is killed is the command; nsenter, its parent,
    then ends by itself."""

    def kill(self):
        with contextlib.suppress(OSError):
            path = "/proc/%d/task/%d/children" % (self.pid, self.pid)
            with open(path) as f:
                for pid in f.read().split():
                    os.kill(int(pid), signal.SIGKILL)
                    return
        super().kill()


class Node:
    """One machine. Paths are the node's own unless host() made them."""

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.rt = cluster.runtime
        self.number = number
        self.name = "n%d" % number
        self.address = "fd47::%d" % (10 + number) if cluster.ipv6 else (
            "%s.%d" % (getattr(self.rt, "subnet", "10.47.0"), 10 + number))
        self.dir = cluster.dir / self.name
        self.pid = None  # of process 1, on the host
        self.faults = {}  # (direction, address or None) -> share of packets
        self.rate = None
        self.inside = []  # commands that run in it

    # -- making ------------------------------------------------------------

    def make(self, saved=None):
        disks, disk_size, _ = self.cluster.sizes
        self.dir.mkdir()
        (self.dir / "log").mkdir()
        saved = saved if saved and saved.exists() else None
        for image in saved.glob("*.img") if saved else ():
            copy_image(image, self.dir / image.name)
        if not saved:
            for i in range(disks):
                truncate(self.dir / ("disk%d.img" % (i + 1)), disk_size)
            self.wipe()
        engine = self.rt.name != "namespaces"
        (self.dir / "node.json").write_text(json.dumps({
            "name": self.name, "address": self.address, "disks": disks,
            "hosts": self.cluster.hosts(), "engine": engine,
            "prefix": self.rt.prefix if engine else str(runtime.PREFIX),
            "env": runtime.SANITIZERS}))
        shutil.copy(HERE / "init.py", self.dir / "init.py")

    def wipe(self):
        """A new machine under the old name: nothing of what it had written is
        there any more but its disks. It must be off."""
        image = self.dir / "state.img"
        image.unlink(missing_ok=True)
        truncate(image, self.cluster.sizes[2])
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-O",
                        "^metadata_csum_seed", str(image)], check=True,
                       env=runtime.process_env())

    def wipe_disk(self, number=1):
        image = self.dir / ("disk%d.img" % number)
        image.unlink()
        truncate(image, self.cluster.sizes[1])

    def forget_control(self):
        for name in ("control", "pid"):
            (self.dir / name).unlink(missing_ok=True)

    # -- power -------------------------------------------------------------

    def power_on(self):
        """The machine runs, its services do not yet."""
        assert self.pid is None, "%s is on" % self.name
        self.rt.start(self)
        self.apply_faults()
        return self

    def boot(self):
        """-> how the services and the mounts of fstab came up"""
        return self.power_on().order("boot")

    def shutdown(self):
        """As systemd does: mounts, mgmtd, bricks; then off."""
        self.order("shutdown")
        self.rt.kill(self)

    def crash(self, lose_unsynced=False):
        """The power fails: the link is dead, then everything on the node, at
        once. With lose_unsynced the node's disks are as they were for the
        kernel's loop devices in that instant: what was flushed is there, and
        of the rest only what the kernel happened to have written."""
        self.rt.unplug(self)
        if not lose_unsynced:
            self.rt.kill(self)
            return
        self.hang()
        images = sorted(self.dir.glob("*.img"))
        for image in images:
            # The loop device's own cache, where unflushed writes are, is
            # not what is copied here.
            copy_image(image, str(image) + ".cut")
        self.rt.kill(self)
        for image in images:
            os.rename(str(image) + ".cut", image)

    def hang(self):
        """Every process is stopped; the kernel still answers for its
        sockets."""
        stopped = set()
        while True:
            pids = set(self.rt.pids(self))
            if pids <= stopped:
                return
            for pid in pids - stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            stopped |= pids

    def resume(self):
        for pid in self.rt.pids(self):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self.wake_inside()

    def wake_inside(self):
        """nsenter stops itself when its child is stopped, and would not see
        it end."""
        for p in self.inside:
            with contextlib.suppress(ProcessLookupError):
                p.send_signal(signal.SIGCONT)

    # -- network -----------------------------------------------------------

    def move(self, last):
        """Another address, 10.47.0.LAST; names are not looked up anew."""
        new = self.address.rsplit(".", 1)[0] + ".%d" % last
        self.rt.net(self, "ip", "addr", "add", new + "/24", "dev", "eth0")
        self.rt.net(self, "ip", "addr", "del", self.address + "/24", "dev",
                    "eth0")
        self.rt.net(self, "ip", "addr", "replace", new + "/24", "dev", "eth0")
        self.address = new

    def cut(self, peer=None, direction="both"):
        """Nothing passes between this node and the peer (None: anybody).
        direction, seen from here: "in", "out", "both"."""
        self.lose(1.0, peer, direction)

    def lose(self, share, peer=None, direction="both"):
        """That share of all packets is lost, at random."""
        for d in ("in", "out") if direction == "both" else (direction,):
            key = d, peer.address if peer else None
            if share:
                self.faults[key] = share
            else:
                self.faults.pop(key, None)
        self.apply_faults()

    def slow(self, rate="1mbit"):
        """What the node sends passes at that rate only."""
        self.rate = rate
        self.apply_faults()

    def mend(self):
        """The network is well again."""
        self.faults.clear()
        if self.rate:
            self.rt.net(self, "tc", "qdisc", "del", "dev", "eth0", "root")
            self.rate = None
        self.apply_faults()

    def apply_faults(self):
        if not self.pid:
            return
        lines = ["table netdev fault", "delete table netdev fault"]
        if self.faults:
            lines.append("table netdev fault {")
            for d, hook in (("in", "ingress"), ("out", "egress")):
                lines += ["chain %s {" % hook, "type filter hook %s device"
                          " \"eth0\" priority 0; policy accept;" % hook]
                lines += [rule(d, address, share) for (way, address), share
                          in self.faults.items() if way == d]
                lines.append("}")
            lines.append("}")
        self.rt.net(self, "nft", "-f", "-", text="\n".join(lines) + "\n")
        if self.rate:
            self.rt.net(self, "tc", "qdisc", "replace", "dev", "eth0", "root",
                        "tbf", "rate", self.rate, "burst", "16kb",
                        "latency", "200ms")

    # -- commands ----------------------------------------------------------

    def order(self, what, **more):
        """Ask process 1."""
        answer = init.ask(str(self.dir / "control"), dict(more, do=what))
        if "error" in answer:
            raise AssertionError("%s: %s: %s" % (self.name, what,
                                                 answer["error"]))
        return answer

    def popen(self, *argv, **kw):
        full, env = self.rt.argv(self, [str(a) for a in argv])
        kw.setdefault("stdin", subprocess.DEVNULL)
        self.inside = [p for p in self.inside if p.poll() is None]
        self.inside.append(Inside(full, env=env, text=True, **kw))
        return self.inside[-1]

    def run(self, *argv, check=True, timeout=60, text=None):
        p = self.popen(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       stdin=subprocess.DEVNULL if text is None
                       else subprocess.PIPE)
        try:
            out, err = p.communicate(text, timeout * runtime.PATIENCE)
        except BaseException:
            p.kill()
            p.communicate()
            raise
        done = subprocess.CompletedProcess(full_name(argv), p.returncode, out,
                                           err)
        if check and done.returncode != 0:
            raise CommandError(self, done)
        return done

    def sh(self, script, **kw):
        """-> what it prints"""
        return self.run("bash", "-ec", script, **kw).stdout

    def clusterfs(self, *argv, **kw):
        return self.run("clusterfs", *argv, **kw)

    def json(self, *argv, **kw):
        return json.loads(self.clusterfs(*argv, "--json", **kw).stdout)

    def refused(self, *argv, **kw):
        """The message of a command that must fail."""
        done = self.clusterfs(*argv, check=False, **kw)
        assert done.returncode != 0, "succeeded: %s" % (argv,)
        assert done.stderr.strip(), "failed without a reason: %s" % (argv,)
        return done.stderr

    def service(self, verb, unit="clusterfs-mgmtd"):
        return self.order(verb, unit=unit)

    def mount(self, volume, at="/mnt/v", options=None):
        self.run("mkdir", "-p", at)
        self.run("mount", "-t", "clusterfs", volume, at,
                 *(("-o", options) if options else ()))
        return at

    def umount(self, at="/mnt/v"):
        self.run("umount", at)

    # -- processes ---------------------------------------------------------

    def pids(self, program):
        """The host's numbers of the node's processes of that program."""
        out = []
        for pid in self.rt.pids(self):
            with contextlib.suppress(OSError):
                with open("/proc/%d/cmdline" % pid, "rb") as f:
                    name = f.read().split(b"\0")[0].decode(errors="replace")
                if os.path.basename(name) == program and not is_dead(pid):
                    out.append(pid)
        return out

    def signal(self, program, number=signal.SIGKILL):
        """-> how many there were; those killed are gone on return."""
        pids = self.pids(program)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if number == signal.SIGKILL:
            for pid in pids:
                wait_for("%s (%d) is gone" % (program, pid),
                         lambda: is_dead(pid))
        return len(pids)

    # -- files -------------------------------------------------------------

    def host(self, path):
        """Where the host finds a path of the node, which must be on."""
        return pathlib.Path("/proc/%d/root" % self.pid,
                            str(path).lstrip("/"))

    def fill_disk(self, leave_kib=0):
        """Nothing more can be written but to the disks of bricks."""
        self.sh("f=/var/lib/clusterfs.filler\n"
                "fallocate -l $(($(df --output=avail -B1 /var/lib | tail -1)"
                " - %d * 1024)) $f || :\n"
                "[ %d != 0 ] || cat /dev/zero >>$f 2>/dev/null || :"
                % (leave_kib, leave_kib))

    def slow_disk(self, size="1G"):
        """-> path of a disk that hangs while the processes "slowdisk" of the
        node are stopped (slowdisk.py); it lives until the node is off."""
        shutil.copy(HERE / "slowdisk.py", self.dir / "slowdisk.py")
        self.sh("mkdir -p /var/slow; truncate -s %s /var/slow/image" % size)
        p = self.popen("bash", "-c", "exec -a slowdisk /usr/bin/python3 -B "
                       "/node/slowdisk.py /var/slow/image /run/slow",
                       stdout=subprocess.PIPE)
        path = p.stdout.readline().strip()
        assert path, "%s: no slow disk" % self.name
        return path

    def free_disk(self):
        self.run("rm", "-f", "/var/lib/clusterfs.filler")

    def logs(self, lines=40):
        """The end of each log, for a scenario that failed."""
        out = ["=== %s (%s)" % (self.name, "on" if self.pid else "off")]
        files = sorted(p for p in (*self.dir.glob("*.log"),
                                   *self.dir.glob("*.out"),
                                   *(self.dir / "log").rglob("*"))
                       if p.is_file())
        for path in files:
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            if tail:
                out += ["--- %s %s" % (self.name, path.name), *tail]
        return "\n".join(out)


    def client_dump(self):
        """What its mounts say of themselves, for a scenario that failed."""
        if not self.pid:
            return ""
        self.sh("rm -f /run/clusterfs/dump.clusterfs-client.*", timeout=5)
        if not self.signal("clusterfs-client", signal.SIGUSR1):
            return ""
        with contextlib.suppress(AssertionError):
            wait_for("a dump", lambda: "[xlator" in self.sh(
                "cat /run/clusterfs/dump.clusterfs-client.* || :",
                timeout=5), 3)
        return "--- %s statedump\n" % self.name + self.sh(
            "cat /run/clusterfs/dump.clusterfs-client.* || :")


def rule(direction, address, share):
    """Of ARP and its like too: a cut link does not answer who has an
    address."""
    end = "drop" if share >= 1 else (
        "numgen random mod 1000 < %d drop" % int(share * 1000))
    if address is None:
        return end
    side = "s" if direction == "in" else "d"
    if ":" in address:
        return "ip6 %saddr %s %s" % (side, address, end)
    return "ip %saddr %s %s\narp %saddr ip %s %s" % (side, address, end,
                                                      side, address, end)


def is_dead(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def full_name(argv):
    return " ".join(map(str, argv))


def copy_image(path, to):
    subprocess.run(["cp", "--sparse=always", str(path), str(to)], check=True)


def truncate(path, size):
    subprocess.run(["truncate", "-s", size, str(path)], check=True)


# ------------------------------------------------------- what others left

def remove_folder(folder):
    """Of a cluster whose processes are to be no more."""
    mark = str(folder).encode() + b"/"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                args = f.read()
            if mark in args and b"init.py" in args:
                os.kill(int(pid), signal.SIGKILL)
    end = time.monotonic() + 30
    while runtime.loops_of(folder) and time.monotonic() < end:
        time.sleep(0.05)
    for loop in runtime.loops_of(folder):
        subprocess.run(["losetup", "-d", loop], env=runtime.process_env())
    shutil.rmtree(folder, ignore_errors=True)


def sweep():
    """Take away what runs that were killed have left: their processes ended
    with them, their images did not."""
    for parent in {PARENT, os.environ.get("TMPDIR", PARENT)}:
        top = pathlib.Path(parent)
        for owner in (*top.glob(PREFIX + "*/owner"),
                      *top.glob("cfst.*/*/%s*/owner" % PREFIX)):
            with contextlib.suppress(OSError, ValueError):
                pid, started = owner.read_text().split()
                try:
                    alive = runtime.start_time(int(pid)) == started
                except OSError:
                    alive = False
                if not alive:
                    remove_folder(owner.parent)
