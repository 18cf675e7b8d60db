# SPDX-License-Identifier: Apache-2.0
"""mgmtd may be killed at any point of any command: what is configured is one of
two states, and the command can be repeated. Rolled-back and shared directories
are noticed.
"""
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time

import instance

ROUNDS = 12


def images(node, n=3):
    return ["localhost:%s" % node.brick_path(i) for i in range(1, n + 1)]


def create_args(node):
    return ["volume", "create", "v", "replica", 3, *images(node),
            "--brick-size", "64M", "--sparse"]


def killed_during(node, *argv, longest=0.08):
    """Run a command, kill mgmtd somewhere in the middle, start it again."""
    command = subprocess.Popen(
        [instance.program("clusterfs"), *map(str, argv)], env=node.env,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    time.sleep(random.uniform(0, longest))
    node.kill_mgmtd()
    node.start()
    with contextlib.suppress(subprocess.TimeoutExpired):
        command.wait(0.5)  # it asks the new one again, which is fine
    command.wait(60)


def names(node):
    return [v["name"] for v in node.cli_json("volume", "list")]


def state(node):
    return node.cli_json("volume", "info", "v")["state"]


def stop_and_delete(node):
    if state(node) == "started":
        node.cli("volume", "stop", "v", "--yes")
    node.wait_states(["stopped"] * 3)
    node.cli("volume", "delete", "v", "--yes")
    for path in node.dirs["bricks"].iterdir():
        path.unlink()


def test_killed_during_create_there_is_a_whole_volume_or_none(node):
    for _ in range(ROUNDS):
        killed_during(node, *create_args(node))
        if names(node) == []:
            node.cli(*create_args(node), "--force")
        assert names(node) == ["v"]
        node.cli("volume", "start", "v")
        node.wait_states(["in-sync"] * 3)
        stop_and_delete(node)


def test_killed_during_start_it_is_started_or_not(node):
    node.cli(*create_args(node))
    for _ in range(ROUNDS):
        killed_during(node, "volume", "start", "v")
        if state(node) != "started":
            node.cli("volume", "start", "v")
        node.wait_states(["in-sync"] * 3)
        node.cli("volume", "stop", "v", "--yes")


def test_killed_during_stop_it_is_stopped_cleanly_or_runs(node):
    node.cli(*create_args(node))
    for _ in range(ROUNDS):
        node.cli("volume", "start", "v")
        node.wait_states(["in-sync"] * 3)
        killed_during(node, "volume", "stop", "v", "--yes")
        if state(node) == "started":
            node.wait_states(["in-sync"] * 3)
            node.cli("volume", "stop", "v", "--yes")
        node.wait_states(["stopped"] * 3)


def test_killed_during_delete_it_is_there_or_gone(node):
    for _ in range(ROUNDS):
        node.cli(*create_args(node))
        killed_during(node, "volume", "delete", "v", "--yes", longest=0.02)
        if names(node) == ["v"]:
            stop_and_delete(node)
        assert names(node) == []
        for path in node.dirs["bricks"].iterdir():
            path.unlink()


def test_terminated_and_started_again_it_adopts_its_bricks(volume):
    mnt = volume.mount()
    pids = [b["pid"] for b in volume.bricks()]
    epoch = volume.status()["view"]["epoch"]
    for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        volume.kill_mgmtd(how)
        (mnt / "f").write_text("without mgmtd")
        volume.start()
        volume.wait_states(["in-sync"] * 3)
        assert [b["pid"] for b in volume.bricks()] == pids
        assert volume.status()["view"]["epoch"] == epoch
    instance.wait_for("the client is known",
                      lambda: len(volume.status()["clients"]) == 1)


def test_a_start_waits_for_a_brick_that_signs_in_after_the_others(volume):
    """To a mgmtd that has just begun, all of them are still to come."""
    pid = volume.bricks()[1]["pid"]
    volume.kill_mgmtd()
    os.kill(pid, signal.SIGSTOP)
    try:
        volume.start()
        start = subprocess.Popen(
            [instance.program("clusterfs"), "volume", "start", "v", "--force",
             "--json"], env=volume.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE)
        instance.wait_for("the others have signed in", lambda: [
            s for i, s in enumerate(volume.states()) if i != 1]
            == ["in-sync"] * 2)
    finally:
        os.kill(pid, signal.SIGCONT)
    said, _ = start.communicate(timeout=60)
    assert start.returncode == 0
    assert json.loads(said)["warnings"] == []
    volume.wait_states(["in-sync"] * 3)


def test_a_stop_waits_for_bricks_that_know_of_mounts(volume):
    """A mgmtd that has just begun has not heard of any."""
    mnt = volume.mount()
    pids = [b["pid"] for b in volume.bricks()]
    volume.kill_mgmtd()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        volume.start()
        stop = subprocess.Popen(
            [instance.program("clusterfs"), "volume", "stop", "v", "--yes"],
            env=volume.env, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        log = volume.dirs["log"] / "clusterfs-mgmtd.log"
        instance.wait_for("it was asked",
                          lambda: "cli: volume-stop v" in log.read_text())
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    _, said = stop.communicate(timeout=60)
    assert stop.returncode != 0 and "is mounted on" in said
    assert state(volume) == "started"
    (mnt / "f").write_text("goes on")
    volume.wait_states(["in-sync"] * 3)
    assert [b["pid"] for b in volume.bricks()] == pids


def test_a_client_that_died_while_mgmtd_was_away_is_closed(volume):
    mnt = volume.mount()
    (pid,) = volume.client_pids(mnt)
    volume.kill_mgmtd()
    os.kill(pid, signal.SIGKILL)
    subprocess.run(["umount", "-l", str(mnt)], check=True)
    volume.start()
    volume.wait_states(["in-sync"] * 3)
    instance.wait_for("its session is closed",
                      lambda: volume.status()["clients"] == [])
    volume.umount(volume.mount())


def end_everything(node, how):
    """As a reboot does: mgmtd first, then the bricks."""
    pids = [b["pid"] for b in node.bricks()]
    node.kill_mgmtd(how)
    for pid in pids:
        os.kill(pid, how)
    instance.wait_for("bricks end",
                      lambda: not any(map(instance.alive, pids)))


def test_after_a_clean_reboot_all_bricks_are_in_sync(volume):
    mnt = volume.mount()
    (mnt / "f").write_text("kept")
    volume.umount(mnt)
    end_everything(volume, signal.SIGTERM)
    volume.start()
    volume.wait_states(["in-sync"] * 3)
    assert (volume.mount() / "f").read_text() == "kept"


def test_after_a_crash_of_everything_one_brick_serves(volume):
    mnt = volume.mount()
    (mnt / "f").write_text("kept")
    volume.umount(mnt)
    end_everything(volume, signal.SIGKILL)
    volume.start()
    volume.wait_states(["in-sync", "out", "out"])
    assert (volume.mount() / "f").read_text() == "kept"


def test_a_create_that_fails_leaves_nothing_behind(node):
    (node.dirs["bricks"] / "b3.img").mkdir()
    assert "directory" in node.refused(*create_args(node))
    (node.dirs["bricks"] / "b3.img").rmdir()
    message = node.refused("volume", "create", "v", "replica", 3,
                           *images(node), "--brick-size", "8000T")
    assert "room" in message or "space" in message or "large" in message
    assert list(node.dirs["bricks"].iterdir()) == []
    assert names(node) == []


def test_a_configuration_that_was_rolled_back_is_noticed(volume):
    volume.kill_mgmtd(signal.SIGTERM)
    lib = volume.dirs["lib"]
    shutil.copytree(lib, volume.root / "old")
    volume.start()
    volume.wait_states(["in-sync"] * 3)
    mnt = volume.mount()
    os.kill(volume.bricks()[2]["pid"], signal.SIGKILL)
    volume.wait_states(["in-sync", "in-sync", "out"])
    (mnt / "f").write_text("without the third")
    epoch = volume.status()["view"]["epoch"]

    volume.kill_mgmtd(signal.SIGTERM)
    shutil.rmtree(lib)
    shutil.copytree(volume.root / "old", lib)
    volume.start()
    instance.wait_for("the bricks' memory is noticed",
                      lambda: "never had" in volume.status()["problem"])
    old = volume.status()["view"]["epoch"]
    assert old < epoch
    # The old one says that all are in sync: the third brick lacks "f".
    assert (mnt / "f").read_text() == "without the third"
    (mnt / "f").write_text("in the bricks' own view")
    assert (mnt / "f").read_text() == "in the bricks' own view"
    os.kill(volume.bricks()[0]["pid"], signal.SIGKILL)
    time.sleep(0.5)
    status = volume.status()
    assert status["view"]["epoch"] == old and "never had" in status["problem"]
    assert "never had" in volume.cli("volume", "status", "v").stdout


def test_told_to_end_while_it_asks_a_brick_it_ends(volume):
    pid = volume.bricks()[1]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        asking = subprocess.Popen(
            [instance.program("clusterfs"), "volume", "profile", "v", "info"],
            env=volume.env, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        time.sleep(0.2)  # it is not answered
        volume.kill_mgmtd(signal.SIGTERM)
    finally:
        os.kill(pid, signal.SIGCONT)
    volume.start()
    asking.wait(30)
    volume.wait_states(["in-sync"] * 3)


def test_two_mgmtds_never_share_a_directory(node):
    done = subprocess.run(
        [instance.program("clusterfs-mgmtd"), "--pid-file",
         str(node.root / "other.pid")], env=node.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert str(node.dirs["lib"]) in done.stderr
    assert node.cli_json("volume", "list") == []


def test_a_brick_that_dies_again_and_again_is_given_up_and_forgiven(volume):
    def kill():
        brick = volume.bricks()[1]
        if brick["pid"] and brick["state"] in ("out", "in-sync"):
            with contextlib.suppress(ProcessLookupError):  # killed, not noted
                os.kill(brick["pid"], signal.SIGKILL)
        return brick["state"] == "faulty"

    instance.wait_for("the brick is faulty", kill, 30)
    assert "signal 9" in volume.bricks()[1]["reason"]
    volume.cli("volume", "start", "v", "--force")
    volume.wait_states(["in-sync", "out", "in-sync"])


def test_a_brick_that_dies_while_it_is_stopped_is_told_of(volume):
    """A brick that hangs is asked to end, and is killed before it can."""
    one, pid, three = (b["pid"] for b in volume.bricks())
    others = one, three
    os.kill(pid, signal.SIGSTOP)
    stop = subprocess.Popen(
        [instance.program("clusterfs"), "volume", "stop", "v", "--yes"],
        env=volume.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    instance.wait_for("the others have ended",
                      lambda: not any(map(instance.alive, others)))
    os.kill(pid, signal.SIGKILL)
    assert stop.wait(30) == 0
    volume.wait_states(["stopped"] * 3)
    log = (volume.dirs["log"] / "clusterfs-mgmtd.log").read_text()
    (line,) = [x for x in log.splitlines() if "did not end well" in x]
    assert "WARNING" in line and str(volume.brick_path(2)) in line
    assert "signal 9" in line and "v-2.log" in line
    assert log.count("has stopped") == 2


def test_a_misspelt_name_is_answered_with_the_right_one(volume):
    volume.cli("volume", "stop", "v", "--yes")
    node = volume
    node.create("archive", bricks=1, size="64M", first=4)
    assert "'archive'" in node.refused("volume", "start", "archve")
