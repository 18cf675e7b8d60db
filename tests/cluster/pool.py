# SPDX-License-Identifier: Apache-2.0
"""What scenarios of several nodes have in common: forming a cluster, looking at
it, a volume over it, and an application that writes while things happen.
"""
import contextlib
import json
import subprocess
import time

from runtime import wait_for

# Files of known content, one after another, each fsynced; the longest time
# between two of them tells how long an application ever waited.
WRITER = r"""
import json, os, signal, sys, time
top = sys.argv[1]
os.makedirs(top, exist_ok=True)
run = True
def stop(*_):
    global run
    run = False
signal.signal(signal.SIGTERM, stop)
n, errors, gap = 0, [], 0.0
print("up", flush=True)
last = time.monotonic()
while run:
    try:
        f = os.open("%s/%d" % (top, n), os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(f, (b"%d\n" % n) * 500)
        os.fsync(f)
        os.close(f)
    except OSError as e:
        errors.append("%d: %s" % (n, e))
        if len(errors) > 20:
            break
    now = time.monotonic()
    gap = max(gap, now - last)
    last = now
    n += 1
    with open("/tmp/writer.new", "w") as s:
        s.write(str(n))
    os.rename("/tmp/writer.new", "/tmp/writer")
print(json.dumps({"files": n, "errors": errors, "stall": gap}), flush=True)
"""
CHECK = r"""
import sys
top, n = sys.argv[1], int(sys.argv[2])
for i in range(n):
    with open("%s/%d" % (top, i), "rb") as f:
        if f.read() != (b"%d\n" % i) * 500:
            sys.exit("%s/%d is not what was written" % (top, i))
"""


class Writer:
    """An application on a node, at work on a mount until it is stopped."""

    def __init__(self, node, top):
        self.node = node
        self.top = top
        self.p = node.popen("python3", "-c", WRITER, top,
                            stdout=subprocess.PIPE)
        assert self.p.stdout.readline() == "up\n"
        self.moves()

    def files(self):
        with contextlib.suppress(OSError, ValueError):
            return int(self.node.host("/tmp/writer").read_text())
        return 0

    def moves(self, seconds=10):
        """It gets on now."""
        was = self.files()
        wait_for("the application goes on", lambda: self.files() > was + 3,
                 seconds)

    def stop(self):
        """-> {"files", "errors", "stall"}; the files are there."""
        self.node.run("pkill", "-TERM", "-f", "os.makedirs.top")
        out, _ = self.p.communicate(timeout=40)
        result = json.loads(out)
        assert not result["errors"], result
        check(self.node, self.top, result["files"])
        return result


def check(node, top, files):
    node.run("python3", "-c", CHECK, top, files)


# ------------------------------------------------------------ the cluster

def join(new, member, *more):
    """-> the token that was used"""
    token = member.json("peer", "token", *more)["token"]
    new.clusterfs("peer", "join", member.name, "--token", token)
    return token


def form(c, nodes=None):
    """The first founds, the others join it."""
    first, *others = nodes or list(c)
    first.clusterfs("cluster", "create")
    for n in others:
        join(n, first)
    wait_formed([first, *others])
    return c


def status(n):
    return n.json("cluster", "status")


def voters(n):
    return [x["name"] for x in status(n)["nodes"] if x["role"] == "voter"]


def leader(n):
    return status(n)["leader"]


def voters_for(count):
    return 1 if count <= 2 else 3 if count <= 4 else 5


def formed(n, count):
    s = status(n)
    if not (s["founded"] and s["current"] and len(s["nodes"]) == count):
        return False
    roles = [x["role"] for x in s["nodes"]]
    return (all(x["heard"] and x.get("lag") == 0 for x in s["nodes"])
            and (count == 1 or (roles.count("voter") == voters_for(count)
                                and s["leader"] != ""))
            and not set(roles) & {"adding", "learner", "leaving"})


def wait_formed(nodes, seconds=60):
    """Each node sees all, as voters what there should be, and is current."""
    for n in nodes:
        wait_for(lambda: "%s: the cluster is formed: %s" % (
            n.name, json.dumps(status(n))), lambda: formed(n, len(nodes)),
            seconds, 0.1)


def answers(n):
    """Its mgmtd can be asked."""
    return n.clusterfs("volume", "list", check=False).returncode == 0


def wait_answers(*nodes, seconds=20):
    for n in nodes:
        wait_for("mgmtd of %s answers" % n.name, lambda: answers(n), seconds)


def can_change(n, volume="v"):
    """A change is accepted; it is one that changes back and forth."""
    now = n.json("volume", "get", volume, "network.wait")["options"][0]
    other = "14s" if now["value"] != "14s" else "16s"
    return n.clusterfs("volume", "set", volume, "network.wait", other,
                       check=False).returncode == 0


# ------------------------------------------------------------- volumes

def volume(n, nodes, name="v", disk=1):
    """On a disk of each of the nodes; started by @n."""
    n.clusterfs("volume", "create", name, "replica", len(nodes),
                *("%s:/dev/disk%d" % (b.name, disk) for b in nodes))
    n.clusterfs("volume", "start", name)
    return name


def states(n, name="v"):
    """{node: state of its brick}"""
    return {b["host"]: b["state"]
            for b in n.json("volume", "status", name)["bricks"]}


def wait_states(n, name="v", seconds=20, **want):
    """wait_states(n1, n2="out")"""
    wait_for(lambda: "bricks are %s, not %s" % (want, states(n, name)),
             lambda: want.items() <= states(n, name).items(), seconds)


def epoch(n, name="v"):
    view = n.json("volume", "status", name)["view"]
    return view["epoch"] if view else 0


def in_sync(n, name="v"):
    return sorted(k for k, v in states(n, name).items() if v == "in-sync")


class Clock:
    """with Clock() as t: ...; t.s"""

    def __enter__(self):
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        self.s = time.monotonic() - self.began
