# SPDX-License-Identifier: Apache-2.0
"""Bad input gets a clear error, and nothing is lost."""
import os
import socket
import subprocess

import pytest

import instance


def images(node, *numbers):
    return ["localhost:%s" % node.brick_path(i) for i in numbers]


def create(node, name, *rest):
    return node.refused("volume", "create", name, *rest,
                        "--brick-size", "256M", "--sparse")


def test_create_refuses_what_makes_no_volume(node):
    assert "multiple" in create(node, "v", "replica", 3, *images(node, 1, 2))
    assert "replica" in create(node, "v", *images(node, 1, 2))
    assert "twice" in create(node, "v", "replica", 2, *images(node, 1, 1))
    assert "nowhere" in create(node, "v", "nowhere:/x/b.img")
    assert create(node, "no/slash", *images(node, 1))
    assert node.cli_json("volume", "list") == []
    assert os.listdir(node.dirs["bricks"]) == []


def test_create_refuses_a_brick_that_is_used(node):
    node.create("v", bricks=1, size="256M")
    message = create(node, "w", *images(node, 1))
    assert "v" in message
    assert [v["name"] for v in node.cli_json("volume", "list")] == ["v"]


def test_create_refuses_a_foreign_file_unless_forced(node):
    path = node.brick_path(1)
    with open(path, "wb") as f:
        f.truncate(300 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True)
    message = create(node, "v", *images(node, 1))
    assert "ext4" in message and "--force" in message
    node.cli("volume", "create", "v", *images(node, 1), "--force",
             "--brick-size", "256M", "--sparse")


def test_verbs_in_the_wrong_state_are_refused(node):
    node.create("v", bricks=1, size="256M")
    node.cli("volume", "start", "v")
    assert "started" in node.refused("volume", "start", "v")
    assert "stop" in node.refused("volume", "delete", "v", "--yes")
    assert "exists" in create(node, "v", *images(node, 2))
    node.cli("volume", "stop", "v", "--yes")
    assert node.refused("volume", "stop", "v", "--yes")
    node.cli("volume", "delete", "v", "--yes")
    assert node.cli_json("volume", "list") == []


def refused_mount(node, name, options=None):
    with pytest.raises(instance.CommandError) as e:
        node.mount(name, options)
    assert not instance.mounted(node.mounts[-1])
    return e.value.done.stderr


def test_mount_of_an_unknown_or_stopped_volume_says_so(node):
    node.create("v", bricks=1, size="256M")
    assert "nosuch" in refused_mount(node, "nosuch")
    assert "start" in refused_mount(node, "v")
    assert "nonsense" in refused_mount(node, "v", "nonsense=1")


def test_second_mount_is_refused_and_harmless(volume):
    first = volume.mount()
    (first / "f").write_text("1")
    assert str(first) in refused_mount(volume, "v")
    assert (first / "f").read_text() == "1"


def test_stop_is_refused_while_mounted_unless_forced(volume):
    mnt = volume.mount()
    assert "mounted" in volume.refused("volume", "stop", "v", "--yes")
    (mnt / "still").write_text("here")
    volume.cli("volume", "stop", "v", "--yes", "--force")


def test_a_brick_that_cannot_start_is_shown_with_its_reason(node):
    node.create("v", size="256M")
    with open(node.brick_path(2), "r+b") as f:
        f.write(bytes(1 << 20))
        f.seek(-(1 << 20), os.SEEK_END)
        f.write(bytes(1 << 20))
    node.cli("volume", "start", "v", check=False)
    brick = instance.wait_for(
        "the brick is faulty",
        lambda: next((b for b in node.bricks() if b["state"] == "faulty"),
                     None), 60)
    assert brick["reason"]
    assert node.states()[0::2] == ["in-sync", "in-sync"]


@pytest.mark.parametrize("frame", [
    b"GET / HTTP/1.0\r\n\r\n" * 10,
    b"\0" * 48,
    b"CFS1" + b"\xff" * 44,
    os.urandom(4096),
], ids=["http", "zeros", "lengths", "noise"])
def test_bad_frames_close_the_connection_and_nothing_else(volume, frame):
    mnt = volume.mount()
    pids = [volume.mgmtd_pid()] + [b["pid"] for b in volume.bricks()]
    for port in [volume.port] + [b["port"] for b in volume.bricks()]:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.settimeout(5)
            s.sendall(frame)
            try:
                assert s.recv(1) == b""
            except ConnectionResetError:
                pass
    assert all(map(instance.alive, pids))
    (mnt / "f").write_text("on")
    volume.wait_states(["in-sync"] * 3)
