# SPDX-License-Identifier: Apache-2.0
"""A whole clusterfs on this machine, in a directory of its own: mgmtd, bricks
and mounts from an installation under CLUSTERFS_PREFIX. What it starts, it ends.
"""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

PREFIX = pathlib.Path(os.environ.get("CLUSTERFS_PREFIX", "/usr"))
FIRST_PORT = 24207
PATIENCE = int(os.environ.get("CLUSTERFS_TEST_PATIENCE", 1))  # tests/run.py


class CommandError(Exception):
    """A command that should have succeeded did not."""

    def __init__(self, done):
        super().__init__("%s: exit %d\n%s%s" % (
            " ".join(map(str, done.args)), done.returncode, done.stdout,
            done.stderr))
        self.done = done


def program(name):
    for folder in ("bin", "sbin"):
        path = PREFIX / folder / name
        if path.exists():
            return str(path)
    raise FileNotFoundError("no %s under %s" % (name, PREFIX))


def wait_for(what, condition, seconds=20.0):
    """Poll until condition() is true; its value is returned."""
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %g s: %s" % (seconds, what))
        time.sleep(0.02)


def free_port():
    # Runs beside each other begin at different places.
    start = os.getpid() * 7 % 500
    for port in range(FIRST_PORT + start, FIRST_PORT + start + 500):
        with socket.socket() as s:
            with contextlib.suppress(OSError):
                s.bind(("127.0.0.1", port))
                return port
    raise AssertionError("no free port")


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def mounted(path):
    with open("/proc/self/mountinfo") as f:
        return any(line.split()[4] == str(path) for line in f)


class Instance:
    """One node: directories, a port, and the programs bound to them."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.dirs = {name: self.root / name
                     for name in ("etc", "lib", "run", "log", "bricks")}
        for path in self.dirs.values():
            path.mkdir(parents=True)
        self.port = free_port()
        self.env = dict(
            os.environ,
            CLUSTERFS_CONFIG_DIR=str(self.dirs["etc"]),
            CLUSTERFS_STATE_DIR=str(self.dirs["lib"]),
            CLUSTERFS_RUN_DIR=str(self.dirs["run"]),
            CLUSTERFS_LOG_DIR=str(self.dirs["log"]),
            CLUSTERFS_PORT=str(self.port),
            PATH="%s/bin:%s/sbin:%s" % (PREFIX, PREFIX, os.environ["PATH"]))
        self.mounts = []

    # -- commands -----------------------------------------------------------

    def run(self, *argv, check=True, timeout=120):
        done = subprocess.run(
            [program(argv[0]), *map(str, argv[1:])], env=self.env,
            stdin=subprocess.DEVNULL, text=True, timeout=timeout * PATIENCE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if check and done.returncode != 0:
            raise CommandError(done)
        return done

    def cli(self, *argv, **kw):
        return self.run("clusterfs", *argv, **kw)

    def cli_json(self, *argv):
        return json.loads(self.cli(*argv, "--json").stdout)

    def refused(self, *argv):
        """The message of a command that must fail."""
        done = self.cli(*argv, check=False)
        assert done.returncode != 0, "succeeded: %s" % (argv,)
        assert done.stderr.strip(), "failed without a reason: %s" % (argv,)
        return done.stderr

    # -- mgmtd ----------------------------------------------------------------

    def start(self):
        self.run("clusterfs-mgmtd")
        return self

    def mgmtd_pid(self):
        return int((self.dirs["run"] / "clusterfs-mgmtd.pid").read_text())

    def kill_mgmtd(self, how=signal.SIGKILL):
        pid = self.mgmtd_pid()
        os.kill(pid, how)
        wait_for("mgmtd ends", lambda: not alive(pid))

    # -- volumes --------------------------------------------------------------

    def brick_path(self, i):
        return self.dirs["bricks"] / ("b%d.img" % i)

    def create(self, name="v", bricks=3, size="2G", first=1):
        paths = ["localhost:%s" % self.brick_path(i)
                 for i in range(first, first + bricks)]
        self.cli("volume", "create", name, "replica", bricks, *paths,
                 "--brick-size", size, "--sparse")

    def status(self, name="v"):
        return self.cli_json("volume", "status", name)

    def bricks(self, name="v"):
        return self.status(name)["bricks"]

    def wait_states(self, states, name="v", seconds=20):
        return wait_for("bricks are %s, not %s" % (states, self.states(name)),
                        lambda: self.states(name) == states, seconds)

    def states(self, name="v"):
        return [b["state"] for b in self.bricks(name)]

    # -- mounts ---------------------------------------------------------------

    def mount(self, name="v", options=None, where=None):
        where = where or self.root / ("mnt-%d" % len(self.mounts))
        where.mkdir(exist_ok=True)
        opts = "run-dir=%s,port=%d" % (self.dirs["run"], self.port)
        if options:
            opts += "," + options
        self.mounts.append(where)
        self.run("mount.clusterfs", name, where, "-o", opts)
        return where

    def umount(self, where):
        pids = self.client_pids(where)
        subprocess.run(["umount", str(where)], check=True, env=self.env)
        for pid in pids:
            wait_for("client %d ends" % pid, lambda: not alive(pid))

    def client_pids(self, where):
        return [p for p in self.pids() if str(where) in cmdline(p)]

    # -- the end --------------------------------------------------------------

    def pids(self):
        """Every process that belongs to this instance."""
        mark = ("CLUSTERFS_RUN_DIR=%s" % self.dirs["run"]).encode()
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                with open("/proc/%s/environ" % entry, "rb") as f:
                    if mark in f.read().split(b"\0"):
                        found.append(int(entry))
        return found

    def destroy(self):
        for where in self.mounts:
            for _ in range(3):
                if mounted(where):
                    subprocess.run(["umount", "-l", str(where)],
                                   stderr=subprocess.DEVNULL)
        wait_for("all processes end", self.kill_all)

    def kill_all(self):
        """Again and again: a mgmtd that still lives starts what is killed."""
        pids = [p for p in self.pids() if alive(p)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    def logs(self):
        """The end of every log, for a test that failed."""
        out = []
        for path in sorted(self.dirs["log"].rglob("*")):
            if path.is_file():
                tail = path.read_text(errors="replace").splitlines()[-40:]
                out += ["--- %s" % path.name, *tail]
        return "\n".join(out)


def cmdline(pid):
    with contextlib.suppress(OSError):
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return f.read().decode(errors="replace").split("\0")
    return []
