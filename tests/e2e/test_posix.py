# SPDX-License-Identifier: Apache-2.0
"""Every system call of posix.py, on a mounted volume of three bricks."""
import os
import subprocess
import sys

POSIX = os.path.join(os.path.dirname(os.path.abspath(__file__)), "posix.py")


def run(where):
    return subprocess.run([sys.executable, POSIX, str(where)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)


def test_a_mounted_volume_behaves(volume):
    done = run(volume.mount())
    print(done.stdout)
    assert done.returncode == 0


def test_a_local_directory_behaves(tmp_path):
    """Or else the suite itself is wrong."""
    done = run(tmp_path)
    print(done.stdout)
    assert done.returncode == 0
