# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""How several nodes keep one configuration: an etcd on one, three or five of
them, whatever happens to those.
"""
import json
import random
import signal
import time

import pool
from runtime import wait_for

STATE = "/var/lib/clusterfs"


def status(n):
    return n.json("cluster", "status")


def node_of(n, name):
    """What @n says of the node called @name."""
    return next(p for p in status(n)["nodes"] if p["name"] == name)


def voters(n):
    return sorted(p["name"] for p in status(n)["nodes"]
                  if p["role"] == "voter" and p["etcd"] == "running")


def wait_voters(n, names, seconds=40):
    wait_for(lambda: "voters are %s: %s" % (names, status(n)),
             lambda: voters(n) == sorted(names), seconds)


def wait_current(n, seconds=20):
    wait_for(lambda: "%s is current: %s" % (n.name, status(n)),
             lambda: status(n)["current"], seconds)


def names(nodes):
    return [n.name for n in nodes]


def member(n):
    """Which of etcd's members @n believes to be; None: none."""
    return json.loads(n.host(STATE + "/engine.json").read_text()).get("member")


def change(n):
    """A change that any node can make; True when it was made."""
    done = n.clusterfs("peer", "token", "--json", check=False, timeout=60)
    return done.returncode == 0


def wait_change(n, seconds=20):
    wait_for("a change by %s" % n.name, lambda: change(n), seconds, 0.1)


def test_three_nodes_have_three_voters_and_any_one_may_be_lost(formed):
    c = formed(3)
    wait_voters(c[1], names(c))
    assert status(c[2])["engine"] == "etcd"
    assert status(c[1])["leader"] in names(c)
    for n in c:
        n.crash()
        others = [o for o in c if o is not n]
        wait_change(others[0])
        wait_change(others[1])
        n.boot()
        wait_voters(others[0], names(c))
        wait_current(n)


def test_two_nodes_have_one_voter(cluster):
    c = cluster(2)
    c[1].clusterfs("cluster", "create")
    pool.join(c[2], c[1])
    wait_voters(c[2], ["n1"])
    wait_change(c[2])
    c[2].crash()
    wait_change(c[1])
    c[2].boot()
    wait_current(c[2])
    c[1].crash()
    wait_for("n2 knows", lambda: not status(c[2])["current"])
    text = c[2].refused("peer", "token")
    assert "n1" in text and "cannot be changed" in text


def test_without_a_majority_it_is_read_only_and_says_who_is_missing(formed):
    c = formed(3, True)
    mnt = c[1].mount("v")
    c[2].crash()
    c[1].sh("echo here > %s/f && sync %s/f" % (mnt, mnt))
    pool.wait_states(c[1], n2="out")
    wait_change(c[1])
    c[3].signal("etcd", signal.SIGSTOP)
    wait_for("n1 knows", lambda: not status(c[1])["current"])
    done = c[1].clusterfs("peer", "token", check=False)
    assert done.returncode == 1
    assert "n2" in done.stderr and "majority" in done.stderr
    shown = c[1].clusterfs("volume", "info", "v")
    assert "v" in shown.stdout and "n2" in shown.stderr
    c[1].sh("echo alive > %s/f && sync %s/f" % (mnt, mnt))
    # A new mgmtd serves what it knows.
    c[1].service("restart")
    assert c[1].json("volume", "info", "v")["state"] == "started"
    c[1].sh("grep -q alive %s/f" % mnt)
    c[3].signal("etcd", signal.SIGCONT)
    wait_change(c[1])
    c[1].umount()


def test_a_voter_that_lost_its_directory_is_added_as_another(formed):
    c = formed(3)
    wait_voters(c[1], names(c))
    before = member(c[2])
    c[2].service("stop")
    c[2].signal("etcd")
    c[2].sh("rm -rf %s/etcd" % STATE)
    wait_change(c[1])
    c[2].service("start")
    wait_for("n2 is another member",
             lambda: member(c[2]) not in (None, before), 60)
    wait_voters(c[1], names(c))
    wait_current(c[2])


