# SPDX-License-Identifier: Apache-2.0
"""A disk that can be stopped: a loop device, under it one file of a FUSE file
system that this program is, and under that BACKING. While the program is
stopped (SIGSTOP) whatever waits for the disk waits, as with a disk that hangs;
what the kernel has in memory is there all the same. When it ends, so does the
disk: I/O errors.

    slowdisk.py BACKING DIR     prints the path of the loop device, then serves

The messages are those of linux/fuse.h, as of version 7.31.
"""
import ctypes
import errno
import os
import signal
import stat
import struct
import sys

import init  # beside it: attach_loop

IN = struct.Struct("<IIQQIIII")
OUT = struct.Struct("<IiQ")
ATTR = struct.Struct("<6Q10I")
PR_SET_PDEATHSIG = 1

(LOOKUP, FORGET, GETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, FLUSH,
 INIT, OPENDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET) = (
     1, 2, 3, 14, 15, 16, 17, 18, 20, 25, 26, 27, 29, 36, 42)
ASYNC_READ, BIG_WRITES, MAX_PAGES = 1, 1 << 5, 1 << 22
MAX_WRITE = 128 * 1024
NAME = b"disk"


class Disk:
    def __init__(self, backing):
        self.fd = os.open(backing, os.O_RDWR)
        self.size = os.fstat(self.fd).st_size

    def attr(self, node):
        size, mode = (self.size, 0o100600) if node == 2 else (0, 0o40700)
        return ATTR.pack(node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1,
                         0, 0, 0, 4096, 0)

    def answer(self, op, node, body):
        """-> bytes; an OSError is the answer, too; None: there is none"""
        if op == INIT:
            ahead = struct.unpack_from("<I", body, 8)[0]
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, ahead,
                               ASYNC_READ | BIG_WRITES | MAX_PAGES, 64, 48,
                               MAX_WRITE, 1, MAX_WRITE // 4096, 0, 0)
        if op == LOOKUP and body.rstrip(b"\0") == NAME:
            return struct.pack("<QQQQII", 2, 0, 3600, 3600, 0, 0) + self.attr(2)
        if op == LOOKUP:
            raise OSError(errno.ENOENT, "")
        if op == GETATTR:
            return struct.pack("<QII", 3600, 0, 0) + self.attr(node)
        if op in (OPEN, OPENDIR):
            return struct.pack("<QII", 0, 0, 0)
        if op == READ:
            offset, size = struct.unpack_from("<QI", body, 8)
            return os.pread(self.fd, size, offset)
        if op == WRITE:
            offset, size = struct.unpack_from("<QI", body, 8)
            return struct.pack("<II", os.pwrite(
                self.fd, body[40:40 + size], offset), 0)
        if op == FSYNC:
            os.fdatasync(self.fd)
            return b""
        if op == STATFS:
            return struct.pack("<5Q4I24x", 0, 0, 0, 0, 0, 4096, 255, 4096, 0)
        if op in (FLUSH, RELEASE, RELEASEDIR):
            return b""
        if op in (FORGET, BATCH_FORGET, INTERRUPT):
            return None
        raise OSError(errno.ENOSYS, "")


def serve(fuse, disk):
    while True:
        try:
            request = os.read(fuse, MAX_WRITE + 4096)
        except OSError as e:
            if e.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                continue
            return
        _, op, unique, node, *_ = IN.unpack_from(request)
        try:
            body, error = disk.answer(op, node, request[IN.size:]), 0
        except OSError as e:
            body, error = b"", e.errno
        if body is not None:
            try:
                os.write(fuse, OUT.pack(OUT.size + len(body), -error, unique)
                         + body)
            except OSError:  # whoever asked has been interrupted
                pass


def on_child(*_):
    """It has ended, and was not only stopped, or let go on."""
    if os.waitpid(-1, os.WNOHANG)[0]:
        os._exit(1)


def main():
    backing, folder = sys.argv[1:]
    fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    os.makedirs(folder, exist_ok=True)
    init.mount("slowdisk", folder, "fuse", 2 | 4,  # nosuid, nodev
               "fd=%d,rootmode=40000,user_id=0,group_id=0" % fuse)
    if not os.path.exists("/dev/loop-control"):
        os.mknod("/dev/loop-control", stat.S_IFCHR | 0o600,
                 os.makedev(10, 237))
    signal.signal(signal.SIGCHLD, on_child)
    if os.fork() == 0:  # asks us
        init.libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
        os.close(fuse)
        number, _ = init.attach_loop(os.path.join(folder, os.fsdecode(NAME)))
        print("/dev/loop%d" % number, flush=True)
        while True:
            signal.pause()  # the device is there as long as we have it open
    serve(fuse, Disk(backing))


if __name__ == "__main__":
    main()
