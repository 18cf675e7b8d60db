# SPDX-License-Identifier: Apache-2.0
# needs: root fuse
"""What bricks tell of what they did: volume profile, top, statedump."""


def fops(n):
    """Of each brick."""
    return [b["fops"] for b in n.json("volume", "profile", "v",
                                      "info")["bricks"]]


def test_a_profile_counts_what_was_done_since_its_start(n):
    n.sh("for i in $(seq 30); do echo $i >/mnt/v/before$i; done")
    n.clusterfs("volume", "profile", "v", "start")
    assert all("create" not in f for f in fops(n))
    n.sh("for i in $(seq 20); do echo $i >/mnt/v/$i; done;"
         "dd if=/dev/zero of=/mnt/v/big bs=1M count=3 conv=fsync 2>/dev/null")
    for f in fops(n):
        assert f["create"]["count"] == 21
        assert f["write"]["bytes"] >= 3 << 20
        assert f["fsync"]["count"] >= 1
        for c in (f["create"], f["write"]):
            assert 0 < c["min_us"] <= c["mean_us"] <= c["max_us"]
            assert c["min_us"] <= c["p50_us"] <= c["p99_us"]
    shown = n.clusterfs("volume", "profile", "v", "info").stdout
    assert shown.count("Brick n1:/srv/") == 3 and "P99" in shown
    n.clusterfs("volume", "profile", "v", "stop")
    n.sh("echo x >/mnt/v/untimed")
    for f in fops(n):
        assert f["create"]["count"] == 22
        assert f["create"]["timed"] == 21


def test_top_names_the_busiest_file_once(n):
    n.clusterfs("volume", "profile", "v", "start")
    n.sh("for i in $(seq 200); do echo $i >/mnt/v/quiet$i; done;"
         "for i in $(seq 50); do echo $i >>'/mnt/v/bu\\sy \"é'; sync -d "
         "'/mnt/v/bu\\sy \"é'; done")
    top = n.json("volume", "top", "v")
    inode = int(n.sh("stat -c %i /mnt/v/bu*"))
    first = top["inodes"][0]
    assert first["inode"] == inode
    assert first["name"] == 'bu\\sy "é'
    assert 50 <= first["changes"] <= 52
    assert [i["inode"] for i in top["inodes"]].count(inode) == 1
    assert top["operations"][0]["operation"] in ("create", "write", "fsync")
    assert top["silent"] == []
    assert "NAME" in n.clusterfs("volume", "top", "v").stdout


def test_a_brick_that_does_not_answer_is_named_and_the_others_tell(n):
    n.clusterfs("volume", "stop", "v", "--yes", "--force")
    assert "not started" in n.refused("volume", "top", "v")
    n.clusterfs("volume", "start", "v")
    second = n.json("volume", "status", "v")["bricks"][1]
    n.sh("mv /srv/2.img /srv/x; kill -9 %d" % second["pid"])
    bricks = n.json("volume", "profile", "v", "info")["bricks"]
    assert len(bricks) == 3
    assert sum("error" in b for b in bricks) == 1
    assert all("fops" in b or b["error"] for b in bricks)


def test_a_statedump_of_each_brick_is_where_it_says(n):
    dumps = n.json("volume", "statedump", "v")["bricks"]
    assert len({d["file"] for d in dumps}) == 3
    for d in dumps:
        assert "[xlator.v-block]" in n.sh("cat " + d["file"])