def test_a_directory_that_was_put_back_is_not_believed(formed):
    c = formed(3)
    wait_voters(c[1], names(c))
    c[3].service("stop")
    c[3].signal("etcd")
    c[3].sh("cp -a %s/etcd /root/old" % STATE)
    c[3].service("start")
    wait_voters(c[1], names(c))
    for _ in range(30):
        assert change(c[1])
    wait_for("it is noted how far n3 got",
             lambda: c[3].host(STATE + "/engine.index").exists(), 40)
    # As old as the note of what has been seen makes it.
    c[3].service("stop")
    c[3].signal("etcd")
    c[3].sh("rm -rf %s/etcd && mv /root/old %s/etcd" % (STATE, STATE))
    c[3].sh("sed -i 's/\"index\": \"[0-9a-f]*\"/"
            "\"index\": \"00000000000fffff\"/' %s/engine.index" % STATE)
    c[3].service("start")
    wait_for("it is noticed",
             lambda: "old copy" in node_of(c[1], "n3")["problem"]
             or voters(c[1]) == ["n1", "n2", "n3"], 30)
    wait_voters(c[1], names(c))
    assert "put back from an old copy" in c[3].host(
        "/var/log/clusterfs/clusterfs-mgmtd.log").read_text()


def test_the_only_voter_can_be_detached(cluster):
    c = cluster(2)
    c[1].clusterfs("cluster", "create")
    pool.join(c[2], c[1])
    wait_voters(c[2], ["n1"])
    c[2].clusterfs("peer", "detach", "n1", "--yes", timeout=120)
    wait_voters(c[2], ["n2"])
    wait_change(c[2])
    wait_for("n1's etcd ends", lambda: not c[1].pids("etcd"))


def test_five_voters_bear_the_loss_of_two_and_become_three(cluster):
    c = cluster(5)
    pool.form(c)
    assert voters(c[1]) == names(c)
    for n in (c[4], c[5]):
        n.crash()
    wait_change(c[1])
    for n in (c[4], c[5]):
        n.boot()
    wait_voters(c[2], names(c), 60)
    c[2].clusterfs("peer", "detach", "n1", "--yes", timeout=120)
    wait_voters(c[2], ["n2", "n3", "n4"], 60)
    wait_change(c[5])


def test_a_voter_that_stands_still_for_a_while_stays_one(cluster):
    c = cluster(4)
    pool.form(c)
    was = pool.voters(c[1])
    (still,) = [n for n in c if n.name == was[-1]]
    before = member(still)
    for role in ("clusterfs-mgmtd", "etcd"):
        still.signal(role, signal.SIGSTOP)
    time.sleep(11)  # its lines are closed after 6 s
    for role in ("clusterfs-mgmtd", "etcd"):
        still.signal(role, signal.SIGCONT)
    pool.wait_formed(list(c))
    assert pool.voters(c[1]) == was
    assert member(still) == before


def test_killed_again_and_again_three_voters_come_of_three_nodes(cluster):
    """mgmtd and etcd of any node, at any point of founding and joining."""
    rng = random.Random(5)
    c = cluster(3)
    c[1].clusterfs("cluster", "create")
    for n in (c[2], c[3]):
        pool.join(n, c[1])
    for _ in range(15):
        n = c[rng.randrange(1, 4)]
        what = rng.choice(["clusterfs-mgmtd", "etcd"])
        n.signal(what)
        wait_for("a moment", lambda: True, 0.1)
        c[1].sh("sleep %.2f" % rng.uniform(0, 1.2))
    wait_voters(c[1], names(c), 60)
    for n in c:
        wait_current(n)
        wait_change(n)
    members = {p["name"]: p["role"] for p in status(c[1])["nodes"]}
    assert members == {"n1": "voter", "n2": "voter", "n3": "voter"}


