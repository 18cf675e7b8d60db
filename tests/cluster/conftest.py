# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the scenarios. Where nodes cannot be made, all are skipped with
the reason. When one fails, the logs of all its nodes are shown.
"""
import pytest

import node
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
        made.append(node.Cluster(*args, **kw))
        return made[-1]

    yield make
    failed = getattr(request.node, "report_call", None)
    for c in made:
        if failed is None or failed.failed:
            print(c.logs())
        c.close()
