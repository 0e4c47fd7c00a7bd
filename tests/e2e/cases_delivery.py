"""Mail goes out: to a next hop that is fine, slow, refusing, gone; the queue and the operator's view of it."""
import email
import os
import re
import smtplib
import time

import odd
from harness import (HOST4, HOST6, RELAY4, Failed, Smtp, case, check, check_arrived, check_equal, message, run, slow,
                     until)


def send(box, sent, sender="alice@example.org"):
    with Smtp() as c:
        for m in sent if isinstance(sent, list) else [sent]:
            c.mail(sender, box, m)


def arrived(sink, sent, seconds=20):
    """Every message of sent is at the sink exactly once, in any order."""
    got = [m.data for m in sink.wait(len(sent), seconds)]
    check_equal(len(got), len(sent), "messages at the next hop")
    for i, s in enumerate(sent):
        full = s if s.endswith(b"\r\n") else s + b"\r\n"
        at = next((k for k, g in enumerate(got) if g.endswith(full)), None)
        check(at is not None, "message %d did not arrive whole" % i)
        check_arrived(got.pop(at), s, "message %d" % i)


def idle_queue(relay, seconds=10):
    until(lambda: not relay.queue(), seconds, lambda: "the queue did not become empty: %s" % relay.queue())


@case
def delivery_relay_v4(t):
    """A message for a routed domain reaches the next hop byte for byte, envelope too"""
    sink = t.sink()
    t.relay
    sent = message("relay", b"..\r\n.\r\nline\r\n")
    send("x+y@sink.example", sent)
    got = sink.wait(1)[0]
    check_arrived(got.data, sent)
    check(got.mail.upper().startswith("MAIL FROM:<ALICE@EXAMPLE.ORG>"), got.mail)
    check_equal([r.upper() for r in got.rcpts], ["RCPT TO:<X+Y@SINK.EXAMPLE>"])
    check(b"Return-Path" not in got.data[:200], "Return-Path was sent on")
    idle_queue(t.relay)


@case
def delivery_relay_v6(t):
    """The same over IPv6"""
    sink = t.sink(HOST6)
    t.relay
    sent = message("relay v6")
    send("x@sink6.example", sent)
    check_arrived(sink.wait(1)[0].data, sent)
    check(sink.messages[0].peer.startswith("fd00:"))
    idle_queue(t.relay)  # the next hop's last reply has been taken in: nothing is left for later cases


@case
def delivery_odd_messages(t):
    """100 odd messages relayed, and one of 10 MiB"""
    sink = t.sink()
    t.relay
    sent = odd.messages(100, 11) + [odd.big(10 << 20, 12)]
    send("x@sink.example", sent)
    arrived(sink, sent, 40)


@case
def delivery_reuses_connections(t):
    """200 messages to one next hop use few connections"""
    sink = t.sink()
    t.relay
    send("x@sink.example", [message("n%d" % i) for i in range(200)])
    check_equal(len(sink.wait(200, 20)), 200)
    check(sink.connections <= 20, sink.connections, "connections")
    check(t.relay.stat("delivery_reused") > 100)


@case
def delivery_smtp_sink(t):
    """Postfix's smtp-sink as the next hop takes 50 messages"""
    t.relay
    directory = t.path("smtp-sink")
    os.mkdir(directory)
    os.chmod(directory, 0o777)
    os.chmod(t.dir, 0o755)
    t.popen("smtp-sink", "-u", "nobody", "-d", directory + "/%Y.", HOST4 + ":2525", "100")
    bodies = [os.urandom(300).hex() for _ in range(50)]
    time.sleep(0.3)
    send("x@sink.example", [message("sink", b.encode() + b"\r\n") for b in bodies])

    def all_there():
        text = "".join(open(os.path.join(directory, f), errors="replace").read() for f in os.listdir(directory))
        return all(b in text for b in bodies)
    until(all_there, 20, "smtp-sink did not get all messages")


@case
def delivery_without_pipelining(t):
    """A next hop that offers no PIPELINING, SIZE or 8BITMIME, and one that knows HELO only"""
    t.relay
    for extensions, replies in (((), {}), ((), {"EHLO": "502 5.5.1 no"})):
        sink = t.sink(extensions=extensions, replies=replies)
        sent = message("plain")
        send("x@sink.example", sent)
        check_arrived(sink.wait(1)[0].data, sent)
        idle_queue(t.relay)
        sink.close()