def test_what_a_backup_holds_is_restored(formed, tmp_path):
    c = formed(3, True)
    c[1].clusterfs("cluster", "backup", "/root/b.json")
    mnt = c[1].mount("v")
    c[1].sh("echo kept > %s/f" % mnt)
    c[1].clusterfs("volume", "set", "v", "network.op-timeout", "3",
                   check=False)
    c[1].clusterfs("cluster", "restore", "/root/b.json", "--yes", timeout=120)
    wait_for("n1 is alone", lambda: status(c[1])["engine"] == "sqlite")
    for n in (c[2], c[3]):
        wait_for("%s knows that it must join" % n.name,
                 lambda: any("join again" in p
                             for p in status(n)["problems"]), 30)
        wait_for("its etcd ends", lambda: not n.pids("etcd"))
        pool.join(n, c[1])
    wait_voters(c[1], names(c), 60)
    wait_for("all bricks are in sync again", lambda: pool.states(c[1]) == {
        n.name: "in-sync" for n in c}, 30)
    c[1].sh("grep -q kept %s/f && echo more >> %s/f" % (mnt, mnt))
    c[1].umount()


def test_a_restore_does_not_bring_back_who_was_put_out(formed):
    c = formed(3)
    for name in "ab":
        c[1].clusterfs("client", "add", name, "-o", "/root/%s.pem" % name)
    c[1].clusterfs("cluster", "backup", "/root/b.json")
    c[1].clusterfs("client", "remove", "a", "--yes")
    c[1].clusterfs("client", "add", "c", "-o", "/root/c.pem")
    c[3].service("stop")
    c[1].clusterfs("peer", "detach", "n3", "--yes", timeout=60)
    said = c[1].clusterfs("cluster", "restore", "/root/b.json", "--yes",
                          timeout=120).stdout
    assert "stay out: a, n3" in said and "WARNING" not in said
    wait_for("n1 is alone", lambda: status(c[1])["engine"] == "sqlite")

    def asks(name):
        return c[1].clusterfs("--server", "n1", "--credentials",
                              "/root/%s.pem" % name, "volume", "list",
                              check=False).stderr
    assert "revoked" in asks("a")
    assert asks("b") == asks("c") == ""
    assert [x["name"] for x in c[1].json("client", "list")["clients"]] == [
        "b", "c"]
    assert [p["name"] for p in c[1].json("peer", "list")["peers"]] == [
        "n1", "n2"]
    assert "revoked" in c[3].refused("--server", "n1", "volume", "list")
    assert "revoked" not in c[2].refused("--server", "n1", "volume", "list")
    # Going on from there: who is put out now is on a newer list.
    c[1].clusterfs("client", "remove", "c", "--yes")
    wait_for("c is out", lambda: "revoked" in asks("c"))
    assert "revoked" in asks("a") and asks("b") == ""


def test_of_a_backup_and_its_disks_a_lost_node_is_made_again(cluster):
    c = cluster(1)
    pool.volume(c[1], [c[1]])
    mnt = c[1].mount("v")
    c[1].sh("echo kept > %s/f" % mnt)
    c[1].umount()
    c[1].clusterfs("cluster", "backup", "/root/b.json")
    backup = c[1].host("/root/b.json").read_text()
    c[1].shutdown()
    c[1].wipe()
    c[1].boot()
    c[1].service("start")
    assert not status(c[1])["founded"]
    c[1].host("/root/b.json").write_text(backup)
    said = c[1].clusterfs("cluster", "restore", "/root/b.json", "--yes",
                          timeout=60).stdout
    assert "WARNING: this node knew nothing" in said
    assert "the authorities' keys" in said
    pool.wait_states(c[1], n1="in-sync")
    mnt = c[1].mount("v")
    c[1].sh("grep -q kept %s/f" % mnt)
    c[1].umount()
    wait_change(c[1])


