# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""Options of a volume: checked, changed as a whole, and in force on bricks and
mounts that run.
"""
import signal

from runtime import wait_for


def dumps(n, program):
    """What the processes of a program say of themselves: a dictionary of
    "section key" for each."""
    n.sh("rm -f /run/clusterfs/dump.*")
    count = n.signal(program, signal.SIGUSR1)
    wait_for("%d dumps" % count, lambda: n.sh(
        "ls /run/clusterfs/dump.%s.* 2>/dev/null || :" % program).count("\n")
        == count)
    out = []
    for path in n.sh("ls /run/clusterfs/dump.*").split():
        section, d = "", {}
        for line in n.sh("cat " + path).splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif "=" in line:
                key, _, value = line.partition("=")
                d["%s %s" % (section, key)] = value
        out.append(d)
    return out


def all_say(n, program, key, value):
    return lambda: all(d.get(key) == value for d in dumps(n, program))


def test_options_take_effect_on_running_bricks_and_mounts(n):
    before = n.pids("clusterfs-brickd"), n.pids("clusterfs-client")
    n.clusterfs("volume", "set", "v", "storage.cache-size", "64M",
                "network.compression=lz4", "network.wait", "5s",
                "diagnostics.client-log-level", "error")
    wait_for("bricks have it", all_say(
        n, "clusterfs-brickd", "xlator.v-block option.cache-size", "64M"))
    wait_for("the mount has it", all_say(
        n, "clusterfs-client", "xlator.v-client-0 option.compression", "lz4"))
    assert all_say(n, "clusterfs-client",
                   "xlator.v-replicate option.network.wait", "5s")()
    n.sh("echo x >/mnt/v/x")
    def said():
        return int(n.sh("grep -c statedump /var/log/clusterfs/client-mnt-v.log"
                        " || :"))
    before_dump = said()
    dumps(n, "clusterfs-client")
    assert said() == before_dump
    n.clusterfs("volume", "reset", "v", "--yes")
    wait_for("bricks are as before", all_say(
        n, "clusterfs-brickd", "xlator.v-block option.cache-size", "256M"))
    wait_for("the mount's log is as before", lambda: dumps(
        n, "clusterfs-client") and said() > before_dump)
    assert (n.pids("clusterfs-brickd"), n.pids("clusterfs-client")) == before
    assert n.sh("cat /mnt/v/x") == "x\n"


def test_a_shorter_checkpoint_interval_counts_at_once(n):
    def checkpoints():
        return [int(d["xlator.v-block checkpoints"])
                for d in dumps(n, "clusterfs-brickd")]

    n.clusterfs("volume", "set", "v", "storage.checkpoint-interval", "100ms")
    first = checkpoints()
    def many():
        for _ in range(10):
            n.sh("echo x >>/mnt/v/f")
        return min(b - a for a, b in zip(first, checkpoints())) >= 4
    # Two, if the default counted; each waits for a flush of a busy disk.
    wait_for("four checkpoints", many, 12)


def test_what_needs_a_restart_says_so_and_holds_nothing_else_up(n):
    said = n.json("volume", "set", "v", "storage.grow", "off",
                  "client.attribute-cache", "10")
    assert {o["option"]: o["takes_effect"] for o in said["changed"]} == {
        "storage.grow": "at the next start of the bricks",
        "client.attribute-cache": "at the next mount"}
    n.clusterfs("volume", "set", "v", "storage.small-file", "100",
                "network.wait", "7s", "storage.discard", "on")
    wait_for("bricks have the one", all_say(
        n, "clusterfs-brickd", "xlator.v-block option.small-file", "100"))
    wait_for("and the other", all_say(
        n, "clusterfs-brickd", "xlator.v-block option.discard", "on"))
    assert all_say(n, "clusterfs-brickd", "xlator.v-block option.grow",
                   "on")()
    wait_for("the mount has the one", all_say(
        n, "clusterfs-client", "xlator.v-replicate option.network.wait",
        "7s"))
    n.umount()
    n.clusterfs("volume", "stop", "v", "--yes")
    n.clusterfs("volume", "start", "v")
    n.mount("v")
    assert all_say(n, "clusterfs-brickd", "xlator.v-block option.grow",
                   "off")()
    assert all_say(n, "clusterfs-client",
                   "xlator.v-dlm-lock option.attribute-cache", "10")()


def test_a_wrong_option_changes_nothing_and_says_what_is_right(n):
    before = n.json("volume", "info", "v")
    assert "do you mean 'network.compression'" in n.refused(
        "volume", "set", "v", "network.compresion", "lz4")
    assert "expected off or lz4" in n.refused(
        "volume", "set", "v", "storage.grow", "off", "network.compression",
        "lz5")
    assert "expected 4M to 1T" in n.refused(
        "volume", "set", "v", "storage.cache-size", "3M")
    assert "do you mean 'v'" in n.refused("volume", "get", "w")
    assert "expected off or lz4" in n.refused(
        "volume", "create", "w", "localhost:/srv/w.img",
        "--option", "network.compression=x")
    assert n.json("volume", "info", "v") == before


def test_get_shows_where_a_value_is_from(n):
    n.clusterfs("volume", "set", "v", "network.wait", "9s")
    got = {o["option"]: o for o in
           n.json("volume", "get", "v", "all")["options"]}
    assert got["network.wait"]["value"] == "9s"
    assert got["network.wait"]["from"] == "volume"
    assert got["network.wait"]["default"] == "15s"
    assert got["storage.cache-size"]["from"] == "default"
    assert got["storage.grow"]["takes_effect"].startswith("at the next start")
    shown = n.clusterfs("volume", "get", "v", "network.wait").stdout
    assert "9s" in shown and "15s" in shown


def test_changes_by_two_at_once_are_both_there(n):
    keys = ["network.wait", "storage.small-file", "storage.cache-size",
            "storage.checkpoint-interval"]
    values = ["3s", "300", "32M", "3s"]
    running = [n.popen("clusterfs", "volume", "set", "v", k, v)
               for k, v in zip(keys, values)]
    assert [p.wait(30) for p in running] == [0] * len(keys)
    assert n.json("volume", "info", "v")["options"] == dict(zip(keys, values))
