"""Mail is read by IMAP: Python's imaplib, curl, and raw lines where a library hides them."""
import imaplib
import os
import re
import socket
import time

import odd
from harness import (PASSWORD, RELAY4, RELAY6, Smtp, case, check, check_arrived, check_equal, imap_bodies, message, ok,
                     run, until)

MULTIPART = (b"From: Alice <alice@example.org>\r\nTo: Bob <bob@example.net>, carol@example.net\r\n"
             b"Cc: \"D, E\" <de@example.net>\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n"
             b"Date: Thu, 01 Jan 2026 12:00:00 +0100\r\nMessage-ID: <m1@example.org>\r\n"
             b"In-Reply-To: <m0@example.org>\r\nMIME-Version: 1.0\r\n"
             b"Content-Type: multipart/mixed; boundary=\"sep\"\r\n\r\npreamble\r\n--sep\r\n"
             b"Content-Type: text/plain; charset=utf-8\r\n\r\ntext \xc3\xa9\r\nline two\r\n--sep\r\n"
             b"Content-Type: application/octet-stream; name=\"a.bin\"\r\nContent-Transfer-Encoding: base64\r\n"
             b"Content-Disposition: attachment; filename=\"a.bin\"\r\n\r\nAAECAw==\r\n--sep--\r\nepilogue\r\n")


def fetch(m, which, items):
    """The reply to one FETCH as one piece of bytes, literals in place."""
    data = ok(m.fetch(which, items))
    return b"".join(b"".join(d) if isinstance(d, tuple) else d for d in data if d)


def append(m, folder, data, flags="", date=None):
    return ok(m.append(folder, flags, date, data))


def raw(m, line):
    """A command that imaplib does not know: (tagged reply, untagged lines)."""
    tag = m._new_tag()
    m.send(tag + b" " + line.encode() + b"\r\n")
    untagged = []
    while True:
        r = m.readline()
        check(r, "connection closed after", line)
        if r.startswith(tag):
            return r[len(tag) + 1:].strip(), untagged
        untagged.append(r.strip())


@case
def imap_login(t):
    """Greeting, CAPABILITY, LOGIN right and wrong, LOGOUT, over IPv4 and IPv6"""
    box = t.relay.mailbox()
    for host in RELAY4, RELAY6:
        m = imaplib.IMAP4(host, 143, timeout=20)
        check("IMAP4REV1" in m.capabilities, m.capabilities)
        for user, password in ((box, "wrong"), ("nobody@example.net", PASSWORD)):
            try:
                m.login(user, password)
                check(False, "wrong login let in")
            except imaplib.IMAP4.error:
                pass
        ok(m.login(box, PASSWORD))
        caps = ok(m.capability())[0].upper().split()
        for word in b"IDLE", b"UIDPLUS", b"MOVE":
            check(word in caps, "CAPABILITY lacks", word)
        ok(m.noop())
        check_equal(m.logout()[0], "BYE")


