# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the scenarios. Where nodes cannot be made, all are skipped with
the reason. When one fails, the logs of all its nodes are shown.
"""
import contextlib
import fcntl
import os
import pathlib
import shutil
import tempfile

import pytest

import node
import pool
import runtime


def pytest_sessionstart(session):
    node.sweep()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "report_" + call.when, outcome.get_result())


@pytest.fixture(scope="session")
def nodes_can_be_made():
    reason = runtime.why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def cluster(request, nodes_can_be_made):
    """cluster(3) -> three nodes; the arguments are those of node.Cluster."""
    made = []

    def make(*args, **kw):
        if kw.get("ipv6") and runtime.choose() is not runtime.Namespaces:
            pytest.skip("nodes without IPv4 are namespaces")
        made.append(node.Cluster(*args, **kw))
        return made[-1]

    yield make
    failed = getattr(request.node, "report_call", None)
    for c in made:
        if failed is None or failed.failed:
            print(c.logs())
            for n in c:
                with contextlib.suppress(Exception):  # it may hang
                    print(n.client_dump())
        c.close()


@pytest.fixture
def n(cluster):
    """A node with volume v of three bricks, mounted on /mnt/v."""
    n = cluster(1)[1]
    n.clusterfs("volume", "create", "v", "replica", 3,
                *("localhost:/srv/%d.img" % i for i in (1, 2, 3)),
                "--brick-size", "1G", "--sparse")
    n.clusterfs("volume", "start", "v")
    n.mount("v")
    return n


@contextlib.contextmanager
def folder_of_saved():
    """That of all files of a run, if this is one of tests/run.py."""
    shared = os.environ.get("CLUSTERFS_TEST_SHARED")
    if shared:
        yield pathlib.Path(shared)
        return
    with tempfile.TemporaryDirectory(prefix=node.PREFIX,
                                     dir=node.work_dir()) as top:
        node.own(pathlib.Path(top))
        yield pathlib.Path(top)


def form_and_save(count, with_volume, folder):
    """@folder is there when all is in it."""
    new = folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)  # of one that failed
    with node.Cluster(count) as c:
        try:
            pool.form(c)
            if with_volume:
                pool.volume(c[1], list(c))
        except BaseException:
            print(c.logs())
            raise
        c.save(new)
    new.rename(folder)


@pytest.fixture(scope="session")
def saved(nodes_can_be_made):
    """saved(nodes, with_volume) -> disks of a cluster that was formed once."""
    with folder_of_saved() as top:
        def get(count, with_volume):
            folder = top / ("%d%s" % (count, "v" if with_volume else ""))
            with open(folder.with_suffix(".lock"), "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not folder.exists():
                    form_and_save(count, with_volume, folder)
            return folder
        yield get


@pytest.fixture
def formed(cluster, saved):
    """formed(3) -> three nodes that are a cluster; formed(3, True) -> with the
    volume v on a disk of each, started. They have just been turned on. After
    them come as many @others as wanted, which are of no cluster."""
    def make(count=3, with_volume=False, others=0):
        c = cluster(count + others, saved=saved(count, with_volume))
        nodes = list(c)[:count]
        try:
            pool.wait_formed(nodes)
            if with_volume:
                pool.wait_states(c[1], **{n.name: "in-sync" for n in nodes})
        except AssertionError:
            # What is printed at the end is not shown of a set-up that failed.
            print(c.logs())
            for n in nodes:
                print(n.sh("ls -laR /var/lib/clusterfs;"
                           "cat /var/lib/clusterfs/engine.json"))
            raise
        return c
    return make