@case
def delivery_bounce(t):
    """The next hop says 550: the sender gets a report (RFC 3464) with the recipient and the reason"""
    box = t.relay.mailbox()
    t.sink(replies={"RCPT": "550 5.1.1 no such person here"})
    send("gone@sink.example", message("bounce me", sender=box), sender=box)
    report = t.relay.wait_messages(box, 1, 20)[0]
    m = email.message_from_bytes(report)
    check_equal(m.get_content_type(), "multipart/report")
    check_equal(m.get_param("report-type"), "delivery-status")
    check(b"Return-Path: <>" in report, "the report's sender is not <>")
    status = [p for p in m.walk() if p.get_content_type() == "message/delivery-status"][0]
    fields = {k.lower(): v for block in status.get_payload() for k, v in block.items()}
    check("gone@sink.example" in fields["final-recipient"], fields)
    check_equal(fields["action"], "failed")
    check_equal(fields["status"], "5.1.1")
    check("no such person here" in fields.get("diagnostic-code", ""), fields)
    check(b"bounce me" in report, "the report does not quote the message")
    idle_queue(t.relay)
    check(t.relay.stat("delivery_refused") >= 1 and t.relay.stat("delivery_bounced") >= 1)


@case
def delivery_dsn(t):
    """smtplib asks for word of success (RFC 3461): one report for a mailbox here, one for a next hop without DSN; none
    of a failure with NOTIFY=NEVER"""
    box, other = t.relay.mailbox(), t.relay.mailbox()
    t.sink(replies={"RCPT": ["250 2.1.5 ok", "550 5.1.1 no"]})
    ask = {"mail_options": ["RET=HDRS", "ENVID=e2e+2B1"],
           "rcpt_options": ["NOTIFY=SUCCESS", "ORCPT=rfc822;first+2Bname@example.org"]}
    with smtplib.SMTP(RELAY4, 25, timeout=20) as c:
        check(c.ehlo() and c.has_extn("dsn"), "no DSN")
        check_equal(c.sendmail(box, [other], message("asked"), **ask), {})
        check_equal(c.sendmail(box, ["a@sink.example"], message("asked"), **ask), {})
        t.relay.wait_messages(box, 2, 20)
        check_equal(c.sendmail(box, ["b@sink.example"], message("quiet"), rcpt_options=["NOTIFY=NEVER"]), {})
    idle_queue(t.relay)
    reports = t.relay.wait_messages(box, 2)
    check_equal(len(reports), 2, "reports")
    actions = sorted(re.findall(rb"Action: (\w+)", b"".join(reports)))
    check_equal(actions, [b"delivered", b"relayed"])
    for r in reports:
        check(b"Original-Envelope-Id: e2e+1\r\n" in r, "no ENVID", r)
        check(b"Original-Recipient: rfc822;first+name@example.org\r\n" in r, "no ORCPT", r)


@case
def delivery_no_bounce_of_bounce(t):
    """A refused message from <> is dropped without a report"""
    t.relay
    t.sink(replies={"RCPT": "550 5.1.1 no"})
    bounced = t.relay.stat("delivery_bounced")
    send("gone@sink.example", message("null sender"), sender="")
    until(lambda: t.relay.stat("delivery_refused"), 10)
    idle_queue(t.relay)
    check_equal(t.relay.stat("delivery_bounced"), bounced)


@case
def delivery_partial_refusal(t):
    """One of two recipients refused: the other gets the message, the sender one report"""
    box = t.relay.mailbox()
    sink = t.sink(replies={"RCPT": ["550 5.1.1 not this one"]})
    send(["a@sink.example", "b@sink.example"], message("half", sender=box), sender=box)
    got = sink.wait(1)
    check_equal(len(got) and len(got[0].rcpts), 1, "recipients at the next hop")
    report = t.relay.wait_messages(box, 1, 20)[0]
    names = re.findall(rb"Final-Recipient: rfc822; *<?([^\s>]+)", report, re.I)
    check_equal(len(names), 1, "recipients in the report %s" % names)
    check(names[0].decode() not in got[0].rcpts[0], "the report names the recipient that was served")


@case
def delivery_retry_4xx(t):
    """450 at RCPT, 451 after the dot, 421 in the greeting: retried until taken, once"""
    t.relay
    for verb, text in ("RCPT", "450 4.2.0 later"), (".", "451 4.3.0 later"), ("CONNECT", "421 4.3.2 later"), \
            ("MAIL", "452 4.3.1 full"):
        sink = t.sink(replies={verb: [text]})
        sent = message("retry " + verb)
        send("x@sink.example", sent)
        got = sink.wait(1, 20)
        check_equal(len(got), 1, "messages after a %s at %s" % (text[:3], verb))
        check_arrived(got[0].data, sent)
        time.sleep(0.2)
        check_equal(len(sink.messages), 1, "deliveries")
        sink.close()
    check(t.relay.stat("delivery_deferred") >= 4)


