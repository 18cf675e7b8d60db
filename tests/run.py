#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests and counts them one by one; called by run.sh.

Suites of programs come from meson: each test() belongs to its meson suites. A
cmocka program is asked for TAP, and each test in it counts. Every other suite
is a folder of tests/ with scripts: *.sh and test_*.py (pytest).

A script may print TAP lines (`ok - name`, `not ok - name`, `ok - name # SKIP
why`), each of which counts; if it prints none, it is one test by itself: exit
status 0 passed, 77 skipped (its last line is the reason), else failed. A line
`# needs: ...` says what must be there (root, fuse), that it takes long (long), or
that it measures time (quiet): the others run beside each other, as many as there are
processors. One with a line `# not a test` is for people.
A script finds in its environment:

    CLUSTERFS_PREFIX     where the programs are (bin, sbin; both are in PATH)
    CLUSTERFS_BUILD      the build folder
    CLUSTERFS_TEST_WORK  a new, empty directory for whatever it makes
    TMPDIR               the same
    CLUSTERFS_TEST_SHARED  one for all of them, for what is costly to make: a
                           script makes what it does not find there
    CLUSTERFS_TEST_PATIENCE  by how much everything may take longer: 1, or
                           PATIENCE in a sanitized build

Whatever happens, nothing stays: an interrupted run (SIGINT, SIGTERM, SIGHUP) takes
everything away that it has made; what one that was killed has left is taken away
by the next one of the same machine.
"""

import concurrent.futures
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml

TESTS = os.path.dirname(os.path.realpath(__file__))
PREFIX = "cfst."  # of directories of runs
SCRIPT_TIMEOUT = 1800  # s, for all tests in a file
PATIENCE = 4  # of a sanitized build: two to three times the work, and other tests
REPORT = "sanitizers"  # files of a test with this name and a number
# The leak check's word about a thread that ends, or is killed, beneath its look;
# a leak, if there is one, is told behind it.
NO_FINDING = re.compile(r"==\d+==Unable to get registers from thread \d+\.")
NOW = 25  # lines of the output of a failure that are shown at once
END = 8  # and how many again at the end


class Tally:
    """What came out, printed as it comes; what failed, again at the end."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.failures = []
        self.times = []  # s, name

    def ok(self, name):
        self.passed += 1
        print("ok   " + name, flush=True)

    def fail(self, name, why=None, log=None, output=""):
        """@log: the file with all output; @output: its part about this."""
        self.failed += 1
        line = ("FAIL " + name + (": " + why if why else "")
                + (" (%s)" % log if log else ""))
        lines = [x.rstrip() for x in output.splitlines() if x.strip()]
        self.failures.append((line, lines))
        self.show(line, lines[-NOW:])

    @staticmethod
    def show(line, lines):
        print("\n".join([line] + ["    %.240s" % x for x in lines]), flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print("skip %s: %s" % (name, why), flush=True)

    def end(self):
        if self.failures:
            print("\nWhat failed, once more:")
        for line, lines in self.failures:
            self.show("  " + line, lines[-END:])
        print("%d passed, %d failed, %d skipped"
              % (self.passed, self.failed, self.skipped), flush=True)
        return 1 if self.failed else 0


class Result:
    """What one program or script did."""

    def __init__(self, status, output, seconds):
        self.status = status  # as subprocess: negative for a signal
        self.output = output
        self.seconds = seconds

    def why(self):
        if self.status is None:
            return "took too long"
        if self.status < 0:
            return "ended by signal %s" % signal.Signals(-self.status).name
        return "exit status %d" % self.status


running = set()  # processes, each the first of a group
stopping = False


LIBC = ctypes.CDLL(None)


def die_with_us():
    """In a child: who is killed with SIGKILL can tell its children nothing."""
    LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def run(argv, env, cwd, timeout):
    """Output goes to a file: a daemon that a test leaves behind would hold
    a pipe open for ever."""
    timeout *= int(env["CLUSTERFS_TEST_PATIENCE"])
    began = time.monotonic()
    with tempfile.TemporaryFile() as out:
        p = subprocess.Popen(argv, env=env, cwd=cwd, stdout=out,
                             stderr=subprocess.STDOUT,
                             stdin=subprocess.DEVNULL,
                             start_new_session=True, preexec_fn=die_with_us)
        running.add(p)
        try:
            if stopping:
                raise Interrupted
            status = p.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()
            status = None
        except BaseException:
            os.killpg(p.pid, signal.SIGKILL)
            p.wait()
            raise
        finally:
            running.discard(p)
        out.seek(0)
        return Result(status, out.read().decode(errors="replace"),
                      time.monotonic() - began)


class Interrupted(BaseException):
    """By one of SIGNALS."""


SIGNALS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP


def ignore_signals():
    """What follows takes things away, and is not to be disturbed."""
    for s in SIGNALS:
        signal.signal(s, signal.SIG_IGN)


def interrupted(number, _):
    global stopping

    ignore_signals()
    stopping = True
    for p in list(running):
        with contextlib.suppress(OSError):
            os.killpg(p.pid, signal.SIGKILL)
    raise Interrupted(signal.Signals(number).name)


# ------------------------------------------------------------------- TAP

# cmocka 1.1 writes skipped tests as "not ok 3 # SKIP name", and puts a line
# after whatever the test printed without an end of line.
TAP = re.compile(r"(?P<not>not )?\bok\b(?: (?P<number>\d+))?"
                 r"(?: - (?P<name>.*?))?(?: ?# SKIP ?(?P<skip>.*))?$",
                 re.IGNORECASE)


def parse_tap(text, numbered):
    """-> [(name, "ok" | "fail" | "skip", reason, output)], number planned.
    The output of a test is what stands between its neighbours' lines."""
    tests, planned, lines = [], 0, []
    for line in text.splitlines():
        plan = re.fullmatch(r"1\.\.(\d+)", line)
        if plan:
            planned += int(plan.group(1))
            continue
        m = TAP.search(line) if numbered else TAP.match(line)
        if line.startswith("#") or not m or (
                m["number"] is None and (numbered or not m["name"])):
            # cmocka says why a test has failed after it has said that.
            if line.startswith("# ") and tests:
                tests[-1][3].append(line)
            lines.append(line)
            continue
        name = m["name"] or m["skip"] or "test " + m["number"]
        if m["skip"] is not None:
            tests.append((name, "skip", m["skip"] if m["name"]
                          else "skips itself", lines))
        else:
            tests.append((name, "fail" if m["not"] else "ok", None, lines))
        lines = []
    return [(n, what, why, "\n".join(out)) for n, what, why, out in tests
            ], planned


def report(tally, label, result, tests, planned, log):
    """Count the tests of one program; what is missing is a failure."""
    for name, what, why, output in tests:
        if what == "ok":
            tally.ok("%s %s" % (label, name))
        elif what == "skip":
            tally.skip("%s %s" % (label, name), why)
        else:
            tally.fail("%s %s" % (label, name), None, log, output)
    missing = planned - len(tests)
    if missing > 0:
        tally.fail(label, "%s, %d of %d tests did not run"
                   % (result.why(), missing, planned), log, result.output)
    elif result.status != 0 and not any(t[1] == "fail" for t in tests):
        tally.fail(label, result.why(), log, result.output)


# -------------------------------------------------------------- left-overs

class LeftOvers:
    """Finds what a test has left behind, and removes it."""

    def __init__(self, work, netns=None):
        """@netns: network namespaces of others; None: not looked for."""
        self.work = work
        self.netns = netns

    @staticmethod
    def list_netns():
        try:
            return set(os.listdir("/run/netns"))
        except OSError:
            return set()

    def processes(self):
        """Everything started by a test has its directory in its environment
        or on its command line."""
        mark = self.work.encode()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if int(pid) == os.getpid():
                continue
            try:
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    args = f.read()
                with open("/proc/%s/environ" % pid, "rb") as f:
                    env = f.read()
            except OSError:
                continue
            if args and (mark in args or mark in env):
                yield int(pid), args.replace(b"\0", b" ").decode(
                    errors="replace").strip()

    def mounts(self):
        with open("/proc/self/mountinfo") as f:
            for line in f:
                at = line.split()[4].encode().decode("unicode_escape")
                if at.startswith(self.work + "/"):
                    yield at

    def loops(self):
        p = subprocess.run(["losetup", "-l", "-n", "-O", "NAME,BACK-FILE"],
                           stdout=subprocess.PIPE, text=True,
                           stderr=subprocess.DEVNULL)
        for line in p.stdout.splitlines():
            name, _, back = line.strip().partition(" ")
            if back.strip().startswith(self.work + "/"):
                yield name

    def remove(self, patience=True):
        """-> what there was, in words."""
        # A daemon may be on its way out; one that was killed while the disk is
        # busy goes when the disk has answered.
        end = time.monotonic() + 20
        while patience and any(self.processes()) and time.monotonic() < end:
            time.sleep(0.1)
        found = []
        for at in reversed(list(self.mounts())):
            found.append("mount " + at)
            subprocess.run(["umount", "-i", "-l", at],
                           stderr=subprocess.DEVNULL)
        for pid, args in list(self.processes()):
            found.append("process %d (%.100s)" % (pid, args))
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        if os.geteuid() == 0 and shutil.which("losetup"):
            for name in self.loops():
                found.append("loop device " + name)
                subprocess.run(["losetup", "-d", name],
                               stderr=subprocess.DEVNULL)
        for ns in () if self.netns is None else self.list_netns() - self.netns:
            if ns.startswith("cfs"):
                found.append("network namespace " + ns)
                subprocess.run(["ip", "netns", "delete", ns])
        return found


def start_time(pid):
    with open("/proc/%d/stat" % pid) as f:
        return f.read().rsplit(")", 1)[1].split()[19]


def make_work(parent):
    """A directory that sweep() knows to be of this process."""
    work = tempfile.mkdtemp(prefix=PREFIX, dir=parent)
    os.chmod(work, 0o711)  # tests become other users
    with open(os.path.join(work, "owner"), "w") as f:
        f.write("%d %s\n" % (os.getpid(), start_time(os.getpid())))
    return work


def sweep(parent):
    """Take away what runs have left that were killed."""
    for name in os.listdir(parent):
        work = os.path.join(parent, name)
        if not name.startswith(PREFIX):
            continue
        try:
            with open(os.path.join(work, "owner")) as f:
                pid, started = f.read().split()
        except (OSError, ValueError):
            continue  # of another user, or just being made
        try:
            alive = start_time(int(pid)) == started
        except OSError:
            alive = False
        if not alive:
            clear(LeftOvers(work))


def clear(left):
    """Processes, mounts, devices, and the directory itself."""
    end = time.monotonic() + 30
    while left.remove(patience=False) and time.monotonic() < end:
        time.sleep(0.1)
    shutil.rmtree(left.work, ignore_errors=True)


# ------------------------------------------------------------------ suites

class Program:
    """A test() of meson."""

    def __init__(self, suite, spec):
        self.suite = suite
        self.name = spec["name"]
        self.label = "%s/%s" % (suite, self.name)
        self.argv = spec["cmd"]
        self.env = spec["env"]
        self.cwd = spec["workdir"]
        self.timeout = spec["timeout"] or 120
        self.long = suite == "long" or spec["is_long"]
        self.slow = spec["is_slow"]
        self.parallel = spec["is_parallel"]
        self.needs = {"long"} if self.long else set()

    def run(self, env, work):
        env = dict(env, CMOCKA_MESSAGE_OUTPUT="TAP", **self.env)
        return run(self.argv, env, self.cwd or work, self.timeout)

    def count(self, tally, result, log):
        count_tap(tally, self.label, result, True, log)


class Script:
    """A file in a folder of tests/."""

    slow = False

    def __init__(self, suite, name):
        self.suite = suite
        self.name = name
        self.label = "%s/%s" % (suite, name)
        self.path = os.path.join(TESTS, suite, name)
        with open(self.path) as f:
            m = re.search(r"^# needs: *(.*)$", f.read(), re.MULTILINE)
        self.needs = set(m[1].split()) if m else set()
        self.parallel = "quiet" not in self.needs

    def run(self, env, work):
        if not self.path.endswith(".py"):
            return run(["bash", self.path], env, work, SCRIPT_TIMEOUT)
        self.junit = os.path.join(work, ".junit.xml")
        return run([sys.executable, "-B", "-m", "pytest", "-p", "no:cacheprovider",
                    "-q", "-rs", "--tb=short", "--junitxml=" + self.junit,
                    "--basetemp=" + os.path.join(work, "pytest"),
                    self.path], env, os.path.dirname(self.path),
                   SCRIPT_TIMEOUT)

    def count(self, tally, result, log):
        if not self.path.endswith(".py"):
            count_tap(tally, self.label, result, False, log)
            return
        tests = []
        try:
            cases = list(xml.parse(self.junit).iter("testcase"))
        except (OSError, xml.ParseError):
            cases = []
        for case in cases:
            name = case.get("name")
            tally.times.append((float(case.get("time", 0)),
                                "%s %s" % (self.label, name)))
            skipped = case.find("skipped")
            bad = [e for e in case if e.tag in ("failure", "error")]
            if skipped is not None:
                tests.append((name, "skip", skipped.get("message", ""), ""))
            elif bad:
                tests.append((name, "fail", None,
                              "\n".join(e.text or "" for e in bad)))
            else:
                tests.append((name, "ok", None, ""))
        if not tests and result.status == 5:
            tally.fail(self.label, "no tests in it", log)
        else:
            report(tally, self.label, result, tests, 0, log)


def count_tap(tally, label, result, numbered, log):
    """What says nothing in TAP is one test; 77 is "skipped"."""
    tests, planned = parse_tap(result.output, numbered)
    if tests or planned:
        report(tally, label, result, tests, planned, log)
    elif result.status == 77:
        tally.skip(label, last_line(result.output))
    elif result.status == 0:
        tally.ok(label)
    else:
        tally.fail(label, result.why(), log, result.output)


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no reason given"


def collect(build):
    """-> {suite: [test]}, suites of programs first."""
    suites = {}
    specs = json.loads(subprocess.run(
        ["meson", "introspect", "--tests", build], check=True,
        stdout=subprocess.PIPE).stdout)
    for spec in specs:
        names = [s.split(":", 1)[-1] for s in spec["suite"]] or ["unit"]
        spec["is_long"] = "long" in names
        spec["is_slow"] = "slow" in names
        names = [n for n in names if n != "long"] or ["long"]
        suites.setdefault(names[0], []).append(Program(names[0], spec))
    for suite in sorted(os.listdir(TESTS), reverse=True):
        folder = os.path.join(TESTS, suite)
        if not os.path.isdir(folder) or suite.startswith((".", "__")):
            continue
        names = [n for n in sorted(os.listdir(folder))
                 if re.fullmatch(r"test_.*\.py|[^.].*\.sh", n)
                 and not n.startswith("lib")
                 and not is_for_people(os.path.join(folder, n))]
        if names:
            suites.setdefault(suite, []).extend(
                Script(suite, n) for n in names)
    return suites


def is_sanitized(build):
    options = json.loads(subprocess.run(
        ["meson", "introspect", "--buildoptions", build], check=True,
        stdout=subprocess.PIPE).stdout)
    return any(o["name"] == "b_sanitize" and o["value"] not in ("none", [])
               for o in options)


def is_for_people(path):
    with open(path) as f:
        return re.search(r"^# not a test$", f.read(), re.MULTILINE)


def stem(name):
    return re.sub(r"^test_|\.(py|sh)$", "", name)


def choose(suites, wanted):
    if not wanted:
        return [t for s in suites.values() for t in s]
    ret = []
    for w in wanted:
        w = re.sub(r"^tests/", "", w.rstrip("/"))
        suite, _, name = w.partition("/")
        found = [t for t in suites.get(suite, [])
                 if not name or stem(name) == stem(t.name)]
        if not found:
            print("tests: there is no '%s'; suites: %s"
                  % (w, " ".join(suites)), file=sys.stderr)
            sys.exit(2)
        ret += [t for t in found if t not in ret]
    return ret


def why_not(test, long):
    if "long" in test.needs and not long:
        return "takes long; run it with --long"
    if "root" in test.needs and os.geteuid() != 0:
        return "needs root"
    if "fuse" in test.needs and not os.path.exists("/dev/fuse"):
        return "needs /dev/fuse"
    return None


def main():
    build, args = os.path.realpath(sys.argv[1]), sys.argv[2:]
    long = "--long" in args
    wanted = [a for a in args if not a.startswith("--")]
    suites = collect(build)
    if "--list" in args:
        for t in choose(suites, wanted):
            print(t.label + (" (long)" if "long" in t.needs else ""))
        return 0
    chosen = choose(suites, wanted)

    # Short, for the paths of sockets; on a disk, for what is large.
    parent = os.environ.get("TMPDIR", "/var/tmp")
    sweep(parent)
    for number in SIGNALS:
        signal.signal(number, interrupted)
    work = make_work(parent)
    logs = os.path.join(build, "log")
    shutil.rmtree(logs, ignore_errors=True)
    os.makedirs(logs)
    if os.geteuid() == 0:  # the clone's owner must be able to remove it
        owner = os.stat(build)
        os.chown(logs, owner.st_uid, owner.st_gid)
    stage = os.path.join(build, "stage")
    base_env = dict(
        os.environ, LC_ALL="C.UTF-8", PYTHONDONTWRITEBYTECODE="1",
        CLUSTERFS_BUILD=build, CLUSTERFS_PREFIX=stage,
        PATH="%s/bin:%s/sbin:%s:/usr/sbin:/sbin" % (stage, stage,
                                                    os.environ["PATH"]))
    base_env["CLUSTERFS_TEST_PATIENCE"] = str(
        PATIENCE if is_sanitized(build) else 1)
    base_env["CLUSTERFS_TEST_SHARED"] = os.path.join(work, "shared")
    os.mkdir(base_env["CLUSTERFS_TEST_SHARED"])
    for v in ("CONFIG_DIR", "STATE_DIR", "RUN_DIR", "LOG_DIR", "PORT"):
        base_env.pop("CLUSTERFS_" + v, None)

    tally = Tally()
    left = LeftOvers(work, LeftOvers.list_netns())

    def execute(test, number):
        """-> what it did, and what it left, in words"""
        d = os.path.join(work, "%03d" % number)
        os.mkdir(d)
        result = test.run(dict(base_env, CLUSTERFS_TEST_WORK=d, TMPDIR=d,
                               **sanitizers(d)), d)
        found = LeftOvers(d).remove()
        return result, found, list(reports(d))

    def done(test, what):
        result, found, said = what
        log = os.path.join(logs, test.label.replace("/", "-") + ".log")
        with open(log, "w") as f:
            f.write("\n".join([result.output, *said]))
        tally.times.append((result.seconds, test.label))
        test.count(tally, result, os.path.relpath(log))
        for left in found:
            tally.fail(test.label, "left behind: " + left)
        for text in said:
            tally.fail(test.label, "the sanitizers found something",
                       os.path.relpath(log),
                       text.partition("Shadow bytes")[0])

    try:
        runnable = []
        for t in chosen:
            why = why_not(t, long)
            if why:
                tally.skip(t.label, why)
            else:
                runnable.append(t)
        run_all(runnable, execute, done)
        for what in left.remove():
            tally.fail("the tests", "left behind: " + what)
    except Interrupted as e:
        tally.fail("the run", "interrupted by %s" % e)
    finally:
        ignore_signals()
        clear(left)
    with open(os.path.join(logs, "times"), "w") as f:
        f.writelines("%8.2f s  %s\n" % t for t in sorted(tally.times)[::-1])
    return tally.end()


def sanitizers(folder):
    """What the programs of a sanitized build find is there, for reports():
    daemons have no other place to tell it."""
    path = "log_path=" + os.path.join(folder, REPORT)
    return {v: ":".join(filter(None, [os.environ.get(v, default), path]))
            for v, default in (
                ("ASAN_OPTIONS", ""),
                ("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1"))}


def reports(folder):
    for name in sorted(os.listdir(folder)):
        if name.startswith(REPORT + "."):
            with open(os.path.join(folder, name), errors="replace") as f:
                text = f.read()
            # Nothing: it was killed before it could tell.
            if any(line.strip() and not NO_FINDING.fullmatch(line.strip())
                   for line in text.splitlines()):
                yield text


def run_all(tests, execute, done):
    """Beside each other; then, one by one, those that measure time."""
    numbers = {t: i for i, t in enumerate(tests)}
    pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
    try:
        # What takes longest is not the last that is left to one processor.
        results = {pool.submit(execute, t, numbers[t]): t
                   for t in sorted(tests, key=lambda t: not t.slow)
                   if t.parallel}
        for r in concurrent.futures.as_completed(results):
            done(results[r], r.result())
    finally:
        pool.shutdown(cancel_futures=True)
    for t in tests:
        if not t.parallel:
            done(t, execute(t, numbers[t]))


if __name__ == "__main__":
    sys.exit(main())
