# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""The harness itself: each fault does what its name says, and nothing stays."""
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import node as harness
import runtime
from runtime import wait_for

TALK = r"""
import socket, sys, time
began = time.monotonic()
s = socket.create_connection((sys.argv[1], 999), float(sys.argv[2]))
s.settimeout(float(sys.argv[2]))
s.sendall(b"x" * int(sys.argv[3]))
s.shutdown(socket.SHUT_WR)
n = 0
while True:
    b = s.recv(65536)
    if not b:
        break
    n += len(b)
print(n, time.monotonic() - began)
"""
ECHO = r"""
import socket, threading
s = socket.create_server(("", 999))
def one(c):
    while True:
        b = c.recv(65536)
        if not b:
            break
        c.sendall(b)
    c.close()
while True:
    threading.Thread(target=one, args=s.accept()[:1], daemon=True).start()
"""


def echo_at(node):
    p = node.popen("python3", "-c", ECHO)
    wait_for("%s listens" % node.name, lambda: talk(node, node))
    return p


def talk(a, b, size=1, seconds=10):
    """Until all that a sends has come back from b. -> s; None: it does not"""
    done = a.run("python3", "-c", TALK, b.name, str(seconds), str(size),
                 check=False)
    got, _, took = done.stdout.strip().partition(" ")
    return float(took) if done.returncode == 0 and got == str(size) else None


def deaf(a, b):
    """Nothing comes back: it would within a moment."""
    return talk(a, b, seconds=0.5) is None


def test_a_cut_cuts_and_mends(cluster):
    c = cluster(3, boot=False)
    for n in c:
        n.power_on()
    echoes = [echo_at(n) for n in c]
    assert talk(c[1], c[2]) and talk(c[1], c[3])
    c[1].cut(c[2])
    assert deaf(c[1], c[2]) and deaf(c[2], c[1])
    assert talk(c[1], c[3]) and talk(c[2], c[3])
    c[1].mend()
    assert talk(c[1], c[2])
    c[1].cut(direction="in")
    assert deaf(c[1], c[2]) and deaf(c[3], c[1])
    c[1].mend()
    c[1].cut()
    assert deaf(c[3], c[1]) and talk(c[3], c[2])
    c[1].mend()
    assert talk(c[3], c[1])
    for e in echoes:
        e.kill()
        e.wait()


def test_a_sick_network_loses_half_and_a_slow_one_is_slow(cluster):
    c = cluster(2, boot=False)
    for n in c:
        n.power_on()
    echo = echo_at(c[2])
    count = ("import socket, time\n"
             "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
             "%s")
    # All of it may wait to be read, too.
    got = c[2].popen("python3", "-c", count % (
        "s.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE\n"
        "s.bind(('', 998)); s.settimeout(60); n = 0\n"
        "print('up', flush=True)\n"
        "while s.recv(10) != b'end': n += 1\n"
        "print(n)"), stdout=subprocess.PIPE)
    assert got.stdout.readline() == "up\n"
    # What waits for the address of n2, while questions for it are lost, is
    # lost for want of room: it is to be known.
    assert talk(c[1], c[2])
    c[1].lose(0.5)
    c[1].run("python3", "-c", count % (
        "for i in range(1000): s.sendto(b'x', ('n2', 998)); time.sleep(.0002)"))
    c[1].mend()
    c[1].run("python3", "-c", count % "s.sendto(b'end', ('n2', 998))")
    arrived = int(got.communicate(timeout=90)[0])
    assert 300 < arrived < 700
    c[1].slow("1mbit")
    slow = talk(c[1], c[2], 250000, 30)
    assert slow > 1  # 2 Mbit
    c[1].mend()
    assert talk(c[1], c[2], 250000, 30) < slow / 2
    echo.kill()
    echo.wait()


def test_a_node_that_hangs_answers_after_it_resumes(cluster):
    c = cluster(2, boot=False)
    for n in c:
        n.power_on()
    echo = echo_at(c[2])
    c[2].hang()
    assert deaf(c[1], c[2])
    c[2].resume()
    assert talk(c[1], c[2])
    echo.kill()
    echo.wait()