@case
def imap_folders(t):
    """CREATE, LIST, SUBSCRIBE, LSUB, STATUS, RENAME, DELETE"""
    m = t.relay.imap(t.relay.mailbox())

    def names(reply):
        return sorted(re.sub(rb'.*"/" "?([^"]*)"?$', rb"\1", x) for x in ok(reply) if x)
    check_equal(names(m.list()), [b"INBOX"])
    for f in "Sent", "Work/2026/June", '"with space"', '"R&AOk-sum&AOk-"':
        ok(m.create(f))
    check_equal(m.create("Sent")[0], "NO", "CREATE of an existing folder")
    check_equal(m.create("INBOX")[0], "NO", "CREATE INBOX")
    all_names = names(m.list())
    for f in b"INBOX", b"Sent", b"Work/2026/June", b"with space", b"R&AOk-sum&AOk-":
        check(f in all_names, f, "not in", all_names)
    check_equal(names(m.list('""', '"Work/%"')), [b"Work/2026"])
    check_equal(names(m.list('""', '"W*June"')), [b"Work/2026/June"])
    ok(m.subscribe("Sent"))
    check_equal(names(m.lsub()), [b"Sent"])
    ok(m.unsubscribe("Sent"))
    append(m, "Sent", message("one"))
    s = ok(m.status("Sent", "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY)"))[0]
    check(b"MESSAGES 1" in s and b"UNSEEN 1" in s, s)
    ok(m.rename("Sent", "Old/Sent"))
    check(b"Old/Sent" in names(m.list()) and b"Sent" not in names(m.list()))
    ok(m.select("Old/Sent"))
    check_equal(len(imap_bodies(m)), 1)
    ok(m.unselect() if hasattr(m, "unselect") else m.close())
    ok(m.delete("Old/Sent"))
    check_equal(m.select("Old/Sent")[0], "NO")
    check_equal(m.delete("INBOX")[0], "NO", "DELETE INBOX")
    m.logout()


@case
def imap_append_exact(t):
    """APPEND of 100 odd messages and 10 MiB, FETCH BODY[] gives the same bytes and RFC822.SIZE"""
    m = t.relay.imap(t.relay.mailbox(), "INBOX")
    sent = [x for x in odd.messages(100, 5)] + [odd.big(10 << 20, 7)]
    old, imaplib.MapCRLF = imaplib.MapCRLF, re.compile(rb"(?!x)x")  # imaplib would "repair" line ends
    try:
        for x in sent:
            append(m, "INBOX", x)
    finally:
        imaplib.MapCRLF = old
    ok(m.noop())
    for i, (got, want) in enumerate(zip(imap_bodies(m), sent)):
        check_equal(got, want, "message %d" % i)
    sizes = [int(re.search(rb"RFC822.SIZE (\d+)", x).group(1)) for x in ok(m.fetch("1:*", "(RFC822.SIZE)"))]
    check_equal(sizes, [len(x) for x in sent])
    m.logout()


@case
def imap_append_flags_date(t):
    """APPEND keeps flags and the internal date, and answers APPENDUID"""
    m = t.relay.imap(t.relay.mailbox(), "INBOX")
    r = append(m, "INBOX", message("x"), r"(\Seen $Forwarded)", '"01-Feb-2024 03:04:05 +0000"')
    check(b"APPENDUID" in r[0], r)
    got = fetch(m, "1", "(FLAGS INTERNALDATE UID)")
    check(b"\\Seen" in got and b"$Forwarded" in got, got)
    check(b"2024 03:04:05 +0000" in got, got)
    check_equal(m.append("NoSuch", "", None, message("x"))[0], "NO")
    m.logout()


