# SPDX-License-Identifier: Apache-2.0
# needs: root fuse long
"""Nodes that come and go: what takes its time."""
import json
import time

from runtime import wait_for
from test_peers import all_up, die, join, peers, token


def certificate(n):
    return n.sh("cat /var/lib/clusterfs/trust/node.crt")


def test_certificates_renew_themselves_and_nobody_notices(cluster):
    """With a life of 24 s: voters, a node that only follows, and etcd."""
    c = cluster(4)
    for n in c:
        n.service("stop")
        n.sh("sed -i 's/^CLUSTERFS_MGMTD_OPTIONS=.*/"
             "CLUSTERFS_MGMTD_OPTIONS=\"--certificate-life 24s\"/' "
             "/etc/default/clusterfs")
        n.service("start")
    c[1].clusterfs("cluster", "create")
    for n in (c[2], c[3], c[4]):
        join(n, c[1])
    all_up(c)
    first = {n.name: certificate(n) for n in c}
    end = time.time() + 40  # the first ones are over long since
    for n in c:
        wait_for("%s has another certificate" % n.name,
                 lambda: certificate(n) != first[n.name], 30)
    wait_for("the first certificates are over", lambda: time.time() > end, 60,
             0.5)
    all_up(c)
    for n in c:
        token(n)  # a change, from each
    c[2].signal("etcd")
    c[2].service("stop")
    c[2].service("start")
    all_up(c)
    token(c[2])


def settled(c, n, others):
    """Whether @n is a member for all, or for nobody."""
    done = n.clusterfs("peer", "list", "--json", check=False)
    if done.returncode != 0:
        return None
    own = json.loads(done.stdout)
    theirs = [peers(o) for o in others]
    if own.get("joining"):
        return None
    if not own["founded"] and all(n.name not in t for t in theirs):
        return "nobody"
    if own["founded"] and all(t.get(n.name) for t in theirs):
        return "member"
    return None


def test_a_join_killed_at_any_time_is_done_or_not(cluster):
    c = cluster(3)
    c[1].clusterfs("cluster", "create")
    join(c[2], c[1])
    n, others = c[3], [c[1], c[2]]
    seen = set()
    for i, delay in enumerate((0, 0.02, 0.05, 0.09, 0.14, 0.2, 0.3, 0.45)):
        p = n.popen("clusterfs", "peer", "join", "--token", token(c[1]))
        time.sleep(delay)  # somewhere in it
        victim = (n, c[1])[i % 2]
        die(victim)
        p.wait()
        how = wait_for("n3 is a member or not, after %g s" % delay,
                       lambda: settled(c, n, others), 40)
        seen.add(how)
        if how == "member":
            c[2].clusterfs("peer", "detach", "n3", "--yes", timeout=60)
            wait_for("n3 is nobody's", lambda: settled(c, n, others) ==
                     "nobody", 40)
    assert "member" in seen
