# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""Nodes that come and go: who is taken in, and who is not."""
import json
import time

import pool
from runtime import wait_for


def token(n, *more):
    return n.json("peer", "token", *more)["token"]


def peers(n):
    """Name to whether it is up, as @n sees it."""
    return {p["name"]: p["up"] for p in n.json("peer", "list")["peers"]}


def names(c):
    return [n.name for n in c]


def join(n, by):
    n.clusterfs("peer", "join", "--token", token(by), timeout=120)


def all_up(c):
    for n in c:
        wait_for("%s sees all of %s" % (n.name, names(c)),
                 lambda: peers(n) == {name: True for name in names(c)})


def test_three_nodes_form(cluster):
    c = cluster(3)
    c[1].clusterfs("cluster", "create")
    for n in (c[2], c[3]):
        join(n, c[1])
    all_up(c)
    numbers = {p["name"]: p["number"]
               for p in c[3].json("peer", "list")["peers"]}
    assert sorted(numbers.values()) == [1, 2, 3]


def two(cluster):
    c = cluster(3)
    c[1].clusterfs("cluster", "create")
    join(c[2], c[1])
    return c


def die(n):
    """mgmtd is killed, and started again."""
    n.signal("clusterfs-mgmtd")

    def back():  # the service may notice late that it is gone
        n.service("start")
        return n.pids("clusterfs-mgmtd")
    wait_for("mgmtd is back", back)


def is_nobody(n):
    """Its mgmtd begins anew when it was detached."""
    done = n.clusterfs("peer", "list", "--json", check=False)
    return done.returncode == 0 and not json.loads(done.stdout)["founded"]


def revision(n):
    return n.json("cluster", "status")["revision"]


def test_an_empty_node_is_invited(cluster):
    c = cluster(2)
    c[1].clusterfs("cluster", "create")
    t = token(c[2])
    assert "is of no cluster itself" in c[2].refused(
        "peer", "probe", "--token", token(c[1]))
    c[1].clusterfs("peer", "probe", "n2", "--token", t, timeout=120)
    all_up(c)


def test_tokens_that_are_not_good_change_nothing(cluster):
    c = two(cluster)
    used, old = token(c[1]), c[1].json("peer", "token", "--for", "1s")
    n = c[3]
    n.clusterfs("peer", "join", "--token", used)
    n1 = n.json("peer", "list")["peers"]
    assert len(n1) == 3
    c[1].clusterfs("peer", "detach", "n3", "--yes", timeout=60)
    wait_for("n3 is nobody's", lambda: is_nobody(n))
    wait_for("a token is over", lambda: time.time() > old["end"] + 1)
    pool.wait_formed([c[1], c[2]])  # its etcd makes no more changes either
    before = revision(c[1])
    good = token(c[1])
    assert revision(c[1]) == before + 1
    for t, why in ((used, "used already"), (old["token"], "is over"),
                   (good[:-1], "not a whole token"),
                   (good[:40] + ("A" if good[40] != "A" else "B") + good[41:],
                    "mistyped"), ("hello", "not a token")):
        assert why in n.refused("peer", "join", "--token", t), t
        assert not n.json("peer", "list")["founded"]
    assert revision(c[1]) == before + 1
    assert "is refused" in c[1].sh("cat /var/log/clusterfs/*mgmtd.log")
    n.clusterfs("peer", "join", "--token", good, timeout=60)


def test_only_who_is_empty_is_taken_in(cluster):
    c = cluster(3)
    for i in (1, 2):
        c[i].clusterfs("cluster", "create")
    t = token(c[1])
    assert "of a cluster already" in c[2].refused("peer", "join", "--token", t)
    # A member cannot be invited, whatever the token.
    assert "of a cluster already" in c[2].refused("peer", "probe", "--token",
                                                  t)
    # A token of one cluster at another's node.
    assert "not who made the token" in c[3].refused(
        "peer", "join", "n2", "--token", t)
    assert peers(c[1]) == {"n1": True}
    assert peers(c[2]) == {"n2": True}