@case
def imap_fetch_parts(t):
    """ENVELOPE, BODYSTRUCTURE, BODY[n], HEADER.FIELDS, MIME, TEXT, partials"""
    m = t.relay.imap(t.relay.mailbox(), "INBOX")
    append(m, "INBOX", MULTIPART)
    env = fetch(m, "1", "(ENVELOPE)")
    for x in (b'"Thu, 01 Jan 2026 12:00:00 +0100"', b'"=?utf-8?q?caf=C3=A9?="', b'(("Alice" NIL "alice" "example.org"))',
              b'("Bob" NIL "bob" "example.net")', b'(NIL NIL "carol" "example.net")', b'"D, E"', b'"<m0@example.org>"',
              b'"<m1@example.org>"'):
        check(x in env, x, "not in", env)
    bs = fetch(m, "1", "(BODYSTRUCTURE)").upper()
    for x in (b'"TEXT" "PLAIN" ("CHARSET" "UTF-8") NIL NIL "7BIT" 17 ', b'"APPLICATION" "OCTET-STREAM" ("NAME" "A.BIN")',
              b'"BASE64" 8', b'("ATTACHMENT" ("FILENAME" "A.BIN"))', b'"MIXED" ("BOUNDARY" "SEP")'):
        check(x in bs, x, "not in", bs)

    def part(section):
        data = ok(m.fetch("1", "(BODY.PEEK[%s])" % section))
        return data[0][1] if isinstance(data[0], tuple) else re.search(rb'\] "(.*)"\)', data[0]).group(1)
    head, text = MULTIPART.split(b"\r\n\r\n", 1)
    check_equal(part(""), MULTIPART)
    check_equal(part("HEADER"), head + b"\r\n\r\n")
    check_equal(part("TEXT"), text)
    check_equal(part("1"), b"text \xc3\xa9\r\nline two")
    check_equal(part("1.MIME"), b"Content-Type: text/plain; charset=utf-8\r\n\r\n")
    check_equal(part("2"), b"AAECAw==")
    check_equal(part("HEADER.FIELDS (Subject To)"),
                b"To: Bob <bob@example.net>, carol@example.net\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n\r\n")
    for off, n in ((0, 10), (5, 1), (len(MULTIPART) - 3, 100), (100, 1 << 20)):
        data = ok(m.fetch("1", "(BODY.PEEK[]<%d.%d>)" % (off, n)))
        check_equal(data[0][1], MULTIPART[off:off + n], "partial %d.%d" % (off, n))
    check(b"\\Seen" not in fetch(m, "1", "(FLAGS)"), "PEEK set \\Seen")
    fetch(m, "1", "(BODY[TEXT])")
    check(b"\\Seen" in fetch(m, "1", "(FLAGS)"), "BODY[] did not set \\Seen")
    for macro in "ALL", "FAST", "FULL":
        check(b"RFC822.SIZE %d" % len(MULTIPART) in fetch(m, "1", macro), macro)
    m.logout()


@case
def imap_store_search(t):
    """STORE in its forms, SEARCH by flags, header, size, date, sequence; UID forms"""
    box = t.relay.mailbox()
    m = t.relay.imap(box, "INBOX")
    for i in range(5):
        append(m, "INBOX", message("subject %d" % i, b"x" * 10 * i + b"needle%d\r\n" % i, sender="s%d@example.org" % i))

    def search(*terms):
        return [int(x) for x in ok(m.search(None, *terms))[0].split()]
    ok(m.store("1:2", "+FLAGS", r"(\Flagged)"))
    ok(m.store("2", "-FLAGS", r"(\Flagged)"))
    ok(m.store("3", "FLAGS.SILENT", r"(\Answered keyword1)"))
    check_equal(search("FLAGGED"), [1])
    check_equal(search("UNFLAGGED"), [2, 3, 4, 5])
    check_equal(search("ANSWERED"), [3])
    check_equal(search("KEYWORD", "keyword1"), [3])
    check_equal(search("ALL"), [1, 2, 3, 4, 5])
    check_equal(search("SUBJECT", '"subject 4"'), [5])
    check_equal(search("FROM", "s2@example.org"), [3])
    check_equal(search("BODY", "needle3"), [4])
    check_equal(search("TEXT", "NEEDLE1"), [2])
    check_equal(search("NOT", "FLAGGED", "2:4"), [2, 3, 4])
    check_equal(search("OR", "FLAGGED", "ANSWERED"), [1, 3])
    check_equal(search("SENTON", "1-Jan-2026"), [1, 2, 3, 4, 5])
    check_equal(search("BEFORE", "1-Jan-2020"), [])
    check_equal(search("LARGER", "100000"), [])
    uids = [int(x) for x in ok(m.uid("SEARCH", "ALL"))[0].split()]
    ok(m.uid("STORE", str(uids[4]), "+FLAGS", r"(\Deleted)"))
    check_equal(search("DELETED"), [5])
    second = t.relay.imap(box, "INBOX")
    check(b"\\Flagged" in fetch(second, "1", "(FLAGS)"), "flags are not seen by another session")
    second.logout()
    m.logout()


