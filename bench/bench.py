#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Drives the measurement; started by run.sh inside namespaces of its own.

A target is something with a directory to work in. A group of workloads runs in
a fresh directory of a target and gives figures: name -> (value, unit). In each
round every group visits all targets, in an order that rotates, so that no
target always runs first. The ratio of two targets is the median of their ratios
in each round.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import time

TOP = os.environ["BENCH_TOP"]
WORK = os.environ["BENCH_WORK"]
ADDRESS = "192.0.2.1"  # GlusterFS takes no bricks on a loopback address

TARGETS = ["local", "passthrough", "glusterfs", "clusterfs"]
GROUPS = ["small", "tree", "fio", "sqlite"]

# Less is better for these units, more for all others.
TIMES = {"s"}


class BenchError(Exception):
    pass


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(argv, log=None, **kw):
    """Run to the end; on failure raise with what it said."""
    p = subprocess.run(argv, stdin=subprocess.DEVNULL, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kw)
    if log:
        with open(log, "a") as f:
            f.write(p.stdout)
    if p.returncode != 0:
        tail = "\n  ".join(p.stdout.strip().splitlines()[-12:])
        raise BenchError("%s: exit status %d\n  %s"
                         % (" ".join(map(str, argv)), p.returncode, tail))
    return p.stdout


def wait_for(what, check, seconds=30):
    end = time.monotonic() + seconds
    while True:
        if check():
            return
        if time.monotonic() > end:
            raise BenchError("%s: not within %d s" % (what, seconds))
        time.sleep(0.1)


# ---------------------------------------------------------------- targets

class Local:
    """A directory of the disk that all the others lie on."""

    def __init__(self):
        self.home = os.path.join(WORK, self.name())
        self.dir = self.home

    def name(self):
        return "local"

    def start(self):
        os.mkdir(self.home)

    def stop(self):
        pass

    def logs(self):
        return None


class Mounted(Local):
    def __init__(self):
        super().__init__()
        self.dir = os.path.join(WORK, "mnt-" + self.name())

    def start(self):
        os.mkdir(self.home)
        os.mkdir(self.dir)

    def mounted(self):
        return os.path.ismount(self.dir)

    def stop(self):
        if self.mounted():
            run(["umount", self.dir])


class Passthrough(Mounted):
    """libfuse's example, with its defaults (timeouts of 1 s)."""

    def name(self):
        return "passthrough"

    def start(self):
        program = os.path.join(WORK, "bin", "passthrough_ll")
        if not os.path.exists(program):
            raise BenchError("libfuse3-dev came without passthrough_ll.c")
        super().start()
        run([program, "-o", "source=" + self.home, self.dir])
        wait_for("passthrough_ll mounts", self.mounted)