def test_a_detached_node_is_refused_until_it_joins_anew(cluster):
    c = two(cluster)
    join(c[3], c[1])
    all_up(c)
    # It cannot be told: it must be refused all the same.
    c[3].service("stop")
    c[1].clusterfs("peer", "detach", "n3", "--yes", timeout=60)
    c[3].service("start")
    for n in (c[1], c[2]):
        wait_for("%s knows" % n.name, lambda: sorted(peers(n)) == ["n1", "n2"])
    wait_for("it is refused",
             lambda: not any(up for name, up in peers(c[3]).items()
                             if name != "n3"))
    assert "of a cluster already" in c[3].refused(
        "peer", "join", "--token", token(c[1]))
    c[3].clusterfs("peer", "detach", "n3", "--force", "--yes")
    wait_for("n3 is nobody's", lambda: is_nobody(c[3]))
    join(c[3], c[2])
    all_up(c)
    numbers = [p["number"] for p in c[1].json("peer", "list")["peers"]]
    assert sorted(numbers) == [1, 2, 4]


def test_a_wiped_node_takes_its_own_place(cluster):
    c = two(cluster)
    join(c[3], c[1])
    all_up(c)
    c[3].crash()
    c[3].wipe()
    c[3].boot()
    c[3].service("start") # nothing is enabled there any more
    assert "is a member already" in c[3].refused(
        "peer", "join", "--token", token(c[1]))
    wait_for("n1 misses the old n3", lambda: not peers(c[1])["n3"])
    assert "is up" in c[1].refused("peer", "token", "--replace", "n2")
    c[3].clusterfs("peer", "join", "--token",
                   token(c[1], "--replace", "n3"), timeout=120)
    all_up(c)


def test_a_node_with_bricks_is_detached_by_force_only(cluster):
    c = two(cluster)
    c[2].clusterfs("volume", "create", "v", "n2:/srv/b.img", "--brick-size",
                   "500M", "--sparse")
    assert "has a brick" in c[1].refused("peer", "detach", "n2", "--yes")
    c[1].clusterfs("peer", "detach", "n2", "--yes", "--force", timeout=60)
    assert list(peers(c[1])) == ["n1"]


def test_machines_join_by_a_file(cluster):
    c = cluster(2)
    c[1].clusterfs("cluster", "create")
    t = token(c[1])
    c[2].service("stop")
    c[2].sh("umask 077; echo %s >/etc/clusterfs/join-token" % t)
    c[2].service("start")
    all_up(c)
    wait_for("the file is used up", lambda: c[2].run(
        "test", "-e", "/etc/clusterfs/join-token", check=False).returncode)


def test_a_join_that_is_cut_off_goes_on(cluster):
    """The joiner, or who takes it in, dies at many points of it."""
    c = cluster(3)
    c[1].clusterfs("cluster", "create")
    for victim, n in ((1, c[2]), (3, c[3])):
        t = token(c[1])
        p = n.popen("clusterfs", "peer", "join", "--token", t)
        wait_for("it began", lambda: "joining" in n.sh(
            "cat /var/log/clusterfs/*mgmtd.log"))
        die(c[victim])
        p.wait()

        def member():
            return n.json("peer", "list")["founded"]
        if not member():
            n.clusterfs("peer", "join", "--token", token(c[1]),
                        check=False, timeout=60)
        wait_for("%s is a member" % n.name, member, 40)
    all_up(c)


def test_nodes_that_join_at_the_same_time_all_get_in(cluster):
    c = cluster(4)
    c[1].clusterfs("cluster", "create")
    joining = [n.popen("clusterfs", "peer", "join", "--token", token(c[1]))
               for n in (c[2], c[3], c[4])]
    assert [p.wait() for p in joining] == [0, 0, 0]
    all_up(c)
    numbers = [p["number"] for p in c[1].json("peer", "list")["peers"]]
    assert sorted(numbers) == [1, 2, 3, 4]


