# SPDX-License-Identifier: Apache-2.0
# needs: root fuse quiet
"""The commands of the README, taken out of it: three machines, a mount on a
fourth. ssh and scp are played by a program that runs on each node.
"""
import re

import pool
import runtime
from runtime import wait_for

DAEMON = r"""
import json, socket, subprocess, threading
s = socket.create_server(("", 22))
def one(c):
    with c, c.makefile("rwb") as f:
        q = json.loads(f.readline())
        p = subprocess.run(q["argv"], input=bytes.fromhex(q["input"]),
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        f.write(json.dumps([p.returncode, p.stdout.decode()]).encode())
while True:
    threading.Thread(target=one, args=s.accept()[:1], daemon=True).start()
"""
SHIM = r"""#!/usr/bin/python3
import json, os, socket, sys
if os.path.basename(sys.argv[0]) == "ssh":
    host, argv, text = sys.argv[1], sys.argv[2:], b""
else:
    host, _, path = sys.argv[2].partition(":")
    argv = ["install", "-m", "600", "/dev/stdin", path]
    with open(sys.argv[1], "rb") as f:
        text = f.read()
s = socket.create_connection((host, 22))
f = s.makefile("rwb")
f.write(json.dumps({"argv": argv, "input": text.hex()}).encode() + b"\n")
f.flush()
s.shutdown(socket.SHUT_WR)
code, out = json.loads(f.read())
sys.stdout.write(out)
sys.exit(code)
"""


def section():
    """[(nodes' names, commands)]"""
    text = (runtime.TOP / "README.md").read_text()
    text = text.partition("## On three machines")[2]
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1]
    out = []
    for line in block.splitlines():
        if line.startswith("# on "):
            out.append((re.findall(r"n\d", line), []))
        elif line.strip():
            out[-1][1].append(line)
    assert len(out) == 3
    return out


def test_the_commands_of_the_readme_lead_to_a_mount_on_a_fourth(cluster):
    c = cluster(4, enable=False, disk_size="2G")
    by_name = {n.name: n for n in c}
    daemons = [n.popen("python3", "-c", DAEMON) for n in c]
    for n in c:
        n.sh("cp -a /dev/disk1 /dev/sdb")
        for name in ("ssh", "scp"):
            n.run("install", "-m", "755", "/dev/stdin",
                  "/usr/local/bin/" + name, text=SHIM)
        wait_for("%s can be reached" % n.name, lambda: c[1].run(
            "ssh", n.name, "true", check=False).returncode == 0)
    for names, commands in section():
        for name in names:
            for command in commands:
                by_name[name].sh(command, timeout=120)
    c[4].sh("cp -r /usr/include/linux /mnt/; sync /mnt")
    assert not c[4].run("diff", "-r", "/usr/include/linux",
                        "/mnt/linux").stdout
    assert not c[4].pids("clusterfs-mgmtd")
    assert pool.in_sync(c[2], "web") == ["n1", "n2", "n3"]
    pool.wait_formed(list(c)[:3])
    c[1].crash()  # whom the mount asked first
    with pool.Clock() as t:
        c[4].sh("echo x >/mnt/x; sync /mnt")
    assert t.s < 6
    for d in daemons:
        d.kill()
        d.wait(10)
