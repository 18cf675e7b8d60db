#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Process 1 of a node: makes the node's world, starts what systemd would start
on a real machine, reaps, and ends when whoever made the node has ended.

    init.py DIR             in new namespaces, its root an overlay of /
    init.py --engine DIR    in a container that an engine has made
    init.py --systemctl ... what `systemctl` in a node calls

DIR is the node's directory on the host (in the node: /node):

    node.json   name, address, hosts, prefix, disks; see node.py
    state.img   ext4: all that the node writes outside of its disks
    disk1.img   /dev/disk1, ...
    log/        /var/log/clusterfs, readable also when the node is dead
    pid         process 1 of the node, as the host numbers it
    control     a socket: one JSON object a line in, one out

The end of stdin ends the node (kill -9 of a test included); with process 1 go
the namespaces, and with them all processes, mounts, loop devices and links.
"""
import contextlib
import ctypes
import fcntl
import glob
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
LOOP_CONFIGURE, LOOP_CTL_GET_FREE, LO_FLAGS_AUTOCLEAR = 0x4C0A, 0x4C82, 4

UNITS = ("clusterfs-bricks", "clusterfs-mgmtd")
START_TIMEOUT = 300  # s; as the unit says
MOUNT_TIMEOUT = 90  # s; systemd's own for mounts

libc = ctypes.CDLL(None, use_errno=True)


def checked(result, what):
    if result != 0:
        e = ctypes.get_errno()
        raise OSError(e, "%s: %s" % (what, os.strerror(e)))


def mount(source, target, fstype=None, flags=0, data=None):
    enc = [None if s is None else str(s).encode()
           for s in (source, target, fstype, data)]
    checked(libc.mount(enc[0], enc[1], enc[2], ctypes.c_ulong(flags), enc[3]),
            "mount %s at %s" % (source, target))


def attach_loop(image):
    """-> (number of the loop device, fd that keeps it). It is detached when
    nobody has it open any more."""
    with open(image, "rb+") as back:
        for _ in range(100):
            ctl = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
            try:
                number = fcntl.ioctl(ctl, LOOP_CTL_GET_FREE)
            finally:
                os.close(ctl)
            path = "/dev/loop%d" % number
            with contextlib.suppress(FileExistsError):
                os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(7, number))
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            name = os.fsencode(str(image))[-63:]
            info = struct.pack("<5Q4I64s64s32s2Q", 0, 0, 0, 0, 0, 0, 0, 0,
                               LO_FLAGS_AUTOCLEAR, name, b"", b"", 0, 0)
            config = struct.pack("<II", back.fileno(), 0) + info + bytes(64)
            try:
                fcntl.ioctl(fd, LOOP_CONFIGURE, config)
                return number, fd
            except OSError:  # somebody else was faster
                os.close(fd)
                time.sleep(0.01)
    raise OSError("no free loop device for %s" % image)


# -------------------------------------------------------------- the root

class Root:
    """What a node sees."""

    DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7),
               ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
               ("fuse", 10, 229))

    def __init__(self, folder, conf):
        self.dir = pathlib.Path(folder)
        self.conf = conf
        self.keep = []  # fds of loop devices

    def attach(self, image):
        number, fd = attach_loop(self.dir / image)
        self.keep.append(fd)
        return number

    def overlay(self):
        """A copy of / that the node may change, and go there."""
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        state, root = self.dir / "state", self.dir / "root"
        state.mkdir(exist_ok=True)
        root.mkdir(exist_ok=True)
        disks = [self.attach("disk%d.img" % (i + 1))
                 for i in range(self.conf["disks"])]
        mount("/dev/loop%d" % self.attach("state.img"), state, "ext4")
        for sub in ("upper", "work"):
            (state / sub).mkdir(exist_ok=True)
        mount("overlay", root, "overlay", 0,
              "lowerdir=/,upperdir=%s/upper,workdir=%s/work" % (state, state))
        self.kernel_mounts(root)
        for i, number in enumerate(disks):
            os.mknod(root / "dev" / ("disk%d" % (i + 1)), stat.S_IFBLK | 0o660,
                     os.makedev(7, number))
        (root / "node").mkdir(exist_ok=True)
        mount(self.dir, root / "node", None, MS_BIND)
        prefix = pathlib.Path(self.conf["prefix"])
        at = root / prefix.relative_to("/")
        at.mkdir(parents=True, exist_ok=True)
        mount(prefix, at, None, MS_BIND)
        mount(None, at, None, MS_BIND | MS_REMOUNT | MS_RDONLY)
        old = root / "old"
        old.mkdir(exist_ok=True)
        subprocess.run(["pivot_root", root, old], check=True)
        os.chdir("/")
        checked(libc.umount2(b"/old", MNT_DETACH), "umount /old")

    def kernel_mounts(self, root):
        mount("proc", root / "proc", "proc")
        mount("sysfs", root / "sys", "sysfs", MS_RDONLY)
        mount("tmpfs", root / "dev", "tmpfs", 0, "mode=0755")
        for sub in ("pts", "shm"):
            (root / "dev" / sub).mkdir()
        mount("devpts", root / "dev/pts", "devpts", 0,
              "newinstance,ptmxmode=0666")
        for name, major, minor in self.DEVICES:
            os.mknod(root / "dev" / name, stat.S_IFCHR | 0o666,
                     os.makedev(major, minor))
            os.chmod(root / "dev" / name, 0o666)
        for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"),
                             ("stdin", "/proc/self/fd/0"),
                             ("stdout", "/proc/self/fd/1"),
                             ("stderr", "/proc/self/fd/2")):
            os.symlink(target, root / "dev" / name)
        for sub in ("dev/shm", "run", "tmp"):
            mount("tmpfs", root / sub, "tmpfs", 0, "mode=%s" % (
                "0755" if sub == "run" else "1777"))

    def engine(self):
        """In a container that is there already: disks, and the directories
        that must have a disk of their own."""
        for i in range(self.conf["disks"]):
            number = self.attach("disk%d.img" % (i + 1))
            path = "/dev/disk%d" % (i + 1)
            if os.path.exists(path):
                os.unlink(path)
            os.mknod(path, stat.S_IFBLK | 0o660, os.makedev(7, number))
        os.makedirs("/state", exist_ok=True)
        mount("/dev/loop%d" % self.attach("state.img"), "/state", "ext4")
        for sub in ("etc/clusterfs", "var/lib/clusterfs"):
            for path in ("/state/" + sub, "/" + sub):
                os.makedirs(path, exist_ok=True)
            mount("/state/" + sub, "/" + sub, None, MS_BIND)

    def furnish(self):
        """Files that a freshly installed machine has."""
        # A container's root may be new while its disk is not.
        disk = "/state" if self.conf.get("engine") else "/etc"
        if not os.path.exists(disk + "/clusterfs-node"):
            for path in ("/etc/clusterfs", "/var/lib/clusterfs"):
                for name in os.listdir(path) if os.path.isdir(path) else ():
                    remove(os.path.join(path, name))
            write(disk + "/machine-id", os.urandom(16).hex() + "\n", 0o444)
        if disk != "/etc":
            shutil.copy(disk + "/machine-id", "/etc/machine-id")
        if not os.path.exists("/etc/clusterfs-node"):
            write("/etc/fstab", "")
            shutil.rmtree("/etc/systemd/system/multi-user.target.wants",
                          ignore_errors=True)
        os.makedirs("/etc/clusterfs", exist_ok=True)
        os.makedirs("/var/lib/clusterfs", mode=0o700, exist_ok=True)
        os.makedirs("/var/log/clusterfs", exist_ok=True)
        os.makedirs("/run/clusterfs", exist_ok=True)
        mount("/node/log", "/var/log/clusterfs", None, MS_BIND)
        socket.sethostname(self.conf["name"])
        if not self.conf.get("engine"):
            write("/etc/hostname", self.conf["name"] + "\n")
            write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n" + "".join(
                "%s %s\n" % (a, n) for n, a in self.conf["hosts"].items()))
        self.link_programs()
        os.makedirs("/usr/local/bin", exist_ok=True)
        shim("systemctl", 'exec /usr/bin/python3 /node/init.py --systemctl "$@"')
        shim("sudo", 'exec "$@"')
        for path in {disk, "/etc"}:
            write(path + "/clusterfs-node", self.conf["name"] + "\n")

    def link_programs(self):
        """As if they had been installed to /usr."""
        prefix = self.conf["prefix"]
        if prefix == "/usr":
            return
        for sub in ("bin", "sbin"):
            folder = os.path.join(prefix, sub)
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                at = "/usr/sbin/" + name
                if os.path.lexists(at):
                    os.unlink(at)
                os.symlink(os.path.join(folder, name), at)


def write(path, text, mode=0o644):
    remove(path)
    with open(path, "w") as f:
        f.write(text)
        os.fchmod(f.fileno(), mode)


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        try:
            os.unlink(path)
        except OSError:  # an engine's own mount
            pass


def shim(name, script):
    write("/usr/local/bin/" + name, "#!/bin/sh\n%s\n" % script, 0o755)


# ------------------------------------------------------------- processes

class Reaper:
    """Waits for every process; tells those who ask how one ended."""

    def __init__(self):
        self.cond = threading.Condition()
        self.ended = {}

    def run(self):
        while True:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                time.sleep(0.02)
                continue
            with self.cond:
                self.ended[pid] = os.waitstatus_to_exitcode(status)
                while len(self.ended) > 1000:
                    self.ended.pop(next(iter(self.ended)))
                self.cond.notify_all()

    def spawn(self, argv, env, log):
        with self.cond:  # no end of an older process of that number is taken
            pid = os.posix_spawn(
                argv[0], argv, env, setsid=True, setsigmask=[],
                file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", 0, 0),
                              (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY
                               | os.O_CREAT | os.O_APPEND, 0o644),
                              (os.POSIX_SPAWN_DUP2, 1, 2)])
            self.ended.pop(pid, None)
        return pid

    def wait(self, pid, timeout=None):
        """Exit status (negative: signal); None: it still runs."""
        with self.cond:
            self.cond.wait_for(lambda: pid in self.ended, timeout)
            return self.ended.get(pid)


ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
       "LC_ALL": "C.UTF-8", "HOME": "/root", "TERM": "dumb"}


class Unit:
    """A service, from the unit file that was installed."""

    def __init__(self, name, prefix, reaper):
        self.name = name
        self.reaper = reaper
        self.lock = threading.RLock()
        self.pid = None
        self.wanted = False
        self.state = "inactive"
        self.restarts = 0
        self.conf = {}
        path = os.path.join(prefix, "lib/systemd/system", name + ".service")
        with open(path) as f:
            for line in f:
                key, eq, value = line.strip().partition("=")
                if eq and not key.startswith("#"):
                    self.conf[key] = value

    def environment(self):
        env = dict(ENV)
        for path in (self.conf.get("EnvironmentFile", "").lstrip("-"),
                     "/etc/default/clusterfs"):
            if not os.path.exists(path):
                continue
            with open(path) as f:
                for line in f:
                    key, eq, value = line.strip().partition("=")
                    if eq and not key.startswith("#"):
                        env[key] = value.strip("\"'")
        return env

    def argv(self, env):
        out = []
        for word in self.conf["ExecStart"].split():
            out += (env.get(word[1:], "").split() if word.startswith("$")
                    else [word])
        return out

    def start(self):
        """Until it is ready. -> state"""
        with self.lock:
            self.wanted = True
            if self.state == "active":
                return self.state
            if self.conf["Type"] == "oneshot":
                self.state = "active"
                return self.state
            env = self.environment()
            path = "/run/notify-" + self.name
            remove(path)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                s.bind(path)
                s.settimeout(0.1)
                env["NOTIFY_SOCKET"] = path
                self.state = "activating"
                self.pid = self.reaper.spawn(self.argv(env), env,
                                             "/node/%s.out" % self.name)
                self.state = self.ready(s)
            threading.Thread(target=self.watch, args=(self.pid,),
                             daemon=True).start()
            return self.state

    def ready(self, s):
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end:
            try:
                if b"READY=1" in s.recv(4096):
                    return "active"
            except socket.timeout:
                if self.reaper.wait(self.pid, 0) is not None:
                    break
        return "failed"

    def watch(self, pid):
        """Restart=on-failure."""
        status = self.reaper.wait(pid)
        with self.lock:
            if self.pid != pid:
                return
            self.pid = None
            self.state = "inactive" if status == 0 else "failed"
            say("%s ended: %d" % (self.name, status))
        if status == 0 or self.conf.get("Restart") != "on-failure":
            return
        time.sleep(float(self.conf.get("RestartSec", "1s").rstrip("s")))
        with self.lock:
            if self.wanted and self.pid is None:
                self.restarts += 1
                self.start()

    def stop(self):
        self.wanted = False
        with self.lock:
            pid, was = self.pid, self.state
            self.pid = None
            self.state = "inactive"
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):  # just now ended
                os.kill(pid, signal.SIGTERM)
            if self.reaper.wait(pid, 90) is None:
                os.kill(pid, signal.SIGKILL)
                self.reaper.wait(pid)
        if was == "active" and "ExecStop" in self.conf:
            argv = self.conf["ExecStop"].split()
            self.reaper.wait(self.reaper.spawn(argv, self.environment(),
                                               "/node/%s.out" % self.name))
        return self.state


def sync_own():
    """What this node has written, and nothing of others: sync(2) would write
    what a scenario beside this one is about to lose in a power cut."""
    for path in ("/", "/var/lib/clusterfs", *glob.glob("/dev/disk[0-9]*")):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if stat.S_ISBLK(os.fstat(fd).st_mode):
                os.fsync(fd)
            else:
                checked(libc.syncfs(fd), "syncfs " + path)
        finally:
            os.close(fd)


def say(text):
    with open("/node/init.log", "a") as f:
        f.write("%s %s\n" % (time.strftime("%H:%M:%S"), text))


class System:
    """Units, mounts of fstab, and the order among them."""

    WANTS = "/etc/systemd/system/multi-user.target.wants"

    def __init__(self, conf):
        self.reaper = Reaper()
        self.units = {u: Unit(u, conf["prefix"], self.reaper) for u in UNITS}
        self.state = "starting"
        self.mounts = {}

    def unit(self, name):
        name = name[:-len(".service")] if name.endswith(".service") else name
        if name not in self.units:
            raise ValueError("there is no unit %s" % name)
        return self.units[name]

    def boot(self):
        if os.path.exists(self.WANTS + "/clusterfs-mgmtd.service"):
            self.start("clusterfs-mgmtd")
        # remote-fs-pre.target is reached: network file systems.
        threads = [threading.Thread(target=self.mount, args=(at,))
                   for at in self.netdevs()]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.state = "running"

    def start(self, name):
        if self.unit(name) is self.units["clusterfs-mgmtd"]:
            self.units["clusterfs-bricks"].start()
        state = self.unit(name).start()
        say("%s: %s" % (name, state))
        return state

    def netdevs(self):
        with open("/etc/fstab") as f:
            for line in f:
                w = line.split()
                if len(w) >= 4 and not line.startswith("#") \
                        and "_netdev" in w[3].split(","):
                    yield w[1]

    def mount(self, at):
        os.makedirs(at, exist_ok=True)
        pid = self.reaper.spawn(["/usr/bin/mount", at], ENV,
                                "/node/mount.out")
        status = self.reaper.wait(pid, MOUNT_TIMEOUT)
        if status is None:
            os.kill(pid, signal.SIGKILL)
        self.mounts[at] = status
        say("mount %s: %s" % (at, status))

    def shutdown(self):
        self.state = "stopping"
        with open("/proc/self/mounts") as f:
            at = [w[1] for w in map(str.split, f) if w[2] == "fuse.clusterfs"]
        for path in at:
            pid = self.reaper.spawn(["/usr/bin/umount", path], ENV,
                                    "/node/mount.out")
            self.reaper.wait(pid, MOUNT_TIMEOUT)
        for name in reversed(UNITS):
            self.units[name].stop()
        sync_own()

    def enable(self, name, on):
        path = "%s/%s.service" % (self.WANTS, self.unit(name).name)
        os.makedirs(self.WANTS, exist_ok=True)
        if on:
            write(path, "")
        else:
            remove(path)

    def do(self, order):
        what, name = order["do"], order.get("unit")
        if what == "boot":
            self.boot()
        elif what == "shutdown":
            self.shutdown()
        elif what in ("enable", "disable"):
            self.enable(name, what == "enable")
        elif what == "start":
            return {"state": self.start(name)}
        elif what == "stop":
            return {"state": self.unit(name).stop()}
        elif what == "restart":
            self.unit(name).stop()
            return {"state": self.start(name)}
        elif what != "status":
            raise ValueError("unknown order %s" % what)
        return {"state": self.state, "mounts": self.mounts,
                "units": {u.name: {"state": u.state, "pid": u.pid,
                                   "restarts": u.restarts}
                          for u in self.units.values()}}


# --------------------------------------------------------------- control

def serve(system, listener):
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve_one, args=(system, conn),
                         daemon=True).start()


def serve_one(system, conn):
    with conn, conn.makefile("rw") as f:
        for line in f:
            try:
                answer = system.do(json.loads(line))
            except Exception as e:  # whoever asked wants to know
                answer = {"error": "%s: %s" % (type(e).__name__, e)}
            try:
                f.write(json.dumps(answer) + "\n")
                f.flush()
            except OSError:
                return


def ask(path, order):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        with s.makefile("rw") as f:
            f.write(json.dumps(order) + "\n")
            f.flush()
            return json.loads(f.readline())


def systemctl(args):
    """enable [--now], disable, start, stop, restart, is-active, status."""
    now = "--now" in args
    verb, *units = [a for a in args if not a.startswith("-")]
    code = 0
    for unit in units:
        orders = {"is-active": ["status"], "status": ["status"],
                  "enable": ["enable", "start"] if now else ["enable"],
                  "disable": ["disable", "stop"] if now else ["disable"],
                  }.get(verb, [verb])
        for order in orders:
            a = ask("/node/control", {"do": order, "unit": unit})
            if "error" in a:
                print(a["error"], file=sys.stderr)
                return 1
            if order == "start" and a["state"] != "active":
                print("Job for %s failed." % unit, file=sys.stderr)
                code = 1
            if order == "status":
                name = unit.replace(".service", "")
                state = a["units"][name]["state"]
                print(state)
                code = 0 if state == "active" else 3
    return code


def die_with_maker():
    while os.read(0, 4096):
        pass
    os._exit(0)


def defaults(folder):
    """A node that no test made: see extras/compose.yaml."""
    for name, size in (("disk1.img", 8 << 30), ("state.img", 4 << 30)):
        with open(os.path.join(folder, name), "w") as f:
            f.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0",
                    os.path.join(folder, "state.img")], check=True)
    os.makedirs(os.path.join(folder, "log"), exist_ok=True)
    with open(os.path.join(folder, "node.json"), "w") as f:
        json.dump({"name": socket.gethostname(), "disks": 1, "engine": True,
                   "prefix": "/usr"}, f)


def init(folder, engine):
    path = os.path.join(folder, "node.json")
    if engine and not os.path.exists(path):
        defaults(folder)
    with open(path) as f:
        conf = json.load(f)
    ENV.update(conf.get("env", {}))
    root = Root(folder, conf)
    if engine:
        root.engine()
    else:
        root.overlay()
    root.furnish()
    system = System(conf)
    listener = socket.socket(socket.AF_UNIX)
    remove("/node/control.new")
    listener.bind("/node/control.new")
    listener.listen(16)
    os.rename("/node/control.new", "/node/control")  # it can be asked now
    threading.Thread(target=serve, args=(system, listener),
                     daemon=True).start()
    if not engine:
        threading.Thread(target=die_with_maker, daemon=True).start()
    elif os.environ.get("CLUSTERFS_BOOT"):
        system.enable("clusterfs-mgmtd", True)
        threading.Thread(target=system.boot, daemon=True).start()
    system.reaper.run()


def main():
    if sys.argv[1] == "--systemctl":
        sys.exit(systemctl(sys.argv[2:]))
    if sys.argv[1] == "--engine":
        return init(sys.argv[2], True)
    folder = sys.argv[1]
    checked(libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC
                         | CLONE_NEWPID | CLONE_NEWNET), "unshare")
    pid = os.fork()
    if pid == 0:
        return init(folder, False)
    tmp = os.path.join(folder, "pid.new")
    with open(tmp, "w") as f:
        f.write(str(pid))
    os.rename(tmp, os.path.join(folder, "pid"))
    os.close(0)
    os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
