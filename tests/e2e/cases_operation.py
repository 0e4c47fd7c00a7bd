"""The operator's side: start, stop, wrong configurations, counters, other devices."""
import json
import os
import re
import signal
import socket
import time

import odd
from harness import (CONFIG, RELAY4, RELAY6, TOP, Skipped, Smtp, case, check, check_arrived, check_equal, message, run, until)


@case
def operation_sigterm(t):
    """SIGTERM: 421 and BYE to open sessions, status 0, within 5 s, and the mail is there after a start"""
    relay = t.own_relay()
    box = relay.mailbox()
    smtp, middle = Smtp(), Smtp()
    middle.must("250", "MAIL FROM:<a@example.org>")
    middle.must("250", "RCPT TO:<%s>" % box)
    middle.must("354", "DATA")
    middle.send(b"Subject: cut\r\n\r\nhalf a mess")
    imap = relay.imap(box, "INBOX")
    idle = relay.imap(box, "INBOX")
    idle.send(b"x1 IDLE\r\n")
    check(idle.readline().startswith(b"+"))
    pop = relay.pop3(box)
    smtp.mail("a@example.org", box, message("kept"))
    time.sleep(0.3)
    while idle.sock in __import__("select").select([idle.sock], [], [], 0)[0]:
        if not idle.readline():
            break
    begin = time.monotonic()
    relay.process.send_signal(signal.SIGTERM)
    r = smtp.reply()
    check(r.startswith("421"), "SMTP session got", r or "nothing")
    r = middle.reply()
    check(r == "" or r.startswith("421"), "SMTP session in DATA got", r)
    for m in imap, idle:
        line = m.readline()
        while line and not line.startswith(b"* BYE"):
            line = m.readline()
        check(line.startswith(b"* BYE"), "IMAP session got no BYE")
    pop.sock.settimeout(6)
    try:
        while pop.sock.recv(1000):
            pass
    except socket.timeout:
        check(False, "the POP3 session was not ended")
    except OSError:
        pass
    relay.stop(6)
    check(time.monotonic() - begin < 5, "took %.1f s" % (time.monotonic() - begin))
    relay.start()
    got = relay.wait_messages(box, 1)
    check_equal(len(got), 1)
    check(b"Subject: kept" in got[0])


@case
def operation_start_time(t):
    """Starts on a new store, says so in one line, and an occupied socket or store is refused"""
    relay = t.own_relay()
    check_equal(len(re.findall(r" serves ", relay.log())), 1, "lines that say it serves")
    p = run("ip", "netns", "exec", t.net.relay_ns, os.path.join(t.build, "veredus"), "-c", relay.conf_path, ok=False,
            timeout=30)
    check(p.returncode not in (0, -6, -11), "a second process on the same store: status", p.returncode)
    check(p.stderr.strip(), "it said nothing")
    with Smtp() as c:
        c.must("250", "NOOP")


WRONG = (
    ('hostname = "a.example.net"\nnonsense = 1\n', 2, "nonsense"),
    ('hostname = "a.example.net"\nworkers = { x }\n', 2, None),
    ('hostname = "a.example.net"\nport wan {\n  device = "net_null0"\n  address = { "300.1.1.1/24" }\n}\n', 4, None),
    ('hostname = "a.example.net"\nlisten { protocol = gopher port = 70 }\n', 2, "gopher"),
    ('hostname = "a.example.net"\nqueue {\n  retry_min = "soon"\n}\n', 3, None),
    ('hostname = "a.example.net"\nport wan {\n', None, None),
    ("", None, None),
)


@case
def operation_wrong_config(t):
    """A wrong configuration stops the start with FILE:LINE: reason; veredusctl config check says the same"""
    path = t.path("wrong.conf")
    for text, line, word in WRONG:
        with open(path, "w") as f:
            f.write(text)
        for cmd in ([os.path.join(t.build, "veredus"), "-c", path],
                    [os.path.join(t.build, "veredusctl"), "config", "check", path]):
            p = run(*cmd, ok=False, timeout=20)
            said = p.stderr + p.stdout
            check(p.returncode > 0, cmd[0], "took", repr(text), "status", p.returncode)
            check("%s:%s" % (path, "" if line is None else "%d:" % line) in said or line is None and path in said,
                  "for", repr(text), "said", said)
            check(word is None or word in said, "for", repr(text), "said", said)
    p = run(os.path.join(t.build, "veredus"), "-c", t.path("nosuch.conf"), ok=False)
    check(p.returncode > 0 and "nosuch.conf" in p.stderr, p.stderr)


