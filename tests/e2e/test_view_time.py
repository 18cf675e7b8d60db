# SPDX-License-Identifier: Apache-2.0
# needs: quiet
"""How long a set is without a view after the death of a brick: from the signal
to the moment at which mgmtd has committed the next view, as its log says.
"""
import datetime
import os
import re
import signal
import statistics
import time

import instance

PROMISE = 0.2  # s


def committed(node, epoch):
    """When the view of @epoch was, in s since 1970; None: not yet."""
    log = (node.dirs["log"] / "clusterfs-mgmtd.log").read_text()
    found = re.search(r"^(\S+)Z INFO view: .*view of epoch %d with" % epoch,
                      log, re.M)
    return found and datetime.datetime.fromisoformat(
        found[1] + "+00:00").timestamp()


def test_a_killed_brick_is_out_of_the_view_within_200_ms(node):
    node.create(bricks=5, size="256M")
    node.cli("volume", "start", "v")
    node.wait_states(["in-sync"] * 5)
    took = []
    for brick in node.bricks()[:0:-1]:
        epoch = node.status()["view"]["epoch"] + 1
        began = time.time()
        os.kill(brick["pid"], signal.SIGKILL)
        at = instance.wait_for("a new view", lambda: committed(node, epoch))
        took.append(at - began)
    print("ms from kill to view:", ["%.1f" % (1000 * t) for t in took])
    assert statistics.median(took) < PROMISE
