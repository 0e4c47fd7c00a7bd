"""What was acknowledged is there: crashes, full disks, damaged files."""
import contextlib
import glob
import os
import re
import shutil
import subprocess
import time

from harness import (Failed, Smtp, case, check, check_arrived, check_equal, imap_bodies, message, ok, run, slow,
                     stuff, until)

LEDGER_ID = re.compile(rb"X-Ledger-Id: (\S+)")


def load(t, relay, ledger, to, seconds, *more):
    return subprocess.Popen([os.path.join(t.build, "bench", "smtp-accept"), "--connections", "20", "--messages", "0",
                             "--seconds", str(seconds), "--to", to, "--verify-ledger", ledger, "--size", "3000",
                             *more], stdout=subprocess.DEVNULL)


def kill_rounds(t, relay, to, rounds):
    """kill -9 while mail comes in, restart, again; returns the ids that were acknowledged."""
    ledger = t.path("ledger-" + re.sub(r"\W", "-", to))
    for i in range(rounds):
        p = load(t, relay, ledger, to, 20)
        time.sleep(0.4 + 0.2 * i)
        check(p.poll() is None, "the load ended early")
        relay.kill()
        p.kill()  # a dead stack resets no connection: the load would wait for its replies
        p.wait(60)
        relay.start()
    with open(ledger) as f:
        ids = f.read().split()
    check(len(ids) > 50 * rounds, "only %d messages were acknowledged" % len(ids))
    return ids


def compare(ids, got, what):
    lost = set(ids) - set(got)
    check(not lost, "%d of %d acknowledged messages are not in %s, for example %s" %
          (len(lost), len(ids), what, sorted(lost)[:3]))
    return len(got) - len(set(got))


@case
def store_kill_mailbox(t):
    """kill -9 under load, 5 rounds: every acknowledged message is in the mailbox, UIDs still rise"""
    relay = t.own_relay()
    box = relay.mailbox()
    ids = kill_rounds(t, relay, box, 5)
    until(lambda: not relay.queue(), 30, "the queue did not become empty")
    m = relay.imap(box, "INBOX")
    data = ok(m.fetch("1:*", "(UID BODY.PEEK[HEADER.FIELDS (X-Ledger-Id)])"))
    got = [LEDGER_ID.search(d[1]).group(1).decode() for d in data if isinstance(d, tuple)]
    uids = [int(re.search(rb"UID (\d+)", d[0]).group(1)) for d in data if isinstance(d, tuple)]
    check_equal(uids, sorted(set(uids)), "UIDs")
    twice = compare(ids, got, "the mailbox")
    check(twice == 0, twice, "messages are there twice")
    m.logout()


@case
def store_kill_relay(t):
    """kill -9 under load, 3 rounds: every acknowledged message reaches the next hop"""
    relay = t.own_relay()
    sink = t.sink()
    ids = kill_rounds(t, relay, "r%@sink.example", 3)
    until(lambda: relay.stat("queue_items") == 0, 60, "the queue did not become empty", 0.5)
    check_equal(relay.queue(), [], "queue list")
    got = [LEDGER_ID.search(m.data).group(1).decode() for m in sink.messages]
    twice = compare(ids, got, "the next hop")
    check(twice <= 3 * 20 * 20, twice, "messages came twice")


