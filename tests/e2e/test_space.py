# SPDX-License-Identifier: Apache-2.0
"""What df shows, and what can be written."""
import errno
import os

import pytest


def test_a_large_sparse_volume_has_its_room_at_once(node):
    node.create(size="40G", bricks=2)
    node.cli("volume", "start", "v")
    mnt = node.mount()
    host = os.statvfs(node.dirs["bricks"])
    room = min(36 << 30, int(0.9 * host.f_bavail * host.f_frsize))
    st = os.statvfs(mnt)
    assert st.f_bavail * st.f_frsize > room
    for i in range(300):
        (mnt / ("f%d" % i)).write_bytes(bytes(1 << 20))
    used = st.f_bavail - os.statvfs(mnt).f_bavail
    # Where the host's file system has less room than the bricks would, that is
    # what is shown: others take and give it, too.
    if room == 36 << 30:
        assert 300 << 20 < used * st.f_frsize < 450 << 20


def test_a_full_volume_says_so_and_lives_on(node):
    node.create(size="128M", bricks=2)
    node.cli("volume", "start", "v")
    mnt = node.mount()
    (mnt / "precious").write_bytes(b"kept" * 1000)
    with pytest.raises(OSError) as e:
        with open(mnt / "big", "wb", buffering=0) as f:
            for _ in range(200):
                f.write(bytes(1 << 20))
    assert e.value.errno == errno.ENOSPC
    assert node.states() == ["in-sync"] * 2
    assert (mnt / "precious").read_bytes() == b"kept" * 1000
    os.unlink(mnt / "big")
    (mnt / "again").write_bytes(bytes(8 << 20))
    assert node.states() == ["in-sync"] * 2
