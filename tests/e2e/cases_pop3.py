"""Mail is read by POP3: Python's poplib, curl, and the bytes themselves."""
import poplib
import socket

from harness import (PASSWORD, RELAY4, RELAY6, Smtp, case, check, check_arrived, check_equal, message, run, until)


def fill(t, n):
    """A mailbox with n messages, and what they are as stored."""
    box = t.relay.mailbox()
    with Smtp() as c:
        for i in range(n):
            c.mail("alice@example.org", box, message("pop %d" % i, b"line %d\r\n.\r\n..\r\n" % i))
    return box, t.relay.wait_messages(box, n)


def retr(p, i):
    return b"\r\n".join(p.retr(i)[1]) + b"\r\n"


@case
def pop3_read(t):
    """STAT, LIST, UIDL, RETR, TOP, NOOP, CAPA over IPv4 and IPv6"""
    box, want = fill(t, 3)
    for host in RELAY4, RELAY6:
        p = t.relay.pop3(box, host)
        check_equal(p.stat(), (3, sum(map(len, want))), "STAT")
        check_equal([int(x.split()[1]) for x in p.list()[1]], [len(m) for m in want], "LIST")
        check(p.list(2).startswith(b"+OK 2 %d" % len(want[1])), "LIST 2:", p.list(2))
        uids = [x.split()[1] for x in p.uidl()[1]]
        check_equal(len(set(uids)), 3, "different UIDLs")
        for i, m in enumerate(want):
            check_equal(retr(p, i + 1), m, "RETR %d" % (i + 1))
        top = b"\r\n".join(p.top(1, 1)[1]) + b"\r\n"
        head, body = want[0].split(b"\r\n\r\n", 1)
        check_equal(top, head + b"\r\n\r\n" + body.split(b"\r\n")[0] + b"\r\n", "TOP 1 1")
        p.noop()
        capa = p.capa()
        for word in "TOP", "UIDL", "PIPELINING", "RESP-CODES":
            check(word in capa, "CAPA lacks", word)
        p.quit()
    p = t.relay.pop3(box)
    check_equal([x.split()[1] for x in p.uidl()[1]], uids, "UIDL of the next session")
    p.quit()


@case
def pop3_curl(t):
    """curl lists and retrieves"""
    box, want = fill(t, 2)
    auth = ("-u", "%s:%s" % (box, PASSWORD))
    listing = run("curl", "-sS", *auth, "pop3://%s/" % RELAY4).stdout.split()
    check_equal(listing, ["1", str(len(want[0])), "2", str(len(want[1]))])
    run("curl", "-sS", *auth, "-o", t.path("got"), "pop3://%s/2" % RELAY4)
    with open(t.path("got"), "rb") as f:
        check_equal(f.read(), want[1])


@case
def pop3_dele_without_quit(t):
    """DELE and a lost connection delete nothing; neither does RSET"""
    box, want = fill(t, 2)
    p = t.relay.pop3(box)
    p.dele(1)
    check_equal(p.stat()[0], 1)
    p.rset()
    check_equal(p.stat()[0], 2)
    p.dele(1)
    p.dele(2)
    p.close()

    def again():
        try:
            return t.relay.pop3(box)
        except poplib.error_proto:
            return None
    p = until(again, 10, "the mailbox did not become free after the connection was lost")
    check_equal([retr(p, i + 1) for i in range(2)], want)
    p.quit()


@case
def pop3_dele_quit(t):
    """DELE and QUIT delete, for POP3 and IMAP; the other message keeps its UIDL"""
    box, want = fill(t, 3)
    p = t.relay.pop3(box)
    uids = [x.split()[1] for x in p.uidl()[1]]
    p.dele(1)
    p.dele(3)
    try:
        p.retr(1)
        check(False, "RETR of a deleted message was answered")
    except poplib.error_proto:
        pass
    p.quit()
    p = t.relay.pop3(box)
    check_equal(p.stat()[0], 1)
    check_equal([x.split()[1] for x in p.uidl()[1]], [uids[1]])
    check_equal(retr(p, 1), want[1])
    p.quit()
    check_equal(t.relay.wait_messages(box, 1), [want[1]])


@case
def pop3_exclusive(t):
    """A second session of the same mailbox is refused with [IN-USE]; IMAP may go on; new mail waits for the next session"""
    box, _ = fill(t, 1)
    p = t.relay.pop3(box)
    try:
        t.relay.pop3(box).quit()
        check(False, "a second POP3 session was let in")
    except poplib.error_proto as e:
        check("IN-USE" in str(e), e)
    with Smtp() as c:
        c.mail("a@example.org", box, message("later"))
    t.relay.wait_messages(box, 2)
    check_equal(p.stat()[0], 1)
    p.quit()
    p = t.relay.pop3(box)
    check_equal(p.stat()[0], 2)
    p.quit()


@case
def pop3_bad(t):
    """Wrong passwords, commands out of order, malformed numbers: -ERR, counted, and the session goes on"""
    box, _ = fill(t, 1)
    p = poplib.POP3(RELAY4, 110, timeout=20)

    def refused(f, *a):
        try:
            f(*a)
        except poplib.error_proto as e:
            check(e.args[0].startswith(b"-ERR"), e)
            return
        check(False, "not refused:", f.__name__, *a)
    refused(p.stat)
    refused(p._shortcmd, "PASS x")
    refused(p._shortcmd, "XYZZY")
    p.user("nobody@example.net")
    refused(p.pass_, PASSWORD)
    p.user(box)
    refused(p.pass_, "wrong")
    p.user(box)
    p.pass_(PASSWORD)
    for line in ("RETR", "RETR 0", "RETR 2", "RETR -1", "RETR 99999999999999999999", "RETR x", "TOP 1", "TOP 1 -1",
                 "DELE 2", "LIST 7", "UIDL 7", "USER x", "R" * 2000):
        refused(p._shortcmd, line)
    p.dele(1)
    refused(p.dele, 1)
    p.rset()
    check_equal(p.stat()[0], 1)
    p.quit()
    check(t.relay.stat("auth_failed") >= 2)


@case
def pop3_pipelined(t):
    """Commands of a whole session in one packet, and a byte a packet"""
    box, want = fill(t, 2)
    talk = b"USER %s\r\nPASS %s\r\nSTAT\r\nRETR 1\r\nRETR 2\r\nQUIT\r\n" % (box.encode(), PASSWORD.encode())
    for pieces in [talk], [bytes([x]) for x in talk]:
        s = socket.create_connection((RELAY4, 110), timeout=20)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for x in pieces:
            s.sendall(x)
        got = b""
        while True:
            x = s.recv(65536)
            if not x:
                break
            got += x
        s.close()
        for m in want:
            check(m.replace(b"\r\n.", b"\r\n..") + b".\r\n" in got, "message not in", got[:300])
        check_equal(got.count(b"+OK"), 7, "replies with +OK")


@case
def pop3_large(t):
    """A 5 MiB message, and 300 messages in one session"""
    import odd
    box = t.relay.mailbox()
    big = odd.big(5 << 20, 9)
    with Smtp() as c:
        c.mail("a@example.org", box, big)
        for i in range(300):
            c.mail("a@example.org", box, message("many %d" % i))
    t.relay.wait_messages(box, 301, 30)
    p = t.relay.pop3(box)
    check_equal(p.stat()[0], 301)
    check_arrived(retr(p, 1), big)
    check_equal(len(p.uidl()[1]), 301)
    p.quit()