def test_of_two_that_come_under_one_name_one_gets_in(cluster):
    c = cluster(3)
    c[1].clusterfs("cluster", "create")
    c[3].service("stop")
    c[3].sh("hostname n2; rm -rf /var/lib/clusterfs/*")
    c[3].service("start")
    # Both are looked at before the first is in: that takes an etcd.
    joining = [n.popen("clusterfs", "peer", "join", "--token", t)
               for n, t in [(n, token(c[1])) for n in (c[2], c[3])]]
    assert sorted(p.wait() for p in joining) == [0, 1]
    wait_for("it is up", lambda: peers(c[1]) == {"n1": True, "n2": True})
    assert "was detached" not in c[1].sh("cat /var/log/clusterfs/*.log")


def test_one_token_lets_one_of_two_in(cluster):
    c = cluster(3)
    c[1].clusterfs("cluster", "create")
    t = token(c[1])
    joining = [n.popen("clusterfs", "peer", "join", "--token", t)
               for n in (c[2], c[3])]
    assert sorted(p.wait() for p in joining) == [0, 1]
    assert len(peers(c[1])) == 2


def test_a_node_that_gets_another_address_tells_the_others(formed):
    """A voter: lines, etcd's members and clients of its brick find it."""
    c = formed(3, True)
    mnt = c[1].mount("v")
    c[1].sh("echo before >%s/f" % mnt)
    c[3].move(33)
    wait_for("all know", lambda: all(
        {p["name"]: p["host"] for p in n.json("peer", "list")["peers"]}["n3"]
        == "10.47.0.33" for n in c), 40)

    def by_etcd(n):
        """Where its members are, and what is told of them."""
        return n.sh("""
            d=/var/lib/clusterfs/trust
            curl -s --cacert $d/node-ca.crt --cert $d/node.crt \\
                --key $d/node.key -d '{}' \\
                https://127.0.0.1:24008/v3/cluster/member/list""")
    for n in c:
        wait_for(lambda: "etcd of %s knows: %s" % (n.name, by_etcd(n)),
                 lambda: "https://10.47.0.33:24009" in by_etcd(n)
                 and "10.47.0.13" not in by_etcd(n).split("clientURLs")[0],
                 30)
    pool.wait_formed(list(c))
    # Only with it there is a majority now.
    c[2].crash()
    wait_for("a change", lambda: c[1].clusterfs(
        "peer", "token", check=False).returncode == 0, 20)
    c[1].sh("echo after >%s/f; sync %s/f" % (mnt, mnt), timeout=40)
    c[1].umount()
    # It is there also for who has been away.
    c[2].boot()
    pool.wait_formed(list(c))
    c[3].crash()
    c[3].boot()
    pool.wait_formed(list(c))


def conf(n, number):
    n.sh("""printf 'cluster:\\n\\tnode_count = 1\\n\\tname = web\\n\\n"""
         """node:\\n\\tip_port = 24007\\n\\tip_address = %s\\n\\tnumber = %d\\n"""
         """\\tname = %s\\n\\tcluster = web\\n' >/etc/clusterfs/cluster.conf"""
         % (n.address, number, n.name))


def test_who_joins_takes_its_number_from_cluster_conf(cluster):
    c = cluster(4)
    for n, number in ((c[1], 3), (c[2], 7), (c[3], 7), (c[4], 0)):
        conf(n, number)
    c[1].clusterfs("cluster", "create")
    assert c[1].json("cluster", "status")["name"] == "web"
    for n in (c[2], c[3]):
        join(n, c[1])
    assert "numbers begin with 1" in c[4].refused("peer", "join", "--token",
                                                  token(c[1]))
    conf(c[4], 5)
    join(c[4], c[1])

    def numbers():
        return {p["name"]: p["number"]
                for p in c[1].json("peer", "list")["peers"]}
    assert numbers() == {"n1": 3, "n2": 7, "n3": 8, "n4": 5}
    assert "which another node has or had: it gets 8" in c[1].sh(
        "cat /var/log/clusterfs/*mgmtd.log")
    c[1].clusterfs("peer", "detach", "n4", "--yes", timeout=60)
    wait_for("n4 is nobody's", lambda: is_nobody(c[4]))
    join(c[4], c[1])
    assert numbers()["n4"] == 9