@case
def operation_wrong_device(t):
    """A device that does not exist, and a store that cannot be made: one clear line, status not 0"""
    relay = t.own_relay(start=False)
    good = CONFIG.format(**relay.settings)
    with open(t.path("file"), "w"):
        pass
    for a, b, word in (("iface=vd0", "iface=nosuch0", "nosuch0"),
                       (relay.settings["store"], t.path("file") + "/store", "store")):
        relay.configure(good.replace(a, b))
        p = run("ip", "netns", "exec", t.net.relay_ns, os.path.join(t.build, "veredus"), "-c", relay.conf_path,
                ok=False, timeout=30)
        check(p.returncode > 0, "status", p.returncode, p.stderr)
        check(word in p.stderr, p.stderr)


@case
def operation_example_config(t):
    """control/example.conf passes veredusctl config check"""
    run(os.path.join(t.build, "veredusctl"), "config", "check", os.path.join(TOP, "control", "example.conf"))


@case
def operation_stats(t):
    """stats --json is one object with every counter of stat.def; status, mailbox list, route list answer"""
    box = t.relay.mailbox()
    s = t.relay.stats()
    with open(os.path.join(TOP, "dataplane", "base", "stat.def")) as f:
        names = re.findall(r"^STAT\((\w+),", f.read(), re.M)
    missing = [n for n in names if n not in s]
    check(not missing, "stats lack", missing)
    check(all(isinstance(v, (int, float)) for v in s.values()), "values that are no numbers")
    with Smtp() as c:
        c.mail("a@example.org", box, message("count me"))
    check_equal(t.relay.stat("smtp_messages_in"), s["smtp_messages_in"] + 1)
    check("mx.example.net" in t.relay.ctl("status").stdout)
    check(box in t.relay.ctl("mailbox", "list").stdout)
    check("sink.example" in t.relay.ctl("route", "list").stdout)
    check(t.relay.ctl("nonsense", ok=False).returncode != 0)
    check(t.relay.ctl("mailbox", "add", "x@elsewhere.example", ok=False, stdin="p\n").returncode != 0)
    check(t.relay.ctl("mailbox", "add", box, ok=False, stdin="p\n").returncode != 0, "a mailbox was added twice")
    p = run(os.path.join(t.build, "veredusctl"), "-s", "/nonexistent", "status", ok=False)
    check(p.returncode not in (0, -11, -6))


@case
def operation_passwd(t):
    """veredusctl mailbox passwd: the new password counts, the old one no more"""
    box = t.relay.mailbox()
    t.relay.ctl("mailbox", "passwd", box, stdin="another\n")
    try:
        t.relay.pop3(box)
        check(False, "the old password is still good")
    except Exception as e:
        check("ERR" in str(e), e)
    t.relay.ctl("mailbox", "passwd", box, stdin="correct horse\n")
    t.relay.pop3(box).quit()


def both_ways(t, relay):
    box = relay.mailbox()
    sink = t.sink()
    sent = odd.big(1 << 20, 31)
    with Smtp() as c:
        c.mail("alice@example.org", [box, "x@sink.example"], sent)
    check_arrived(relay.wait_messages(box, 1, 30)[0], sent)
    check_arrived(sink.wait(1)[0].data, sent)


@case
def operation_af_xdp(t):
    """The net_af_xdp device: 1 MiB in, out to a next hop and read back"""
    both_ways(t, t.own_relay(device="af_xdp"))