@case
def store_restart(t):
    """Mailboxes, folders, flags, UIDVALIDITY, UIDs and passwords are the same after a restart and after kill -9"""
    relay = t.own_relay()
    box = relay.mailbox()
    m = relay.imap(box, "INBOX")
    for i in range(10):
        ok(m.append("INBOX", r"(\Seen key%d)" % i if i % 2 else "", None, message("m%d" % i)))
    ok(m.create("A/B"))
    ok(m.copy("1:3", "A/B"))
    ok(m.store("4", "+FLAGS", r"(\Deleted)"))
    ok(m.expunge())

    def picture(m):
        r = []
        for f in "INBOX", "A/B":
            ok(m.select(f, readonly=True))
            r.append(ok(m.status(f, "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)")))
            r.append([re.sub(rb"\\Recent ?", b"", x) for x in ok(m.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE)"))])
            r.append(imap_bodies(m))
        return r
    before = picture(m)
    m.logout()
    for end in relay.stop, relay.kill:
        end()
        relay.start()
        m = relay.imap(box)
        check_equal(picture(m), before, "after " + end.__name__)
        m.logout()


@case
def store_mailbox_removed(t):
    """veredusctl mailbox remove: no more login, no more mail, also after a restart; add again is empty"""
    relay = t.own_relay()
    box = relay.mailbox()
    with Smtp() as c:
        c.mail("a@example.org", box, message("x"))
    relay.wait_messages(box, 1)
    relay.ctl("mailbox", "remove", box)
    for _ in range(2):
        with Smtp() as c:
            c.must("250", "MAIL FROM:<a@example.org>")
            c.must("550 5.1.1", "RCPT TO:<%s>" % box)
        relay.stop()
        relay.start()
    relay.mailbox(box)
    check_equal(relay.wait_messages(box, 0), [])


@contextlib.contextmanager
def small_disk(t, mib):
    image, where = t.path("disk.img"), t.path("disk")
    run("truncate", "-s", "%dM" % mib, image)
    run("mkfs.ext4", "-q", "-F", "-m", "0", image)
    os.makedirs(where, exist_ok=True)
    run("mount", "-o", "loop", image, where)
    try:
        yield where
    finally:
        run("umount", where, ok=False)
        os.unlink(image)


@case
def store_full_disk(t):
    """A full disk: 452, nothing acknowledged is lost, mail is readable and can be deleted, then mail is taken again"""
    with small_disk(t, 400) as where:
        relay = t.own_relay(store=os.path.join(where, "store"), store_more='free_min = "16M"')
        try:
            full_disk(t, relay)
        finally:
            relay.kill()


def full_disk(t, relay):
    box = relay.mailbox()
    sent = [message("full %d" % i, b"%x" % i + (b"z" * 70 + b"\r\n") * 14000) for i in range(8)]

    def try_one(c, data):
        for line in "MAIL FROM:<a@example.org>", "RCPT TO:<%s>" % box, "DATA":
            r = c.cmd(line)
            if r[0] not in "23":
                return r
        c.send(stuff(data) + b".\r\n")
        return c.reply()
    taken = 0
    with Smtp() as c:
        while taken < 1000:
            r = try_one(c, sent[taken % len(sent)])
            if not r.startswith("250"):
                break
            taken += 1
        check(r.startswith("452"), "at the full disk, after %d messages: %s" % (taken, r or "closed"))
        check(taken > 20, taken, "messages fitted")
        c.must("250", "RSET")
        check(try_one(c, sent[0]).startswith("452"), "a second try")
        c.must("250", "RSET")
    check(relay.stat("smtp_tempfail") >= 2)
    until(lambda: not relay.queue(), 20, "the queue did not become empty")
    m = relay.imap(box, "INBOX")
    for i in range(taken):
        check_arrived(ok(m.fetch(str(i + 1), "(BODY.PEEK[])"))[0][1], sent[i % len(sent)], "message %d" % (i + 1))
    ok(m.store("1:%d" % (taken - 2), "+FLAGS.SILENT", r"(\Deleted)"))
    ok(m.expunge())
    check_equal(len(imap_bodies(m)), 2)

    def taken_again():
        with Smtp() as c:
            return try_one(c, sent[0]).startswith("250")
    until(taken_again, 30, "no mail was taken after most of it was deleted", 0.5)
    m.logout()


@case
def store_damage(t):
    """A flipped byte in a segment is reported and never served; the other messages are"""
    relay = t.own_relay()
    box = relay.mailbox()
    ctl, path = os.path.join(t.build, "veredusctl"), relay.settings["store"]
    marks = [b"mark-%d-" % i + os.urandom(20).hex().encode() for i in range(5)]
    with Smtp() as c:
        for k in marks:
            c.mail("a@example.org", box, message("damage", k + b"\r\n" * 2000 + k + b"\r\n"))
    relay.wait_messages(box, 5)
    out = relay.ctl("store", "stats").stdout
    check("5 messages" in out and "flushes" in out, "store stats says", out)
    p = run(ctl, "store", "check", "--path", path, ok=False)
    check(p.returncode == 2 and "in use" in p.stderr, "a store in use:", p.stderr)
    relay.stop()
    out = run(ctl, "store", "check", "--path", path).stdout
    check("5 messages" in out and "whole" in out, "store check says", out)
    hurt = 0
    for name in glob.glob(os.path.join(path, "**"), recursive=True):
        if not os.path.isfile(name):
            continue
        with open(name, "r+b") as f:
            data = f.read()
            at = data.find(marks[2])
            while at >= 0:
                f.seek(at + len(marks[2]) + 5)
                f.write(b"!")
                hurt += 1
                at = data.find(marks[2], at + 1)
    check(hurt, "the message was not found in the store's files")
    p = run(ctl, "store", "check", "--path", path, ok=False)
    check(p.returncode == 1 and "seg-000000: offset" in p.stdout, "store check of a damaged store:", p.stdout)
    relay.start()
    m = relay.imap(box, "INBOX")
    served = {}
    for i in range(int(ok(m.select("INBOX"))[0])):
        try:
            data = ok(m.fetch(str(i + 1), "(BODY.PEEK[])"))
            body = data[0][1] if isinstance(data[0], tuple) else b""
        except (Failed, m.error, m.abort):
            m = relay.imap(box, "INBOX")
            continue
        for n, k in enumerate(marks):
            if k in body:
                served[n] = body
    check_equal(sorted(served), [0, 1, 3, 4], "messages served")
    said = relay.log() + " ".join("%s=%s" % x for x in relay.stats().items() if "store" in x[0] and x[1])
    check(re.search(r"damage|corrupt|checksum|crc|bad record", said, re.I), "nothing was reported: " + said[-500:])


@slow
def store_recycles(t):
    """400 MiB through a store of 256 MiB: segments of delivered mail are used again"""
    relay = t.own_relay(store_more='size = "256M"')
    sink = t.sink()
    data = message("recycle", (b"r" * 76 + b"\r\n") * 13000)
    for i in range(400):
        with Smtp() as c:
            c.mail("a@example.org", "x@sink.example", data)
        if i % 20 == 19:
            until(lambda: not relay.queue(), 20, "the queue did not become empty")
    check_equal(len(sink.wait(400, 20)), 400)
    files = [os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(relay.settings["store"]) for f in fs]
    check(sum(files) <= 300 << 20, "the store has %d MiB" % (sum(files) >> 20))
    shutil.rmtree(relay.settings["store"], ignore_errors=True)