def test_when_most_voters_are_gone_for_good_one_node_goes_on(formed):
    c = formed(3)
    wait_voters(c[1], names(c))
    assert "nothing is lost" in c[3].refused("cluster", "rebuild", "--yes")
    c[1].crash()
    c[2].crash()
    wait_for("n3 knows", lambda: not status(c[3])["current"])
    c[3].clusterfs("cluster", "rebuild", "--yes", timeout=120)
    wait_for("n3 is alone", lambda: status(c[3])["engine"] == "sqlite")
    wait_change(c[3])
    # One that comes back is of the life before, and says so.
    c[1].boot()
    wait_for("n1 knows that it must join",
             lambda: any("join again" in p for p in status(c[1])["problems"]),
             30)
    pool.join(c[1], c[3])
    wait_current(c[1])
    wait_change(c[1])


def test_a_new_binary_is_taken_one_node_at_a_time(formed):
    c = formed(3)
    wait_voters(c[1], names(c))
    before = {n.name: n.pids("etcd") for n in c}
    for n in c:
        n.sh("cp /usr/bin/etcd /usr/bin/etcd.new && "
             "mv /usr/bin/etcd.new /usr/bin/etcd")

    def all_new():
        now = {n.name: n.pids("etcd") for n in c}
        assert sum(not pids for pids in now.values()) <= 1, now
        return all(now[k] and now[k] != before[k] for k in now)
    wait_for("each etcd is a new process", all_new, 40)
    wait_voters(c[1], names(c))
    for n in c:
        wait_current(n)
        wait_change(n)


def test_a_full_disk_is_named_and_got_over(formed):
    c = formed(3)
    wait_voters(c[1], names(c))
    c[2].fill_disk()
    c[2].signal("etcd")  # it preallocates when it starts
    wait_for(lambda: "n2 says what is the matter: %s" % node_of(c[1], "n2"),
             lambda: "space" in node_of(c[1], "n2")["problem"], 30)
    assert change(c[1])
    c[2].free_disk()
    wait_voters(c[1], names(c), 60)
    wait_current(c[2])


FILL = r"""
d=/var/lib/clusterfs/trust
v=$(head -c 75000 /dev/zero | base64 -w0)
for i in $(seq 200); do
    echo "{\"key\":\"$(echo -n /fill | base64)\",\"value\":\"$v\"}" |
    curl -s --cacert $d/node-ca.crt --cert $d/node.crt --key $d/node.key \
        -d @- https://127.0.0.1:24008/v3/kv/put | grep -q 'space exceeded' &&
    exit
done
exit 1
"""


def test_an_etcd_over_its_quota_is_named_and_got_over(formed):
    c = formed(3)
    for n in c:
        n.service("stop")
        n.signal("etcd")
        n.sh("echo 'CLUSTERFS_MGMTD_OPTIONS=\"--etcd-quota 6M\"' "
             ">>/etc/default/clusterfs")
        n.service("start")
    pool.wait_formed(list(c))
    c[2].sh(FILL)  # what changed again and again, in five minutes
    done = c[2].clusterfs("peer", "token", check=False)
    assert done.returncode == 0 or "over its quota" in done.stderr
    wait_change(c[2])
    log = "\n".join(n.sh("cat /var/log/clusterfs/clusterfs-mgmtd.log")
                    for n in c)
    assert "etcd is over its quota (" in log
    assert "it takes changes again" in log
    for n in c:
        wait_change(n)
    wait_for(lambda: "no problem is left: %s" % status(c[1])["problems"],
             lambda: not any("quota" in p for p in status(c[1])["problems"]))
    # And it keeps: there is room for more than it was.
    for _ in range(20):
        assert change(c[3])


def test_without_etcd_it_is_said_what_to_install(cluster):
    c = cluster(2)
    c[1].clusterfs("cluster", "create")
    c[1].sh("mount --bind /dev/null /usr/bin/etcd")
    text = c[2].refused("peer", "join", "--token",
                        c[1].json("peer", "token")["token"])
    assert "etcd-server" in text
    assert status(c[1])["engine"] == "sqlite"
    wait_change(c[1])
    c[1].sh("umount /usr/bin/etcd")
    pool.join(c[2], c[1])
    wait_voters(c[1], ["n1"])