@case
def operation_two_workers(t):
    """Two workers: connections are spread, mail is exact"""
    relay = t.own_relay(start=False)
    relay.configure(CONFIG.format(**relay.settings).replace("workers    = { 0 }", "workers    = { 0, 1 }"))
    relay.start()
    both_ways(t, relay)
    box = relay.mailbox()
    for i in range(40):
        with Smtp() as c:
            c.mail("a@example.org", box, message("w%d" % i))
    check_equal(len(set(relay.wait_messages(box, 40))), 40)


@case
def operation_huge_pages(t):
    """Runs on huge pages when the machine gives them"""
    try:
        with open("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "r+") as f:
            before = int(f.read())
            f.seek(0)
            f.write(str(max(before, 256)))
        with open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages") as f:
            if int(f.read()) < 128:
                raise Skipped("no huge pages to be had")
    except OSError as e:
        raise Skipped(str(e))
    try:
        relay = t.own_relay(start=False)
        relay.configure(CONFIG.format(**relay.settings).replace("huge_pages = false", "huge_pages = true"))
        relay.start()
        both_ways(t, relay)
        relay.stop()
    finally:
        with open("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "w") as f:
            f.write(str(before))


@case
def operation_idle_cpu(t):
    """An idle relay in adaptive mode leaves the machine to others"""
    relay = t.relay
    ticks = os.sysconf("SC_CLK_TCK")

    def cpu():
        with open("/proc/%d/stat" % relay.process.pid) as f:
            x = f.read().rsplit(")", 1)[1].split()
        return (int(x[11]) + int(x[12])) / ticks
    time.sleep(0.5)
    begin = cpu()
    time.sleep(2)
    share = (cpu() - begin) / 2
    check(share < 0.5, "uses %.0f %% of a CPU when idle" % (100 * share))


@case
def operation_connect_while_full(t):
    """More connections than sessions: refused, counted, and when they go others come"""
    relay = t.own_relay(start=False)
    relay.configure(CONFIG.format(**relay.settings).replace("sessions   = 4096", "sessions   = 32"))
    relay.start()
    socks = [socket.create_connection((RELAY4, 25), timeout=10) for _ in range(60)]
    time.sleep(0.5)
    check(relay.stat("session_refused") > 0)
    for s in socks:
        s.close()

    def let_in():
        try:
            with Smtp():
                return True
        except Exception:
            return False
    until(let_in, 15, "no connection was taken after the others had gone", 0.3)


@case
def operation_conns(t):
    """veredusctl conn list, show: exact counts, bytes, addresses, the expression; queue verbs take --where"""
    relay = t.own_relay()
    box = relay.mailbox()
    smtp = [Smtp() for _ in range(3)]
    six = Smtp(host=RELAY6)
    imap = relay.imap(box, "INBOX")
    r = relay.ctl_json("conn", "list")
    check_equal((r["count"], len(r["connections"])), (5, 5), "connections")
    check_equal(sorted(c["protocol"] for c in r["connections"]), ["imap"] + 4 * ["smtp"])
    check(all(c["state"] == "ESTABLISHED" and not c["active"] and c["sack"] for c in r["connections"]), r)
    port = smtp[1].s.getsockname()[1]
    for where, n in (("protocol=smtp", 4), ("not protocol=smtp", 1), ("peer=198.18.0.0/24", 4), ("peer=fd00::/8", 1),
                     ("peer_port=%d" % port, 1), ("state=established and local_port=25", 4), ("age>1h or idle>1h", 0),
                     ("protocol=imap or peer=fd00:198:18::1", 2), ("bytes_in>1G", 0), ("rtt<1h", 5)):
        check_equal(relay.ctl_json("conn", "list", "--where", where)["count"], n, where)
    r = relay.ctl_json("conn", "list", "--limit", "2")
    check_equal((r["count"], len(r["connections"])), (5, 2), "with a limit")
    one = relay.ctl_json("conn", "list", "--where", "peer_port=%d" % port)["connections"][0]
    sent, got = len("EHLO client.example.org\r\n"), one["bytes_out"]
    check_equal((one["bytes_in"], one["peer"], one["local"]), (sent, "198.18.0.1", RELAY4))
    smtp[1].must("250", "NOOP")
    # The reply is on its way when we have read it; its acknowledgment may be delayed.
    until(lambda: relay.ctl_json("conn", "show", one["id"])["connections"][0]["bytes_out"] > got, 10, "bytes_out stands")
    again = relay.ctl_json("conn", "show", one["id"])["connections"][0]
    check_equal(again["bytes_in"], sent + 6)
    check_equal(again["session"], one["session"])
    for word in ("state", "ESTABLISHED", "rtt_min_us", "cwnd", "zero_window_time_us", "retransmits"):
        check(word in relay.ctl("conn", "show", one["id"]).stdout, "conn show lacks", word)
    check("5 connections" in relay.ctl("conn", "list").stdout)
    check("bytes_out" in relay.ctl("conn", "fields").stdout and "rcpt" in relay.ctl("queue", "fields").stdout)
    p = relay.ctl("conn", "list", "--where", "nosuch=1", ok=False)
    check(p.returncode == 1 and "nosuch" in p.stderr, p.stderr)
    check(relay.ctl("conn", "show", "7.77", ok=False).returncode == 1)
    for c in smtp + [six]:
        c.quit()
    imap.logout()
    until(lambda: relay.ctl_json("conn", "list")["count"] == 0, 10, "connections stay")
    with Smtp() as c:
        for i in range(4):
            c.mail("a@example.org", "r%d@other.example" % i, message("w"))
    until(lambda: all(q["tries"] for q in relay.queue()), 15, "no try was made")
    for where, n in (("rcpt=*@other.example and tries>=1", 4), ("rcpt=r1@* or rcpt=r2@*", 2), ("age>1h", 0), ("from=b@*", 0)):
        check_equal(len(relay.ctl_json("queue", "list", "--where", where)["items"]), n, where)
    check("2 items" in relay.ctl("queue", "remove", "--where", "not (rcpt=r1@* or rcpt=r2@*)").stdout)
    check_equal(relay.ctl_json("queue", "remove", "--where", "site=198.18.0.1:2526")["count"], 2)


@case
def operation_trace(t):
    """veredusctl trace: the events of a connection and its session in order, --last, --session, --follow, --json"""
    relay = t.own_relay()
    other = Smtp()
    c = Smtp()
    port = c.s.getsockname()[1]
    one = relay.ctl_json("conn", "list", "--where", "peer_port=%d" % port)["connections"][0]
    with open(t.path("follow"), "w") as f:
        follow = t.popen(os.path.join(t.build, "veredusctl"), "-s", relay.socket, "trace", "--follow", "--conn", one["id"],
                         stdout=f)

    def followed():
        with open(t.path("follow")) as f:
            return f.read()
    until(lambda: "session reply 220" in followed(), 20, "trace --follow shows nothing")
    c.must("250", "NOOP")
    c.quit()
    until(lambda: "session close" in followed() and "-> TIME-WAIT" in followed(), 20, "trace --follow does not go on")
    follow.terminate()
    # Of this connection and no other, from the handshake to the end, and the session in between.
    said = relay.ctl("trace", "--conn", one["id"]).stdout
    at = [said.find(w) for w in ("session on worker 0 runs on", "session reply 220", "session reply 221", "session close")]
    check(min(at) >= 0 and at == sorted(at), "order of", said)
    check("conn %s" % one["id"] in said and "tcp rx [P.] len 6" in said, said)
    check_equal(said.count("session reply 220"), 1, "greetings of one connection")
    lines = relay.ctl("trace", "--session", str(one["session_index"])).stdout.splitlines()
    check(lines and all("session %d " % one["session_index"] in x for x in lines), lines)
    check_equal(len(relay.ctl("trace", "--last", "3").stdout.splitlines()), 3)
    for line in relay.ctl("trace", "--last", "5", "--json").stdout.splitlines():
        check("text" in json.loads(line))
    check(relay.ctl("trace", "--conn", "nonsense", ok=False).returncode == 1)
    check(relay.ctl("trace", "--session", "x", ok=False).returncode == 2)
    other.quit()
