# SPDX-License-Identifier: Apache-2.0
"""Real trees on a mount: copied, compared, built in, kept over a restart, and
the same on every brick.
"""
import os
import pathlib
import shutil
import subprocess

import instance
import tree

HERE = pathlib.Path(__file__).resolve()
PROJECT = HERE.parents[2]
SOURCES = ["/usr/include", "/usr/share/doc"]


def copy(source, target):
    subprocess.run(["cp", "-a", "--", str(source), str(target)], check=True)


def export_project(target):
    """The project as it is in the work tree, without what builds left."""
    target.mkdir()
    files = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached",
         "--others", "--exclude-standard"], cwd=PROJECT, check=True,
        stdout=subprocess.PIPE).stdout.split(b"\0")
    for name in filter(None, files):
        source = os.path.join(os.fsencode(PROJECT), name)
        place = os.path.join(os.fsencode(target), name)
        if os.path.lexists(source):
            os.makedirs(os.path.dirname(place), exist_ok=True)
            shutil.copy2(source, place, follow_symlinks=False)


def listings(node):
    """What each brick holds, read off line."""
    return [node.run("debugfs.clusterfs", "tree", node.brick_path(i),
                     timeout=600).stdout for i in (1, 2, 3)]


def test_trees_survive_copy_restart_and_are_the_same_on_all_bricks(volume):
    mnt = volume.mount()
    before = {}
    for source in SOURCES:
        name = source.strip("/").replace("/", "-")
        copy(source, mnt / name)
        before[name] = tree.snapshot(source)
    export_project(mnt / "project")
    before["project"] = tree.snapshot(mnt / "project")

    for name, expected in before.items():
        assert tree.differences(expected, tree.snapshot(mnt / name)) == []

    volume.umount(mnt)
    volume.cli("volume", "stop", "v", "--yes")
    volume.cli("volume", "start", "v")
    volume.wait_states(["in-sync"] * 3)
    mnt = volume.mount()
    for name, expected in before.items():
        assert tree.differences(expected, tree.snapshot(mnt / name)) == []

    volume.umount(mnt)
    volume.cli("volume", "stop", "v", "--yes")
    for i in (1, 2, 3):
        volume.run("fsck.clusterfs", volume.brick_path(i), timeout=600)
    first, *others = listings(volume)
    assert len(first.splitlines()) > sum(map(len, before.values()))
    for other in others:
        assert other == first


def test_this_project_builds_and_passes_its_unit_tests_on_a_mount(volume):
    mnt = volume.mount()
    export_project(mnt / "src")
    build = mnt / "build"

    def run(*argv):
        done = subprocess.run(argv, cwd=mnt, text=True, timeout=1200,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0, "\n".join(
            [line for line in done.stdout.splitlines() if "FAIL" in line]
            + [done.stdout[-4000:]])

    run("meson", "setup", str(build), str(mnt / "src"))
    run("ninja", "-C", str(build))
    run("meson", "test", "-C", str(build), "--no-rebuild", "--suite", "unit",
        "--no-suite", "slow", "--no-suite", "long")
    assert os.access(build / "cli" / "clusterfs", os.X_OK)
    assert instance.mounted(mnt)
