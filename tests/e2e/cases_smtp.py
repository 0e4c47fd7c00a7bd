"""Mail comes in: the SMTP server before real clients, and clients that misbehave."""
import contextlib
import os
import smtplib
import socket
import time

import odd
from harness import (HOST6, PASSWORD, RELAY4, RELAY6, STRANGER4, Smtp, case, check, check_arrived, check_equal, message,
                     run, slow, stuff, until)


def swaks(t, server, to, data):
    """swaks makes CRLF of LF, and puts one behind what it sends."""
    with open(t.path("m"), "wb") as f:
        f.write(data.replace(b"\r\n", b"\n").removesuffix(b"\n"))
    return run("swaks", "--server", server, "--from", "alice@example.org", "--to", to, "--data", "@" + t.path("m"),
               "--timeout", "20").stdout


@case
def smtp_swaks_v4(t):
    """swaks over IPv4, the message arrives"""
    box = t.relay.mailbox()
    sent = message("swaks v4", b"line\r\n.dot\r\n")
    check("250" in swaks(t, RELAY4, box, sent))
    check_arrived(t.relay.wait_messages(box, 1)[0], sent)


@case
def smtp_swaks_v6(t):
    """swaks over IPv6, the message arrives"""
    box = t.relay.mailbox()
    sent = message("swaks v6")
    check("250" in swaks(t, RELAY6, box, sent))
    got = t.relay.wait_messages(box, 1)[0]
    check_arrived(got, sent)
    check(HOST6.encode() in got.lower(), "Received does not name the client")


@case
def smtp_swaks_pipelined(t):
    """swaks with --pipeline"""
    box = t.relay.mailbox()
    run("swaks", "--server", RELAY4, "--from", "a@example.org", "--to", box, "--pipeline", "--timeout", "20")
    t.relay.wait_messages(box, 1)


@case
def smtp_curl(t):
    """curl sends a message to two mailboxes"""
    one, two = t.relay.mailbox(), t.relay.mailbox()
    sent = message("curl", b"".join(b"%d\r\n" % i for i in range(1000)))
    with open(t.path("m"), "wb") as f:
        f.write(sent)
    run("curl", "-sS", "--url", "smtp://%s/client.example.org" % RELAY4, "--mail-from", "alice@example.org",
        "--mail-rcpt", one, "--mail-rcpt", two, "--upload-file", t.path("m"))
    for box in one, two:
        check_arrived(t.relay.wait_messages(box, 1)[0], sent)


@case
def smtp_smtplib(t):
    """Python's smtplib: EHLO, SIZE, several messages on one connection, VRFY, NOOP, RSET"""
    box = t.relay.mailbox()
    with smtplib.SMTP(RELAY4, 25, timeout=20) as c:
        check_equal(c.ehlo()[0], 250)
        for word in "pipelining", "size", "8bitmime", "enhancedstatuscodes":
            check(c.has_extn(word), "no", word)
        check_equal(c.vrfy(box)[0], 252)
        check_equal(c.noop()[0], 250)
        for i in range(3):
            check_equal(c.sendmail("a@example.org", [box], message("n%d" % i)), {})
        check_equal(c.rset()[0], 250)
    check_equal(len(t.relay.wait_messages(box, 3)), 3)


@case
def smtp_postfix_source(t):
    """Postfix's smtp-source: 200 messages on 10 connections that are used again, then 4 long ones"""
    box = t.relay.mailbox()
    run("smtp-source", "-d", "-s", "10", "-m", "200", "-l", "5000", "-f", "a@example.org", "-t", box, RELAY4 + ":25")
    run("smtp-source", "-s", "2", "-m", "4", "-l", "200000", "-f", "a@example.org", "-t", box, RELAY4 + ":25")
    check_equal(len(t.relay.wait_messages(box, 204, 30)), 204)


@case
def smtp_odd_messages(t):
    """200 odd messages on one connection come back byte for byte by IMAP and POP3"""
    box = t.relay.mailbox()
    sent = odd.messages(200)
    with Smtp() as c:
        for m in sent:
            c.mail("alice@example.org", box, m)
    got = t.relay.wait_messages(box, len(sent), 30)
    for i, (g, s) in enumerate(zip(got, sent)):
        check_arrived(g, s, "IMAP, message %d" % i)
    p = t.relay.pop3(box)
    check_equal(p.stat()[0], len(sent))
    for i, g in enumerate(got):
        check_equal(b"\r\n".join(p.retr(i + 1)[1]) + b"\r\n", g, "POP3, message %d" % i)
    p.quit()


