# SPDX-License-Identifier: Apache-2.0
"""A command whose answer is lost, because mgmtd dies right after it has done
what it was asked, is asked again, and gets the first answer.

clusterfs talks to a go-between on a socket of its own: the first answer ends
there, mgmtd is killed and started, and the repeat passes.
"""
import contextlib
import json
import os
import select
import socket
import threading

import instance

HEADER = 48  # rpc/frame.h; then the body, whose length is at 8


class GoBetween(threading.Thread):
    """Passes one command to mgmtd, twice; what was answered is in .answers."""

    def __init__(self, node, folder):
        super().__init__()
        folder.mkdir()
        self.node = node
        self.folder = folder
        self.answers = []
        self.failed = None
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "mgmtd.sock"))
        self.listener.listen()
        self.listener.settimeout(30)

    def pass_one(self):
        """-> the client, and the answer for it."""
        client, _ = self.listener.accept()
        with socket.socket(socket.AF_UNIX) as mgmtd:
            mgmtd.connect(str(self.node.dirs["run"] / "mgmtd.sock"))
            answer = b""
            while not whole(answer):
                ready, _, _ = select.select([client, mgmtd], [], [], 60)
                assert ready, "no answer"
                if client in ready:
                    data = client.recv(65536)
                    assert data, "clusterfs has hung up"
                    mgmtd.sendall(data)
                if mgmtd in ready:
                    data = mgmtd.recv(65536)
                    assert data, "mgmtd has hung up"
                    answer += data
        # Its last field is the JSON.
        self.answers.append(json.loads(answer[answer.index(b"{", HEADER):]))
        return client, answer

    def run(self):
        try:
            client, _ = self.pass_one()
            pid = self.node.mgmtd_pid()
            self.node.kill_mgmtd()
            self.node.start()
            assert self.node.mgmtd_pid() != pid
            client.close()
            client, answer = self.pass_one()
            client.sendall(answer)
            client.close()
        except Exception as e:  # told by the main thread
            self.failed = e

    def close(self):
        self.listener.close()
        self.join(60)
        os.unlink(self.folder / "mgmtd.sock")
        self.folder.rmdir()


def whole(answer):
    return len(answer) >= HEADER and len(answer) >= HEADER + int.from_bytes(
        answer[8:12], "little")


def twice(node, *argv, same=True):
    """The command, asked of two lives of mgmtd with the same id."""
    g = GoBetween(node, node.root / "between")
    g.start()
    with contextlib.closing(g):
        done = node.cli("--run-dir", g.folder, *argv, check=False)
        g.join(60)
    assert g.failed is None, g.failed
    assert "asking it again" in done.stderr
    assert done.returncode == 0, done.stderr
    assert len(g.answers) == 2
    assert not same or g.answers[0] == g.answers[1]
    return done


def names(node):
    return [v["name"] for v in node.cli_json("volume", "list")]


def test_a_repeat_to_a_mgmtd_started_since_gets_the_first_answer(node):
    images = ["localhost:%s" % node.brick_path(i) for i in (1, 2)]
    create = ["volume", "create", "v", "replica", 2, *images, "--brick-size",
              "64M", "--sparse"]
    twice(node, *create)
    assert names(node) == ["v"]
    twice(node, "volume", "start", "v")
    node.wait_states(["in-sync"] * 2)
    epoch = node.status()["view"]["epoch"]
    # These do no harm twice; the second answer: nothing has changed.
    twice(node, "volume", "set", "v", "network.wait", "9s", same=False)
    twice(node, "volume", "reset", "v", "network.wait", same=False)
    node.wait_states(["in-sync"] * 2)
    assert node.status()["view"]["epoch"] == epoch  # nothing was disturbed
    twice(node, "volume", "stop", "v", "--yes")
    node.wait_states(["stopped"] * 2)
    done = twice(node, "volume", "delete", "v", "--yes")
    assert all(str(node.brick_path(i)) in done.stdout for i in (1, 2))
    assert names(node) == []

    # Another request finds what is: no such volume, or a new one of that name.
    assert "no volume" in node.refused("volume", "delete", "v", "--yes")
    twice(node, *create, "--force")
    twice(node, "volume", "delete", "v", "--yes")
    assert names(node) == []