class GlusterFS(Mounted):
    """Three replicas, default options, a glusterd of our own."""

    def name(self):
        return "glusterfs"

    def start(self):
        super().start()
        for d, system in (("log", "/var/log/glusterfs"),
                          ("state", "/var/lib/glusterd")):
            os.mkdir(os.path.join(self.home, d))
            os.makedirs(system, exist_ok=True)
            run(["mount", "--bind", os.path.join(self.home, d), system])
        os.mkdir("/run/gluster")
        volfile = os.path.join(self.home, "glusterd.vol")
        with open(volfile, "w") as f:
            f.write("""volume management
    type mgmt/glusterd
    option working-directory /var/lib/glusterd
    option transport-type socket
    option transport.socket.keepalive-time 10
    option transport.socket.keepalive-interval 2
    option transport.socket.read-fail-log off
    option transport.socket.listen-port 24007
    option ping-timeout 0
    option event-threads 1
    option max-port 60999
end-volume
""")
        run(["glusterd", "-f", volfile, "-p", "/run/glusterd.pid",
             "-l", "/var/log/glusterfs/glusterd.log"])
        wait_for("glusterd answers", lambda: subprocess.run(
            ["gluster", "--mode=script", "volume", "list"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ).returncode == 0)
        bricks = []
        for i in (1, 2, 3):
            brick = os.path.join(self.home, "brick%d" % i)
            os.mkdir(brick)
            bricks.append("%s:%s" % (ADDRESS, brick))
        gluster = ["gluster", "--mode=script", "volume"]
        run(gluster + ["create", "bench", "replica", "3"] + bricks + ["force"])
        run(gluster + ["start", "bench"])
        run(["mount", "-t", "glusterfs", ADDRESS + ":/bench", self.dir])
        wait_for("three bricks take changes", self.all_up)

    def all_up(self):
        """A file that is written must arrive on every brick."""
        probe = os.path.join(self.dir, "probe")
        try:
            with open(probe, "w") as f:
                f.write("probe")
            up = all(os.path.exists(os.path.join(
                self.home, "brick%d" % i, "probe")) for i in (1, 2, 3))
            os.unlink(probe)
            return up
        except OSError:
            return False

    def stop(self):
        super().stop()
        subprocess.run(["gluster", "--mode=script", "volume", "stop",
                        "bench"], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        try:
            with open("/run/glusterd.pid") as f:
                os.kill(int(f.read()), signal.SIGTERM)
        except (OSError, ValueError):
            pass

    def logs(self):
        return os.path.join(self.home, "log")


class Clusterfs(Mounted):
    """Three replicas, as quickstart.sh makes them."""

    def name(self):
        return "clusterfs"

    def quickstart(self, *args):
        run([os.path.join(TOP, "extras", "quickstart.sh"),
             "--dir", self.home, *args],
            log=os.path.join(WORK, "run", "quickstart.log"))

    def start(self):
        super().start()
        self.quickstart(self.dir)
        if not self.mounted():
            raise BenchError("quickstart.sh succeeded, but %s is no mount"
                             % self.dir)

    def stop(self):
        self.quickstart("--stop")

    def logs(self):
        return os.path.join(self.home, "log")


CLASSES = {"local": Local, "passthrough": Passthrough,
           "glusterfs": GlusterFS, "clusterfs": Clusterfs}


# -------------------------------------------------------------- workloads

def settle(level=0):
    """Let no target pay for what another left dirty; level 2 drops unused
    names and attributes from the kernel's caches, 3 file data too."""
    os.sync()
    if level:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write(str(level))


def timed(argv, cwd, level=0):
    settle(level)
    begun = time.monotonic()
    run(argv, cwd=cwd)
    return time.monotonic() - begun


def small(where, quick):
    """Small files, one thread and four."""
    ret = {}
    for threads, files in ((1, 1000), (4, 500)):
        if quick:
            files //= 4
        settle()
        out = run([os.path.join(WORK, "bin", "smallfile"), "-c",
                   "-t", str(threads), "-n", str(files), where])
        for line in out.splitlines():
            r = json.loads(line)
            ret["small %s, %d thread%s" % (r["phase"], threads,
                                           "s" if threads > 1 else "")] = (
                r["ops"] / r["seconds"], "op/s")
    return ret


def make_tarball(path, limit):
    """Real sources: this machine's C headers, as many as @limit."""
    names = []
    for top, dirs, files in os.walk("/usr/include"):
        dirs.sort()
        names += [os.path.relpath(os.path.join(top, f), "/usr")
                  for f in sorted(files)]
        if len(names) >= limit:
            break
    listing = path + ".list"
    with open(listing, "w") as f:
        f.write("\n".join(names[:limit]) + "\n")
    run(["tar", "-C", "/usr", "-cf", path, "--no-recursion", "-T", listing])
    return min(len(names), limit)


def tree(where, quick):
    """A source tree, as a developer treats it."""
    tarball = os.path.join(WORK, "run",
                           "tree-%s.tar" % ("quick" if quick else "full"))
    if not os.path.exists(tarball):
        make_tarball(tarball, 500 if quick else 2500)
    env = dict(os.environ, HOME=WORK, GIT_CONFIG_NOSYSTEM="1")
    git = ["git", "-c", "core.autocrlf=false", "-c", "gc.auto=0",
           "-c", "safe.directory=*"]
    src = os.path.join(where, "include")
    ret = {"tree untar": timed(["tar", "-xf", tarball, "-C", where], where)}
    ret["tree find -ls"] = timed(["find", ".", "-ls"], src, 2)
    ret["tree cp -r"] = timed(["cp", "-r", "include", "copy"], where, 2)
    run(git + ["init", "-q"], cwd=src, env=env)
    ret["tree git add"] = timed(git + ["add", "-A"], src)
    ret["tree git status"] = timed(git + ["status", "--short"], src, 2)
    ret["tree rm -rf"] = timed(["rm", "-rf", "include", "copy"], where, 2)
    return {k: (v, "s") for k, v in ret.items()}


def fio(where, quick):
    """Data: sequential, random, and an fsync after every 4 KiB."""
    size = "64m" if quick else "256m"
    seconds = "3" if quick else "8"
    common = ["--directory=" + where, "--filename=data", "--size=" + size,
              "--ioengine=psync", "--output-format=json", "--fallocate=none",
              "--randrepeat=1"]
    # Dropped after laying out: what is read comes from the target.
    jobs = [
        ("fio write 1 MiB", "MiB/s", 0,
         ["--rw=write", "--bs=1m", "--end_fsync=1"]),
        ("fio read 1 MiB", "MiB/s", 3, ["--rw=read", "--bs=1m"]),
        ("fio random read 4 KiB", "op/s", 3,
         ["--rw=randread", "--bs=4k", "--time_based",
          "--runtime=" + seconds]),
        ("fio random write 4 KiB", "op/s", 0,
         ["--rw=randwrite", "--bs=4k", "--end_fsync=1",
          "--io_size=" + ("16m" if quick else "64m")]),
        ("fio write 4 KiB + fsync", "op/s", 0,
         ["--rw=write", "--bs=4k", "--fsync=1", "--time_based",
          "--runtime=" + seconds]),
    ]
    ret = {}
    for name, unit, level, options in jobs:
        settle(level)
        begun = time.monotonic()
        out = run(["fio", "--name=job"] + common + options)
        took = time.monotonic() - begun
        job = json.loads(out[out.index("{"):])["jobs"][0]
        if job["error"]:
            raise BenchError("%s: fio says error %d" % (name, job["error"]))
        way = job["read" if "read" in name else "write"]
        # With end_fsync fio's own clock stops before the fsync: use ours,
        # less nothing, as fio's start-up is the same for all.
        if "--end_fsync=1" in options:
            ios = way["total_ios"] / took
            mib = way["io_bytes"] / took / 2**20
        else:
            ios, mib = way["iops"], way["bw_bytes"] / 2**20
        ret[name] = (mib if unit == "MiB/s" else ios, unit)
    os.unlink(os.path.join(where, "data"))
    return ret


def sqlite(where, quick):
    """Transactions of one row, and one of many."""
    ret = {}
    n = 50 if quick else 200
    rows = 5000 if quick else 20000
    rng = random.Random(1)
    for mode in ("delete", "wal"):
        settle()
        path = os.path.join(where, "db-%s.sqlite" % mode)
        db = sqlite3.connect(path, isolation_level=None)
        got = db.execute("pragma journal_mode=%s" % mode).fetchone()[0]
        if got != mode:
            raise BenchError("sqlite: journal_mode %s, not %s" % (got, mode))
        db.execute("pragma synchronous=full")
        db.execute("create table t (id integer primary key, k int, v text)")
        begun = time.monotonic()
        for i in range(n):
            db.execute("insert into t (k, v) values (?, ?)", (i, "v" * 100))
        ret["sqlite commit, %s" % mode] = (
            n / (time.monotonic() - begun), "op/s")
        if mode == "wal":
            begun = time.monotonic()
            db.execute("begin")
            db.executemany("insert into t (k, v) values (?, ?)",
                           ((rng.randrange(10**9), "v" * 100)
                            for _ in range(rows)))
            db.execute("create index t_k on t (k)")
            db.execute("commit")
            db.execute("pragma wal_checkpoint(truncate)")
            ret["sqlite bulk insert"] = (
                rows / (time.monotonic() - begun), "row/s")
        if db.execute("pragma integrity_check").fetchone()[0] != "ok":
            raise BenchError("sqlite: the database is damaged: " + path)
        db.close()
    return ret


FUNCTIONS = {"small": small, "tree": tree, "fio": fio, "sqlite": sqlite}


# ---------------------------------------------------------------- results

def speed_ratio(name, mine, other, results):
    """How many times as fast @mine is: the median over the rounds."""
    pairs = zip(results[name][mine]["values"], results[name][other]["values"])
    if results[name]["unit"] in TIMES:
        ratios = [b / a for a, b in pairs]
    else:
        ratios = [a / b for a, b in pairs]
    return statistics.median(ratios) if ratios else None


def digits(x):
    if x >= 100:
        return "%.0f" % x
    return "%.1f" % x if x >= 10 else "%.2f" % x


def table(results, targets, base):
    head = ["", "unit"] + targets
    others = [t for t in targets if t != base] if base in targets else []
    head += ["%s / %s" % (base, t) for t in others]
    rows = [head]
    for name, r in results.items():
        row = [name, r["unit"]]
        row += [digits(r[t]["median"]) for t in targets]
        row += [digits(r["ratio"][t]) for t in others]
        rows.append(row)
    widths = [max(len(r[i]) for r in rows) for i in range(len(head))]
    for i, r in enumerate(rows):
        print("| " + " | ".join(
            c.ljust(w) if j < 2 else c.rjust(w)
            for j, (c, w) in enumerate(zip(r, widths))) + " |")
        if i == 0:
            print("|" + "|".join("-" * (w + 1) + (":" if j > 1 else "-")
                                 for j, w in enumerate(widths)) + "|")


def aim(results, times=3):
    """The project's first aim, on names and attributes."""
    ratios = {name: r["ratio"]["glusterfs"] for name, r in results.items()
              if name.startswith(("small ", "tree "))}
    if not ratios:
        return
    least = min(ratios, key=ratios.get)
    print("\nAt least %d times as fast as glusterfs in %d of %d figures on "
          "small files and trees; least: %s, %s times."
          % (times, sum(x >= times for x in ratios.values()), len(ratios),
             least, digits(ratios[least])))


def first_line(argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True
                              ).stdout.splitlines()[0]
    except (OSError, IndexError):
        return None


def machine():
    cpu = None
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(),
        "cpu": cpu,
        "cpus": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE")
        * os.sysconf("SC_PHYS_PAGES") >> 20,
        "filesystem": first_line(["findmnt", "-n", "-o", "FSTYPE", "-T", WORK]),
        "glusterfs": first_line(["glusterfs", "--version"]),
        "clusterfs": first_line(["git", "-c", "safe.directory=*", "-C", TOP,
                                 "describe", "--always", "--dirty"]),
    }


def measure(targets, groups, rounds, quick):
    """-> {name: {"unit": u, target: {"values": [...]}}}, by round."""
    results = {}
    for rnd in range(rounds):
        for g in groups:
            turn = rnd % len(targets)
            for t in targets[turn:] + targets[:turn]:
                where = os.path.join(t.dir, "bench-%s-%d" % (g, rnd))
                os.mkdir(where)
                begun = time.monotonic()
                figures = FUNCTIONS[g](where, quick)
                shutil.rmtree(where)
                say("  round %d of %d: %-6s on %-11s %5.1f s"
                    % (rnd + 1, rounds, g, t.name(),
                       time.monotonic() - begun))
                for name, (value, unit) in figures.items():
                    r = results.setdefault(name, {"unit": unit})
                    r.setdefault(t.name(), {"values": []})[
                        "values"].append(value)
    return results


def words(allowed):
    def parse(text):
        ret = text.replace(",", " ").split()
        for w in ret:
            if w not in allowed:
                raise argparse.ArgumentTypeError(
                    "'%s' is none of: %s" % (w, " ".join(allowed)))
        return [w for w in allowed if w in ret]
    return parse


def main():
    ap = argparse.ArgumentParser(prog="bench/run.sh")
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--rounds", type=int)
    ap.add_argument("--only", type=words(TARGETS), default=TARGETS)
    ap.add_argument("--run", type=words(GROUPS), default=GROUPS)
    ap.add_argument("--base", choices=TARGETS)
    ap.add_argument("--json")
    a = ap.parse_args()
    rounds = a.rounds or (2 if a.quick else 3)
    base = a.base or ("clusterfs" if "clusterfs" in a.only else a.only[-1])

    targets = [CLASSES[n]() for n in a.only]
    started = []
    try:
        for t in targets:
            say("Starting %s" % t.name())
            started.append(t)
            t.start()
        say("Measuring")
        results = measure(targets, a.run, rounds, a.quick)
    except (BenchError, OSError) as e:
        say("bench: %s" % e)
        t = started[-1]
        if t.logs() and os.path.isdir(t.logs()):
            kept = "/tmp/clusterfs-bench-logs.%d" % int(time.time())
            shutil.copytree(t.logs(), kept)
            say("bench: logs of %s are kept in %s" % (t.name(), kept))
        return 1
    finally:
        for t in reversed(started):
            try:
                t.stop()
            except (BenchError, OSError) as e:
                say("bench: stopping %s: %s" % (t.name(), e))

    for name, r in results.items():
        for t in a.only:
            v = r[t]["values"]
            r[t].update(median=statistics.median(v), min=min(v), max=max(v))
        if base in a.only:
            r["ratio"] = {t: speed_ratio(name, base, t, results)
                          for t in a.only if t != base}
    about = machine()
    if a.json:
        with open(a.json, "w") as f:
            json.dump({"machine": about, "rounds": rounds, "quick": a.quick,
                       "base": base, "targets": a.only, "results": results},
                      f, indent=2)
            f.write("\n")
    print("%s, %d CPUs (%s), kernel %s, %s; medians of %d round%s%s. "
          "Ratios: how many times as fast %s is.\n"
          % (about["date"][:10], about["cpus"], about["cpu"],
             about["kernel"], about["filesystem"], rounds,
             "" if rounds == 1 else "s", " (quick)" if a.quick else "", base))
    table(results, a.only, base)
    if base == "clusterfs" and "glusterfs" in a.only:
        aim(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