@case
def delivery_dropped_connection(t):
    """The next hop cuts the connection at DATA and after the dot: the message comes again"""
    t.relay
    for verb in "DATA", ".":
        sink = t.sink(replies={verb: ["DROP"]})
        sent = message("dropped at " + verb)
        send("x@sink.example", sent)
        got = sink.wait(1, 20)
        check_equal(len(got), 1, "messages after a cut at %s" % verb)
        check_arrived(got[0].data, sent)
        sink.close()


@case
def delivery_unreachable_then_up(t):
    """No one listens at the next hop; when it comes up the message is delivered"""
    t.relay
    sent = message("wait for me")
    send("x@other.example", sent)
    until(lambda: any(q["tries"] >= 1 for q in t.relay.queue()), 10, "no failed try is shown in the queue")
    sink = t.sink(port=2526)
    check_arrived(sink.wait(1, 20)[0].data, sent)
    idle_queue(t.relay)


@case
def delivery_queue_operator(t):
    """veredusctl queue list, retry, remove: by id, by recipient, all"""
    relay = t.own_relay(retry_min="1h", retry_max="1h", expire="2h")
    for i in range(4):
        send("r%d@other.example" % i, message("op"))
    until(lambda: len(relay.queue()) == 4 and all(q["tries"] for q in relay.queue()), 15, "queue %s" % relay.queue())
    q = {x["recipients"][0]: x for x in relay.queue()}
    check_equal(sorted(q), ["r%d@other.example" % i for i in range(4)])
    check("other.example" in relay.ctl("queue", "list").stdout)
    check_equal(relay.ctl("queue", "remove", ok=False).returncode != 0, True, "remove without saying what")
    check_equal(len(relay.queue()), 4)
    relay.ctl("queue", "remove", q["r0@other.example"]["id"])
    relay.ctl("queue", "remove", "--rcpt", "r1@other.example")
    check_equal(len(relay.queue()), 2)
    sink = t.sink(port=2526)
    time.sleep(1.5)
    check_equal(len(sink.messages), 0, "messages before the retry was asked for")
    relay.ctl("queue", "retry", q["r2@other.example"]["id"])
    check_equal(len(sink.wait(1)), 1, "messages after a retry by id")
    relay.ctl("queue", "retry", "--all")
    check_equal(len(sink.wait(2)), 2, "messages after a retry of all")
    idle_queue(relay)


@case
def delivery_queue_survives_restart(t):
    """Queued mail is delivered after a clean restart and after kill -9"""
    relay = t.own_relay()
    sent = [message("restart %d" % i) for i in range(20)]
    send("x@other.example", sent)
    relay.stop()
    relay.start()
    check_equal(len(relay.queue()), 20, "in the queue after a restart")
    relay.kill()
    relay.start()
    check_equal(len(relay.queue()), 20, "in the queue after kill -9")
    sink = t.sink(port=2526)
    arrived(sink, sent, 30)
    idle_queue(relay)


@case
def delivery_expire(t):
    """A message that cannot be delivered expires and is bounced"""
    relay = t.own_relay(expire="4s")
    box = relay.mailbox()
    send("x@other.example", message("too old", sender=box), sender=box)
    report = relay.wait_messages(box, 1, 30)[0]
    check(b"x@other.example" in report and b"too old" in report)
    idle_queue(relay)
    check(relay.stat("delivery_expired") >= 1)


@slow
def delivery_many(t):
    """2,000 messages of 20 connections through to smtp-sink's address, none lost, none twice"""
    sink = t.sink()
    t.relay
    run(os.path.join(t.build, "bench", "smtp-accept"), "--connections", "20", "--messages", "2000", "--to",
        "r%@sink.example", "--verify-ledger", t.path("many"), "--size", "2048")
    with open(t.path("many")) as f:
        ids = f.read().split()
    check_equal(len(ids), 2000)
    sink.wait(2000, 60)
    time.sleep(0.5)
    got = [re.search(rb"X-Ledger-Id: (\S+)", m.data).group(1).decode() for m in sink.messages]
    check_equal(len(got), 2000)
    if sorted(got) != sorted(ids):
        raise Failed("the next hop got other messages than those acknowledged")