def test_a_crash_keeps_what_was_synced_and_loses_the_rest_if_asked(cluster):
    c = cluster(1, boot=False)
    n = c[1].power_on()
    write = ("import os\n"
             "def put(path, sync):\n"
             "    f = os.open(path, os.O_RDWR | os.O_CREAT)\n"
             "    os.pwrite(f, b'A' * 4096, 4096 if sync else 8192)\n"
             "    if sync: os.fsync(f)\n"
             "    return f\n"
             "%s\n"
             "print('done', flush=True)\n"
             "import time; time.sleep(100)")
    w = n.popen("python3", "-c", write % (
        "put('/var/lib/synced', 1); put('/var/lib/not', 0)\n"
        "put('/dev/disk1', 1); f = put('/dev/disk1', 0)"),
        stdout=subprocess.PIPE)
    assert w.stdout.readline() == "done\n"
    n.crash(lose_unsynced=True)
    w.wait()
    n.power_on()
    assert n.sh("head -c 4097 /var/lib/synced | tail -c 1") == "A"
    assert not n.sh("tr -d '\\0' </var/lib/not || :")
    assert n.sh("tr -d '\\0' </dev/disk1 | wc -c").strip() == "4096"
    n.sh("printf B >/var/lib/later")
    n.crash()
    n.power_on()
    assert n.sh("cat /var/lib/later") == "B"


def test_a_full_disk_is_full_until_it_is_freed(cluster):
    c = cluster(1, boot=False, state_size="100M")
    n = c[1].power_on()
    n.fill_disk()
    assert n.run("sh", "-c", "echo x >/var/lib/more",
                 check=False).returncode != 0
    n.free_disk()
    n.sh("echo x >/var/lib/more")
    assert os.statvfs("/").f_bavail > 0


def test_nodes_have_their_own_files_names_and_processes(cluster):
    c = cluster(2)
    c[1].sh("echo mine >/etc/clusterfs/x; echo mine >/usr/share/x")
    assert c[2].run("cat", "/etc/clusterfs/x", check=False).returncode != 0
    assert not os.path.exists("/usr/share/x")
    assert c[2].sh("hostname").strip() == "n2"
    assert len(c[1].pids("clusterfs-mgmtd")) == 1
    c[1].signal("clusterfs-mgmtd")
    assert len(c[2].pids("clusterfs-mgmtd")) == 1
    wait_for("the service is restarted",
             lambda: c[1].pids("clusterfs-mgmtd"))


def traces(mark):
    """What there is of a cluster: processes, mounts, loop devices."""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                if mark.encode() in f.read():
                    out.append("process " + pid)
        except OSError:
            pass
    with open("/proc/mounts") as f:
        out += [line for line in f if mark in line]
    for entry in os.listdir("/sys/block"):
        path = pathlib.Path("/sys/block", entry, "loop/backing_file")
        try:
            if mark in path.read_text():
                out.append(entry)
        except OSError:
            pass
    return out


def test_nothing_is_left_when_the_maker_is_killed(cluster, monkeypatch):
    # Where no file of scenarios that begins meanwhile looks for left-overs.
    place = tempfile.mkdtemp(prefix="made.", dir=harness.work_dir())
    maker = subprocess.Popen(
        [sys.executable, "-B", "-c", "import sys, time\n"
         "sys.path.insert(0, %r)\nimport node\n"
         "c = node.Cluster(2)\nc[2].hang()\n"
         "print(c.dir, flush=True)\ntime.sleep(100)" % str(runtime.HERE)],
        stdout=subprocess.PIPE, text=True,
        env={**os.environ, "CLUSTERFS_TEST_WORK": place})
    folder = pathlib.Path(maker.stdout.readline().strip())
    mark = folder.name
    assert len(traces(mark)) > 4
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    wait_for(lambda: "nothing is left: %s" % traces(mark),
             lambda: not traces(mark))
    assert folder.exists()  # that much a killed program cannot help
    monkeypatch.setenv("TMPDIR", place)
    harness.sweep()
    assert not folder.exists()
    os.rmdir(place)
