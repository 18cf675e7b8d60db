# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests. Without root, /dev/fuse or an installation
everything here is skipped, with the reason.
"""
import os
import pathlib
import shutil
import tempfile

import pytest

import instance


def why_not():
    if os.geteuid() != 0:
        return "needs root"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "needs /dev/fuse"
    try:
        instance.program("clusterfs")
    except FileNotFoundError as e:
        return str(e)
    return None


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "report_" + call.when, outcome.get_result())


@pytest.fixture
def node(request):
    """An instance with a running mgmtd; its logs are shown on failure."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    work = pathlib.Path(os.environ.get("CLUSTERFS_TEST_WORK", "/tmp"))
    work.mkdir(parents=True, exist_ok=True)
    root = tempfile.mkdtemp(prefix="cfs-", dir=work)
    n = instance.Instance(root)
    try:
        yield n.start()
    finally:
        failed = getattr(request.node, "report_call", None)
        if failed is not None and failed.failed:
            print(n.logs())
        n.destroy()
        shutil.rmtree(root)


@pytest.fixture
def volume(node):
    """The same, with volume v of three bricks, started."""
    node.create()
    node.cli("volume", "start", "v")
    return node