@case
def imap_copy_move_expunge(t):
    """COPY, MOVE, UID EXPUNGE, EXPUNGE, CLOSE; UIDs rise and are not used again"""
    m = t.relay.imap(t.relay.mailbox(), "INBOX")
    bodies = [message("m%d" % i) for i in range(6)]
    for x in bodies:
        append(m, "INBOX", x)
    ok(m.create("Other"))
    ok(m.copy("1:2", "Other"))
    check_equal(m.copy("1", "NoSuch")[0], "NO")
    tagged, untagged = raw(m, "MOVE 3 Other")
    check(tagged.startswith(b"OK"), tagged)
    check(any(x.endswith(b"EXPUNGE") for x in untagged), untagged)
    check_equal(imap_bodies(m), bodies[:2] + bodies[3:])
    uids = [int(x) for x in ok(m.uid("SEARCH", "ALL"))[0].split()]
    ok(m.store("1:2", "+FLAGS", r"(\Deleted)"))
    check(raw(m, "UID EXPUNGE %d" % uids[1])[0].startswith(b"OK"))
    check_equal(imap_bodies(m), bodies[:1] + bodies[3:])
    ok(m.expunge())
    check_equal(imap_bodies(m), bodies[3:])
    ok(m.store("1", "+FLAGS", r"(\Deleted)"))
    ok(m.close())
    ok(m.select("Other"))
    check_equal(imap_bodies(m), bodies[:3])
    ok(m.select("INBOX"))
    check_equal(imap_bodies(m), bodies[4:])
    append(m, "INBOX", bodies[0])
    ok(m.noop())
    new = [int(x) for x in ok(m.uid("SEARCH", "ALL"))[0].split()]
    check(new == sorted(new) and new[-1] > max(uids), "UIDs", uids, "then", new)
    m.logout()


@case
def imap_examine(t):
    """EXAMINE is read-only"""
    m = t.relay.imap(t.relay.mailbox(), "INBOX")
    append(m, "INBOX", message("x"))
    ok(m.select("INBOX", readonly=True))
    fetch(m, "1", "(BODY[])")
    check(b"\\Seen" not in fetch(m, "1", "(FLAGS)"))
    tagged, _ = raw(m, r"STORE 1 +FLAGS (\Deleted)")
    check(tagged.startswith(b"NO") or tagged.startswith(b"BAD"), tagged)
    m.logout()


@case
def imap_idle(t):
    """IDLE: new mail is told in less than a second; DONE ends it"""
    box = t.relay.mailbox()
    m = t.relay.imap(box, "INBOX")
    tag = m._new_tag()
    m.send(tag + b" IDLE\r\n")
    check(m.readline().startswith(b"+"), "no continuation for IDLE")
    with Smtp() as c:
        begin = time.monotonic()
        c.mail("a@example.org", box, message("wake up"))
        line = m.readline()
        while b"EXISTS" not in line:
            line = m.readline()
    took = time.monotonic() - begin
    check(took < 1, "told after %.3f s" % took)
    m.send(b"DONE\r\n")
    line = m.readline()
    while not line.startswith(tag):
        line = m.readline()
    check(b" OK" in line, line)
    m.logout()


@case
def imap_two_sessions(t):
    """A session hears of what another did: new mail, flags, expunges"""
    box = t.relay.mailbox()
    one, two = t.relay.imap(box, "INBOX"), t.relay.imap(box, "INBOX")
    append(one, "INBOX", message("a"))
    append(one, "INBOX", message("b"))

    def heard(word):
        return lambda: any(word in x for x in raw(two, "NOOP")[1])
    until(heard(b"2 EXISTS"), 5, "no EXISTS")
    ok(one.store("1", "+FLAGS", r"(\Flagged \Deleted)"))
    until(heard(b"\\Flagged"), 5, "no FETCH of flags")
    ok(one.expunge())
    until(heard(b"1 EXPUNGE"), 5, "no EXPUNGE")
    one.logout()
    two.logout()