@case
def smtp_cut_everywhere(t):
    """A transaction sent a byte a packet, and with the next one's commands behind the end of its data"""
    box = t.relay.mailbox()
    sent = message("cut", b"..\r\n.\r\nx\r\n")
    talk = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n" % box.encode()
    data = stuff(sent) + b".\r\n"
    with Smtp() as c:
        for part, codes in (talk, ["250", "250", "354"]), (data, ["250"]):
            for byte in part:
                c.send(bytes([byte]))
                time.sleep(0.0005)
            check_equal([c.reply()[:3] for _ in codes], codes)
        for part, codes in (talk, ["250", "250", "354"]), (data + talk, ["250", "250", "250", "354"]), (data, ["250"]):
            c.send(part)
            check_equal([c.reply()[:3] for _ in codes], codes)
    for got in t.relay.wait_messages(box, 3):
        check_arrived(got, sent)


@case
def smtp_large(t):
    """1 MiB and 10 MiB, IPv4 and IPv6"""
    box = t.relay.mailbox()
    sent = [odd.big(1 << 20), odd.big(10 << 20, 2)]
    for host, m in zip((RELAY4, RELAY6), sent):
        with Smtp(host) as c:
            c.mail("alice@example.org", box, m)
    for got, m in zip(t.relay.wait_messages(box, 2, 60), sent):
        check_arrived(got, m)


@case
def smtp_relay_denied(t):
    """A stranger may not relay: 550 5.7.1; may send to mailboxes and to configured relay domains"""
    box = t.relay.mailbox()
    sink = t.sink()
    with Smtp(source=STRANGER4) as c:
        c.must("250", "MAIL FROM:<a@example.org>")
        c.must("550 5.7.1", "RCPT TO:<x@sink.example>")
        c.must("550 5.7.1", "RCPT TO:<x@nowhere.example>")
        c.must("250", "RCPT TO:<%s>" % box)
        c.must("250", "RCPT TO:<x@relay.example>")
        c.must("354", "DATA")
        c.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        check(c.reply().startswith("250"))
    check_equal(len(sink.wait(1)), 1, "messages relayed")
    check(t.relay.stat("smtp_relay_denied") >= 2)


@case
def smtp_unknown_user(t):
    """550 5.1.1 for a mailbox that does not exist; postmaster is taken"""
    t.relay.mailbox()
    with Smtp() as c:
        c.must("250", "MAIL FROM:<a@example.org>")
        c.must("550 5.1.1", "RCPT TO:<nobody@example.net>")
        c.must("250", "RCPT TO:<postmaster@example.net>")
        c.must("250", "RSET")
    check(t.relay.stat("smtp_unknown_user") >= 1)


