# SPDX-License-Identifier: Apache-2.0
"""The inside of shell.sh: a cluster, commands for its nodes in PATH, and a
socket by which `node` asks this process for faults.
"""
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading

import node
import runtime

CLIENT = r"""#!/usr/bin/python3
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(%r)
s.sendall("\0".join(sys.argv[1:]).encode() + b"\n")
s.shutdown(socket.SHUT_WR)
answer = b""
while True:
    b = s.recv(65536)
    if not b:
        break
    answer += b
text = answer.decode()
sys.stdout.write(text[1:])
sys.exit(text[:1] != "0")
"""


def fault(cluster, words):
    """-> what to print"""
    if len(words) < 2:
        raise ValueError("node n2 FAULT...; see shell.sh --help")
    names = {n.name: n for n in cluster}
    n, verb, args = names[words[0]], words[1], words[2:]
    if verb in ("hang", "resume", "mend", "shutdown", "wipe"):
        getattr(n, verb)()
    elif verb == "boot":
        return "%s\n" % n.boot()
    elif verb == "crash":
        n.crash(lose_unsynced="lose" in args)
    elif verb == "cut":
        ways = [a for a in args if a in ("in", "out")]
        peers = [names[a] for a in args if a in names]
        n.cut(peers[0] if peers else None, ways[0] if ways else "both")
    elif verb == "lose":
        n.lose(float(args[0]))
    elif verb == "slow":
        n.slow(args[0])
    elif verb == "fill":
        n.fill_disk()
    elif verb == "free":
        n.free_disk()
    elif verb == "logs":
        return n.logs() + "\n"
    else:
        raise ValueError("no fault '%s'; see shell.sh --help" % verb)
    return ""


def serve(cluster, listener):
    while True:
        conn, _ = listener.accept()
        with conn:
            words = conn.makefile().read().strip("\n").split("\0")
            try:
                answer = "0" + fault(cluster, words)
            except Exception as e:  # shown to whoever asked
                answer = "1%s: %s\n" % (type(e).__name__, e)
            try:
                conn.sendall(answer.encode())
            except OSError:
                pass


def script(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def commands(cluster):
    """A directory with n1, n2, ... and node."""
    folder = cluster.dir / "bin"
    folder.mkdir()
    for n in cluster:
        # The process number of a node changes with each boot of it.
        script(folder / n.name, "#!/bin/bash\n"
               "[ $# -gt 0 ] || set -- bash --norc\n"
               "export PS1='%s:\\w# ' PATH=%s\n"
               "exec nsenter -t \"$(cat %s/pid)\" -m -u -i -n -p \"$@\"\n" % (
                   n.name, shlex.quote(runtime.ENV["PATH"]), n.dir)
               if cluster.runtime.name == "namespaces" else
               "#!/bin/bash\n[ $# -gt 0 ] || set -- bash\nexec %s \"$@\"\n"
               % shlex.join(cluster.runtime.argv(n, [], tty=True)[0]))
    script(folder / "node", CLIENT % str(cluster.dir / "shell"))
    return folder


def main():
    reason = runtime.why_not()
    if reason:
        sys.exit("shell.sh: " + reason)
    node.sweep()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with node.Cluster(count, disks=2) as cluster:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(cluster.dir / "shell"))
        listener.listen()
        threading.Thread(target=serve, args=(cluster, listener),
                         daemon=True).start()
        env = dict(os.environ, PS1="%d nodes $ " % count, PATH="%s:%s" % (
            commands(cluster), os.environ["PATH"]))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        argv = sys.argv[2:]
        if not argv:
            print("Nodes: %s; node n1 crash, ... for faults; exit ends all."
                  % " ".join(n.name for n in cluster))
            argv = ["bash", "--norc"]
        status = subprocess.run(argv, env=env).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
