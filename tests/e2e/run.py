#!/usr/bin/python3
"""End to end: a real veredus on one end of a cable, real clients and servers on the other. As root.

usage: tests/e2e/run.py [--build DIR] [--device af_packet|af_xdp] [--only PATTERN ...] [--skip PATTERN ...] [--list]
                        [--quick] [--rough] [--json FILE] [--keep]
"""
import argparse
import contextlib
import fnmatch
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
import harness  # noqa: E402
from harness import CASES, TOP, Context, Failed, Net, Skipped  # noqa: E402
import cases_smtp, cases_pop3, cases_imap, cases_http, cases_delivery, cases_store, cases_operation, cases_device, cases_tls  # noqa: E402,E401,F401


def matches(name, patterns):
    return any(fnmatch.fnmatch(name, p if "*" in p else "*%s*" % p) for p in patterns)


def where(e):
    """File and line of the case that failed, not of the helper that noticed."""
    frames = [f for f in traceback.extract_tb(e.__traceback__) if "/cases_" in f.filename]
    return "%s:%d: " % (os.path.basename(frames[0].filename), frames[0].lineno) if frames else ""


def run_case(t, f):
    """('passed'|'failed'|'skipped', why)"""
    with contextlib.ExitStack() as t.cleanup:
        try:
            f(t)
            if t.shared is not None and not t.shared.alive():
                raise Failed("the relay died: " + t.shared.log()[-1500:])
            return "passed", ""
        except Skipped as e:
            return "skipped", str(e)
        except Exception as e:
            why = where(e) + (str(e) if isinstance(e, Failed) else "%s: %s" % (type(e).__name__, e))
            if t.shared is not None and not t.shared.alive():
                why += "; the relay died: " + t.shared.log()[-1500:]
            t.drop_shared(check_status=False)  # the next case must not suffer from this one
            return "failed", why


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--build", default=os.path.join(TOP, "build"))
    ap.add_argument("--device", choices=sorted(harness.DEVICES), default="af_packet")
    ap.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN")
    ap.add_argument("--skip", nargs="+", default=[], metavar="PATTERN")
    ap.add_argument("--list", action="store_true")
    ap.add_argument("--quick", action="store_true", help="without the cases that take long")
    ap.add_argument("--rough", action="store_true", help="over a cable that loses, doubles and reorders")
    ap.add_argument("--json", metavar="FILE", help="write the counts there")
    ap.add_argument("--keep", action="store_true", help="leave the directory of the run")
    a = ap.parse_args()
    cases = [f for f in CASES if matches(f.__name__, a.only) and not matches(f.__name__, a.skip) and
             not (a.quick and getattr(f, "slow", False))]
    if a.list:
        for f in cases:
            print("%-32s %s" % (f.__name__, (f.__doc__ or "").strip().splitlines()[0]))
        return 0
    if os.geteuid() != 0:
        sys.exit("run this as root")
    if not os.access(os.path.join(a.build, "veredus"), os.X_OK):
        sys.exit("no veredus in %s: build it first" % a.build)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    net = Net("e2e%d" % os.getpid(), a.rough)
    directory = tempfile.mkdtemp(prefix="veredus-e2e-")
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    begin = time.monotonic()
    t = Context(net, os.path.abspath(a.build), a.device, directory)
    try:
        net.up()
        net.enter()
        for f in cases:
            start = time.monotonic()
            result, why = run_case(t, f)
            counts[result] += 1
            print("%-7s %-32s %6.2f s%s" % ({"passed": "ok", "failed": "FAILED"}.get(result, result), f.__name__,
                                           time.monotonic() - start, "  " + why if why else ""), flush=True)
        try:
            t.drop_shared()
        except Failed as e:
            counts["failed"] += 1
            print("FAILED  the shared relay's end: %s" % e)
    finally:
        t.drop_shared(check_status=False)
        with contextlib.suppress(AttributeError):
            net.leave()
        net.down()
        if a.keep:
            print("kept:", directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    print("e2e (%s): %d cases: %d ok, %d failed, %d skipped, in %.0f s" %
          (a.device + (", rough" if a.rough else ""), sum(counts.values()), counts["passed"], counts["failed"], counts["skipped"],
           time.monotonic() - begin))
    if a.json:
        with open(a.json, "w") as out:
            json.dump(counts, out)
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