@case
def smtp_size_limit(t):
    """552 5.3.4 at MAIL for a declared size, and after DATA for an undeclared one; the session goes on"""
    box = t.relay.mailbox()
    with Smtp() as c:
        limit = int(c.features.split("SIZE ")[1].split()[0])
        c.must("552 5.3.4", "MAIL FROM:<a@example.org> SIZE=%d" % (limit + 1))
        c.must("552 5.3.4", "MAIL FROM:<a@example.org> SIZE=99999999999999999999")
        c.must("250", "MAIL FROM:<a@example.org>")
        c.must("250", "RCPT TO:<%s>" % box)
        c.must("354", "DATA")
        c.send(b"Subject: big\r\n\r\n" + (b"y" * 76 + b"\r\n") * (limit // 78 + 100) + b".\r\n")
        check(c.reply().startswith("552"))
        c.mail("a@example.org", box, message("small"))
    check_equal(len(t.relay.wait_messages(box, 1)), 1)


@case
def smtp_recipient_limit(t):
    """1,000 recipients are taken, the next get 452; every one gets the message"""
    box = t.relay.mailbox()
    sink = t.sink()
    with Smtp() as c:
        c.must("250", "MAIL FROM:<a@example.org>")
        c.send(b"".join(b"RCPT TO:<u%d@sink.example>\r\n" % i for i in range(1005)))
        codes = [c.reply()[:3] for _ in range(1005)]
        check_equal(codes.count("250"), 1000, "recipients taken")
        check_equal(codes[1000:], ["452"] * 5, "replies past the limit")
        c.must("354", "DATA")
        c.send(stuff(message("many")) + b".\r\n")
        check(c.reply().startswith("250"))
        c.mail("a@example.org", box, message("after"))

    def all_there():
        return len({r for m in sink.messages for r in m.rcpts}) == 1000
    until(all_there, 15, "the next hop did not get 1,000 recipients")


@case
def smtp_bad_commands(t):
    """Unknown, malformed and out-of-order commands get their reply; too many end the session"""
    box = t.relay.mailbox()
    with Smtp(ehlo=None) as c:
        c.must("250", "HELO client.example.org")
        for line, code in (("RCPT TO:<%s>" % box, "503"), ("DATA", "503"), ("XYZZY", "500"), ("MAIL FROM:x y z", "5"),
                           ("MAIL TO:<a@example.org>", "501"), ("MAIL FROM:<a@b", "501"),
                           ("MAIL FROM:<a@example.org> NOSUCH=1", "555"), ("EXPN list", "502"), ("", "500")):
            c.must(code, line)
        c.must("250", "MAIL FROM:<a@example.org>")
        c.must("503", "MAIL FROM:<a@example.org>")
        c.must("5", "RCPT TO:<>")
        c.must("250", "RSET")
        c.must("503", "DATA")
    c = Smtp()
    replies = [c.cmd("NONSENSE %d" % i) for i in range(3)]
    check(all(r.startswith("500") for r in replies), replies)
    ended = ""
    for i in range(100):
        try:
            r = c.cmd("NONSENSE")
        except OSError:
            break
        if not r:
            break
        ended = r
    else:
        check(False, "100 bad commands did not end the session")
    check(ended.startswith("421"), "last reply:", ended)
    c.close()


@case
def smtp_long_lines(t):
    """A command line over the limit gets 500 and does not hurt the next; 1 MiB without a newline neither"""
    with Smtp() as c:
        c.must("500", "NOOP " + "x" * 3000)
        c.must("250", "NOOP")
        c.send(b"y" * (1 << 20) + b"\r\n")
        check(c.reply().startswith("500"))
        c.must("250", "NOOP")
    check(t.relay.stat("smtp_line_too_long") >= 2)


@case
def smtp_no_smuggling(t):
    """Only CRLF.CRLF ends DATA: what follows another ending is never taken for commands"""
    box = t.relay.mailbox()
    for i, end in enumerate((b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r\n.\r\r\n", b"\n.\r\r\n")):
        with Smtp() as c:
            c.must("250", "MAIL FROM:<a@example.org>")
            c.must("250", "RCPT TO:<%s>" % box)
            c.must("354", "DATA")
            c.send(b"Subject: outer %d\r\n\r\nx" % i + end +
                   b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: inner\r\n\r\ny\r\n.\r\n"
                   % box.encode())
            r = c.reply()
            check(r[:1] in ("2", "5"), "reply to the end of data:", r or "closed")
            c.must("250", "NOOP")
    for got in t.relay.wait_messages(box, 0):
        check(b"Subject: outer" in got, "a smuggled message:", got[:300])


@case
def smtp_bdat(t):
    """Odd messages by BDAT (RFC 3030) in 1, 2 and many chunks, envelope and chunks in one piece: they come out whole"""
    box = t.relay.mailbox()
    sent = [b"Subject: bdat %d\r\n\r\n.\r\n..\r\nRSET\r\n" % n + b"line %d\r\n" % n * (5000 * (n == 2) + 1)
            for n in range(3)]
    with Smtp() as c:
        for data, size in zip(sent, (1 << 20, 40, 7)):
            chunks = [data[i:i + size] for i in range(0, len(data), size)]
            c.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<%s>\r\n" % box.encode() +
                   b"".join(b"BDAT %d%s\r\n" % (len(k), b" LAST" if i + 1 == len(chunks) else b"") + k
                            for i, k in enumerate(chunks)))
            for _ in range(2 + len(chunks)):
                r = c.reply()
                check(r.startswith("250"), r)
    got = t.relay.wait_messages(box, 3)
    for a, b in zip(got, sent):
        check_arrived(a, b)


@case
def smtp_talks_too_soon(t):
    """Who sends data without waiting for 354, or commands without waiting for EHLO's reply, is cut off; nothing arrives"""
    box = t.relay.mailbox()
    talk = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n" % box.encode()
    with contextlib.closing(Smtp()) as c:
        c.send(talk + b"Subject: too soon\r\n\r\nx\r\n.\r\n" + talk)
        check_equal([c.reply()[:3] for _ in range(4)], ["250", "250", "554", ""])
    with contextlib.closing(Smtp(ehlo=None)) as c:
        c.send(b"EHLO x\r\n" + talk)
        check_equal([c.reply()[:3] for _ in range(2)], ["554", ""])
    with Smtp() as c:
        c.mail("a@example.org", box, message("after"))
    check_equal(len(t.relay.wait_messages(box, 1)), 1)


@case
def smtp_abort(t):
    """Clients that vanish at every stage leave nothing behind and hurt nobody"""
    box = t.relay.mailbox()
    before = t.relay.stats()
    talk = b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: x\r\n\r\nbody\r\n" % box.encode()
    for i in range(0, len(talk), 3):
        s = socket.create_connection((RELAY4, 25), timeout=10)
        s.sendall(talk[:i])
        if i % 2:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.close()
    with Smtp() as c:
        c.mail("a@example.org", box, message("after"))
    check_equal(len(t.relay.wait_messages(box, 1)), 1)
    time.sleep(0.5)
    after = t.relay.stats()
    check(after["sessions_smtp"] <= before["sessions_smtp"], "SMTP sessions left:", after["sessions_smtp"])


@slow
def smtp_many_connections(t):
    """500 connections at once, each sends"""
    box = t.relay.mailbox()
    cs = [Smtp() for _ in range(500)]
    for c in cs:
        c.send(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<%s>\r\nDATA\r\n" % box.encode())
    for c in cs:
        check_equal([c.reply()[:3] for _ in range(3)], ["250", "250", "354"])
        c.send(b"Subject: many\r\n\r\n" + os.urandom(16).hex().encode() + b"\r\n.\r\n")
    for c in cs:
        check(c.reply().startswith("250"))
        c.quit()
    check_equal(len(set(t.relay.wait_messages(box, 500, 30))), 500)


@case
def net_ping(t):
    """ping and ping of IPv6 are answered, also 1,400 bytes"""
    t.relay
    for host in RELAY4, RELAY6:
        for size in "56", "1400":
            out = run("ping", "-n", "-c", "3", "-i", "0.05", "-W", "2", "-s", size, host, ok=False).stdout
            check("3 received" in out, host, size, out[-200:])


@case
def net_closed_port(t):
    """A closed port refuses at once"""
    t.relay
    for host in RELAY4, RELAY6:
        begin = time.monotonic()
        try:
            socket.create_connection((host, 2), timeout=5).close()
            check(False, "port 2 is open")
        except ConnectionRefusedError:
            check(time.monotonic() - begin < 1)


@case
def smtp_submission(t):
    """Users log in on 587 (swaks, smtplib) and then send as themselves, anywhere; others send nothing"""
    box, other = t.relay.mailbox(), t.relay.mailbox()
    sink = t.sink()
    out = run("swaks", "--server", RELAY4, "--port", "587", "--from", box, "--to", "x@sink.example", "--auth", "PLAIN",
              "--auth-user", box, "--auth-password", PASSWORD, "--header", "Subject: by swaks").stdout
    check("235 2.7.0" in out, out[-800:])
    check(b"Subject: by swaks" in sink.wait(1)[0].data)
    c = smtplib.SMTP(RELAY6, 587, timeout=30)
    c.login(box, PASSWORD)
    sent = message("by smtplib", sender=box)
    check_equal(c.sendmail(box, ["y@sink.example", other], sent), {})
    check_arrived(t.relay.wait_messages(other, 1)[0], sent)
    check_arrived(sink.wait(2)[1].data, sent)
    check_equal(c.docmd("MAIL", "FROM:<%s>" % other)[0], 553)
    c.quit()
    with Smtp(port=587) as c:
        check(c.cmd("MAIL FROM:<%s>" % box).startswith("530"))
    refused = run("swaks", "--server", RELAY4, "--port", "587", "--from", box, "--to", other, "--auth", "LOGIN",
                  "--auth-user", box, "--auth-password", "wrong", ok=False)
    check(refused.returncode != 0 and "535 5.7.8" in refused.stdout, refused.stdout[-800:])