@case
def imap_curl(t):
    """curl lists folders and fetches a message"""
    box = t.relay.mailbox()
    m = t.relay.imap(box, "INBOX")
    append(m, "INBOX", MULTIPART)
    m.logout()
    auth = ("-u", "%s:%s" % (box, PASSWORD))
    check("INBOX" in run("curl", "-sS", *auth, "imap://%s/" % RELAY4).stdout)
    run("curl", "-sS", *auth, "-o", t.path("got"), "imap://%s/INBOX;MAILINDEX=1" % RELAY4)
    with open(t.path("got"), "rb") as f:
        check_equal(f.read(), MULTIPART)


@case
def imap_bad(t):
    """Malformed commands and literals get BAD or NO, and the session or at least the server goes on"""
    box = t.relay.mailbox()
    m = t.relay.imap(box, "INBOX")
    append(m, "INBOX", message("x"))
    for line in ("XYZZY", "FETCH", "FETCH 1", "FETCH 0 FLAGS", "FETCH 1 (FLAGS", "FETCH 1 BODY[", "FETCH 1 BODY[]<5>",
                 "FETCH 99999999999 FLAGS", "STORE 1 FLAGS", "SEARCH", "SEARCH NONSENSE", "SELECT", "LOGIN a b",
                 "SEARCH " + "(" * 3000, "FETCH 1 BODY[" + "1." * 2000 + "]", 'SELECT "unclosed', "UID", "UID XYZZY 1"):
        tagged, _ = raw(m, line)
        check(tagged.startswith(b"BAD") or tagged.startswith(b"NO"), line[:60], "got", tagged)
    check(raw(m, "NOOP")[0].startswith(b"OK"))
    m.logout()
    m = imaplib.IMAP4(RELAY4, 143, timeout=20)
    m.send(b"a1 LOGIN {4000000000}\r\n")
    line = m.readline()
    check(not line.startswith(b"+"), "a literal of 4 GB before login was welcomed")
    m.shutdown()
    check_equal(len(t.relay.wait_messages(box, 1)), 1)


@case
def imap_delivered_by_smtp(t):
    """What came by SMTP is \\Recent, unseen, and whole by IMAP over IPv6"""
    box = t.relay.mailbox()
    sent = message("via smtp")
    with Smtp() as c:
        c.mail("alice@example.org", box, sent)
    t.relay.wait_messages(box, 1)
    m = t.relay.imap(box, "INBOX", RELAY6)
    check_arrived(imap_bodies(m)[0], sent)
    check(b"\\Seen" not in fetch(m, "1", "(FLAGS)"))
    m.logout()


@case
def imap_slow_readers(t):
    """24 devices ask for a whole folder and read nothing: another still reads all of it"""
    box = t.relay.mailbox()
    sent = [message("slow %d" % i, os.urandom(9000).hex().encode() + b"\r\n") for i in range(40)]
    small = [message("small %d" % i) for i in range(200)]
    with Smtp() as c:
        for m in sent + small:
            c.mail("alice@example.org", box, m)
    t.relay.wait_messages(box, 240, 30)
    stalled = []
    try:
        for i in range(24):
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(30)
            s.connect((RELAY4, 143))
            s.sendall(b'a LOGIN %s "%s"\r\nb EXAMINE INBOX\r\n' % (box.encode(), PASSWORD.encode()))
            s.sendall(b"c FETCH %s BODY.PEEK[]\r\n" % (b"1:40" if i % 2 else b"41:*"))
            stalled.append(s)
        until(lambda: t.relay.stat("sessions_imap") >= 24, 30, "the devices did not come in")
        time.sleep(1)
        for got, m in zip(t.relay.wait_messages(box, 240, 60), sent + small):
            check_arrived(got, m)
    finally:
        for s in stalled:
            s.close()
