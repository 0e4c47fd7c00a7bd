#!/usr/bin/python3
"""The long form of the kill cases: kill -9 under SMTP load with a ledger, until there were so many kills and acknowledgements.

usage: tests/e2e/kill.py [--build DIR] [--kills 500] [--messages 1000000] [--every 10] [--seed N]

Mail goes into one mailbox. After every so many kills it is read and compared with the ledger of what was acknowledged (lost,
doubled, UIDs that do not rise), then emptied, so that segments are used again all along; at the end the store is checked.
The short form is store_kill_* of run.py. Status 0: nothing was lost, and at most two were doubled for each kill.
"""
import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from cases_store import LEDGER_ID, load  # noqa: E402
from harness import TOP, Context, Net, check, ok, run  # noqa: E402


class Tally:
    kills = acknowledged = lost = doubled = high_uid = 0


def kill_once(t, relay, box, ledger, seconds):
    p = load(t, relay, ledger, box, 3600)
    time.sleep(seconds)
    check(p.poll() is None, "the load ended early")
    relay.kill()
    p.kill()
    p.wait(60)
    relay.start()


def compare_and_empty(relay, box, ledger, tally):
    m = relay.imap(box, "INBOX")
    seen = {}
    n = int(ok(m.select("INBOX"))[0])
    for first in range(1, n + 1, 5000):  # in pieces: memory stays the same however long it runs
        data = ok(m.fetch("%d:%d" % (first, min(n, first + 4999)), "(UID BODY.PEEK[HEADER.FIELDS (X-Ledger-Id)])"))
        for d in data:
            if isinstance(d, tuple):
                uid = int(re.search(rb"UID (\d+)", d[0]).group(1))
                check(uid > tally.high_uid, "UID %d came after %d" % (uid, tally.high_uid))
                tally.high_uid = uid
                name = LEDGER_ID.search(d[1]).group(1).decode()
                seen[name] = seen.get(name, 0) + 1
    with open(ledger) as f:
        ids = f.read().split()
    lost = [i for i in ids if i not in seen]
    tally.acknowledged += len(ids)
    tally.lost += len(lost)
    tally.doubled += sum(k - 1 for k in seen.values())
    if lost:
        print("LOST: %d, for example %s" % (len(lost), lost[:3]), flush=True)
    if n:
        ok(m.store("1:*", "+FLAGS.SILENT", r"(\Deleted)"))
        ok(m.expunge())
    m.logout()
    os.unlink(ledger)


def soak(t, a, rnd):
    tally = Tally()
    relay = t.own_relay()
    box = relay.mailbox()
    ledger = t.path("ledger")
    seconds = 1.0
    while tally.kills < a.kills or tally.acknowledged < a.messages:
        for _ in range(a.every):
            kill_once(t, relay, box, ledger, seconds * (0.3 + 1.4 * rnd.random()))
            tally.kills += 1
        compare_and_empty(relay, box, ledger, tally)
        print("%d kills, %d acknowledged, %d lost, %d doubled (%.2f a kill)" %
              (tally.kills, tally.acknowledged, tally.lost, tally.doubled, tally.doubled / tally.kills), flush=True)
        left = max(a.kills - tally.kills, 1)
        rate = tally.acknowledged / (tally.kills * seconds)
        if rate > 0:  # rounds as long as it needs to have both at the same time
            seconds = min(30.0, max(0.5, (a.messages - tally.acknowledged) / left / rate))
    relay.stop()
    print(run(os.path.join(t.build, "veredusctl"), "store", "check", "--path", relay.settings["store"], timeout=3600).stdout)
    return tally


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--build", default=os.path.join(TOP, "build"))
    ap.add_argument("--kills", type=int, default=500)
    ap.add_argument("--messages", type=int, default=1000000)
    ap.add_argument("--every", type=int, default=10, help="kills between two comparisons")
    ap.add_argument("--seed", type=int, default=int(time.time()))
    a = ap.parse_args()
    if os.geteuid() != 0:
        sys.exit("run this as root")
    print("seed %d" % a.seed, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    net = Net("kill%d" % os.getpid(), False)
    directory = tempfile.mkdtemp(prefix="veredus-kill-")
    t = Context(net, os.path.abspath(a.build), "af_packet", directory)
    try:
        net.up()
        net.enter()
        with contextlib.ExitStack() as t.cleanup:
            tally = soak(t, a, random.Random(a.seed))
    finally:
        with contextlib.suppress(AttributeError):
            net.leave()
        net.down()
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if tally.lost or tally.doubled > 2 * tally.kills else 0


if __name__ == "__main__":
    sys.exit(main())
