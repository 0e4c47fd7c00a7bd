"""What the end-to-end cases stand on: the cable (Net), a running veredus (Relay), and clients that hide nothing.

The runner's process moves into the namespace NAME-host, so every socket and every program that a case starts is a
host on the other end of the cable from the relay. Addresses: the relay 198.18.0.2 and fd00:198:18::2; this host
198.18.0.1, fd00:198:18::1 (which may relay) and 198.18.0.9 (which may not).
"""
import contextlib
import ctypes
import imaplib
import itertools
import json
import os
import poplib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

from sink import Sink

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RELAY4, RELAY6 = "198.18.0.2", "fd00:198:18::2"
HOST4, HOST6, STRANGER4 = "198.18.0.1", "fd00:198:18::1", "198.18.0.9"
PASSWORD = "correct horse"
CLONE_NEWNET = 0x40000000

poplib._MAXLINE = 1 << 20
imaplib._MAXLINE = 1 << 24


class Failed(AssertionError):
    pass


class Skipped(Exception):
    pass


def check(condition, *what):
    if not condition:
        raise Failed(" ".join(str(w) for w in what) or "check failed")


def check_equal(got, want, what=""):
    if got != want:
        raise Failed("%s: got %s, want %s" % (what or "differs", short(got), short(want)))


def short(x):
    r = repr(x)
    return r if len(r) <= 200 else r[:120] + "..." + r[-60:] + " (%d long)" % len(x)


def until(condition, seconds=10, what="nothing happened", step=0.05):
    """Polls until condition() is true and returns what it returned."""
    end = time.monotonic() + seconds
    while True:
        r = condition()
        if r:
            return r
        if time.monotonic() > end:
            raise Failed("%s within %g s" % (what() if callable(what) else what, seconds))
        time.sleep(step)


def run(*args, ok=True, timeout=60, **kw):
    """Runs a program; returns its CompletedProcess (text). ok: a status other than 0 fails the case."""
    p = subprocess.run(args, capture_output=True, text=True, timeout=timeout, errors="replace", **kw)
    if ok and p.returncode != 0:
        raise Failed("%s: status %d: %s" % (" ".join(args)[:200], p.returncode, (p.stdout + p.stderr)[-600:]))
    return p


class Net:
    """The cable; rough: one that loses, doubles and reorders frames (rough_wire.py)."""

    def __init__(self, name, rough=False):
        self.name, self.rough = name, rough
        self.wire = None
        self.script = os.path.join(TOP, "tests", "netns.sh")
        self.relay_ns = name + "-relay"

    def up(self):
        run(self.script, "up", self.name, *(["wire"] if self.rough else []))
        if self.rough:
            self.wire = subprocess.Popen(
                ["ip", "netns", "exec", self.name + "-wire", sys.executable,
                 os.path.join(TOP, "tests", "e2e", "rough_wire.py"), "vh1", "vd1"], stdout=subprocess.PIPE, text=True)
            check(self.wire.stdout.readline() == "ready\n", "the rough wire did not start")
        run("ip", "-n", self.name + "-host", "addr", "replace", STRANGER4 + "/24", "dev", "vh0")

    def enter(self):
        """From here on this process, and what it starts, is on NAME-host."""
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._setns("/run/netns/%s-host" % self.name)

    @staticmethod
    def _setns(path_or_fd):
        fd = path_or_fd if isinstance(path_or_fd, int) else os.open(path_or_fd, os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(fd)

    def leave(self):
        self._setns(self.home)

    def down(self):
        if self.wire is not None:
            self.wire.terminate()
            print("wire:", "; ".join(self.wire.communicate(timeout=30)[0].splitlines()))
            self.wire = None
        run(self.script, "down", self.name, ok=False)


DEVICES = {"af_packet": "net_af_packet0,iface=vd0", "af_xdp": "net_af_xdp0,iface=vd0,busy_budget=0"}

CONFIG = """\
hostname   = "mx.example.net"
workers    = {{ 0 }}
idle       = adaptive
huge_pages = false
packets    = 16384
connections = 4096
sessions   = 4096
relay_from = {{ "198.18.0.1/32", "fd00:198:18::1/128" }}
# Most cases are about other things than TLS and log in on the cable in clear; cases_tls.py tries the default.
auth_in_clear = {auth_in_clear}

port wan {{
	device  = "{device}"
	address = {{ "198.18.0.2/24", "fd00:198:18::2/64" }}
	gateway = {{ "198.18.0.1" }}
}}

listen {{ protocol = smtp port = 25 {starttls} }}
listen {{ protocol = submission port = 587 {starttls} }}
listen {{ protocol = pop3 port = 110 {starttls} }}
listen {{ protocol = imap port = 143 {starttls} }}
listen {{ protocol = http port = 80 }}
{tls}

store {{ engine = local path = "{store}" {store_more} }}
queue {{ retry_min = "{retry_min}" retry_max = "{retry_max}" expire = "{expire}" }}
limits {{ message_size = "{message_size}" }}

domain example.net {{ deliver = local }}
domain relay.example {{ deliver = relay }}
route "relay.example"  {{ via = "198.18.0.1:2525" }}
route "sink.example"   {{ via = "198.18.0.1:2525" }}
route "sink6.example"  {{ via = "[fd00:198:18::1]:2525" }}
route "other.example"  {{ via = "198.18.0.1:2526" }}

control {{ socket = "{socket}" }}
"""

DEFAULTS = {"retry_min": "1s", "retry_max": "2s", "expire": "1h", "message_size": "20M", "store_more": "",
            "auth_in_clear": "true", "starttls": "", "tls": ""}


class Relay:
    """One veredus process, its configuration and its store, in a directory of its own."""

    def __init__(self, net, build, device, parent, **settings):
        self.net, self.build = net, build
        self.dir = tempfile.mkdtemp(prefix="relay-", dir=parent)
        self.log_path = os.path.join(self.dir, "log")
        self.conf_path = os.path.join(self.dir, "veredus.conf")
        self.socket = os.path.join(self.dir, "ctl")
        self.settings = {**DEFAULTS, "device": DEVICES[device], "store": os.path.join(self.dir, "store"),
                         "socket": self.socket, **settings}
        self.process = None
        self.boxes = itertools.count(1)
        self.configure(CONFIG.format(**self.settings))

    def configure(self, text):
        with open(self.conf_path, "w") as f:
            f.write(text)

    def start(self, seconds=30):
        self.log_from = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", self.net.relay_ns, os.path.join(self.build, "veredus"), "-c", self.conf_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(lambda: " serves " in self.log() or self.process.poll() is not None, seconds, "did not start")
            check(self.process.poll() is None, "veredus ended at its start:", self.log()[-1500:])
        except Failed:
            self.kill()
            raise Failed("veredus did not start: " + self.log()[-1500:])
        return self

    def log(self):
        """What this process has logged."""
        with open(self.log_path, errors="replace") as f:
            f.seek(self.log_from)
            return f.read()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, seconds=10):
        """A clean stop; fails when the status is not 0 (a sanitizer's report also shows there)."""
        if self.process is None:
            return
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed("did not stop within %g s of SIGTERM" % seconds)
        self.process = None
        check(status == 0, "veredus ended with status", status, ":", self.log()[-1500:])

    def kill(self):
        if self.process is not None:
            if self.alive():
                self.process.kill()
            self.process.wait()
            self.process = None

    # ---- the operator ----
    def ctl(self, *args, ok=True, stdin=None):
        return run(os.path.join(self.build, "veredusctl"), "-s", self.socket, *args, ok=ok, input=stdin)

    def ctl_json(self, *args):
        out = self.ctl(*args, "--json").stdout
        try:
            return json.loads(out)
        except ValueError:
            raise Failed("veredusctl %s --json printed %s" % (" ".join(args), short(out)))

    def stats(self):
        return self.ctl_json("stats")

    def stat(self, name):
        s = self.stats()
        check(name in s, "no counter", name)
        return s[name]

    def mailbox(self, name=None):
        """A new mailbox, its password is PASSWORD."""
        name = name or "box%d@example.net" % next(self.boxes)
        self.ctl("mailbox", "add", name, stdin=PASSWORD + "\n")
        return name

    def queue(self):
        q = self.ctl_json("queue", "list")
        return q if isinstance(q, list) else q["items"]

    # ---- clients ----
    def smtp(self, **kw):
        return Smtp(**kw)

    def pop3(self, box, host=RELAY4):
        p = poplib.POP3(host, 110, timeout=30)
        p.user(box)
        p.pass_(PASSWORD)
        return p

    def imap(self, box, folder=None, host=RELAY4):
        m = imaplib.IMAP4(host, 143, timeout=30)
        ok(m.login(box, PASSWORD))
        if folder:
            ok(m.select(folder))
        return m

    def wait_messages(self, box, n, seconds=15):
        """The n (or more) messages of the INBOX, as bytes, in the order they came, without \\Seen being set."""
        m = self.imap(box, "INBOX")
        try:
            def count():
                m.noop()
                got = int(ok(m.status("INBOX", "(MESSAGES)"))[0].split(b"MESSAGES ")[1].split(b")")[0])
                return got >= n
            until(count, seconds, "mailbox %s did not get %d messages" % (box, n))
            return imap_bodies(m) if int(ok(m.select("INBOX"))[0]) else []
        finally:
            m.logout()


def ok(reply):
    """The data of an imaplib reply that must be OK."""
    check(reply[0] == "OK", "IMAP says", reply)
    return reply[1]


def imap_bodies(m, which="1:*"):
    data = ok(m.fetch(which, "(UID BODY.PEEK[])"))
    found = [(int(re.match(rb"(\d+) ", d[0]).group(1)), d[1]) for d in data if isinstance(d, tuple)]
    return [body for _, body in sorted(found)]


class Smtp:
    """SMTP with the bytes in sight: nothing is added, folded or repaired."""

    def __init__(self, host=RELAY4, port=25, source=None, ehlo="client.example.org"):
        self.s = socket.create_connection((host, port), timeout=30, source_address=(source, 0) if source else None)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.f = self.s.makefile("rb")
        self.greeting = self.reply()
        check(self.greeting.startswith("220"), "greeting:", self.greeting)
        self.features = self.must("250", "EHLO " + ehlo) if ehlo else ""

    def send(self, data):
        self.s.sendall(data)

    def reply(self):
        """One reply, its lines joined by newlines; '' when the server has closed."""
        lines = []
        while True:
            line = self.f.readline()
            if not line:
                return "\n".join(lines)
            check(line.endswith(b"\r\n"), "reply without CRLF:", line)
            lines.append(line[:-2].decode("latin-1"))
            if line[3:4] != b"-":
                return "\n".join(lines)

    def cmd(self, line):
        self.send(line.encode("latin-1") + b"\r\n")
        return self.reply()

    def must(self, code, line):
        r = self.cmd(line)
        check(r.startswith(code), "%s: %s, want %s" % (line[:100], r or "closed", code))
        return r

    def mail(self, sender, rcpts, data, mail_args=""):
        """A whole transaction; returns the reply to the dot. data: the message as it is, CRLF lines."""
        self.must("250", "MAIL FROM:<%s>%s" % (sender, mail_args))
        for r in [rcpts] if isinstance(rcpts, str) else rcpts:
            self.must("250", "RCPT TO:<%s>" % r)
        self.must("354", "DATA")
        self.send(stuff(data) + b".\r\n")
        r = self.reply()
        check(r.startswith("250"), "end of data:", r or "closed")
        return r

    def close(self):
        self.f.close()
        self.s.close()

    def quit(self):
        self.must("221", "QUIT")
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.quit()
        else:
            self.close()


def stuff(data):
    """RFC 5321 4.5.2; a message whose last line lacks its CRLF gets one, as SMTP cannot say otherwise."""
    if data and not data.endswith(b"\r\n"):
        data += b"\r\n"
    return (b"\r\n" + data).replace(b"\r\n.", b"\r\n..")[2:]


TRACE_LINE = re.compile(rb"(?:(?:Return-Path|Received|Delivered-To):|[ \t])", re.I)


def check_arrived(got, sent, what="message"):
    """got is sent, byte for byte, behind nothing but trace header lines."""
    if sent and not sent.endswith(b"\r\n"):
        sent += b"\r\n"
    if not got.endswith(sent):
        at = next((i for i, (a, b) in enumerate(zip(reversed(got), reversed(sent))) if a != b), min(len(got), len(sent)))
        raise Failed("%s: bytes differ %d before the end: got %s, want %s" %
                     (what, at, short(got[max(0, len(got) - at - 40):len(got) - at + 20]),
                      short(sent[max(0, len(sent) - at - 40):len(sent) - at + 20])))
    trace = got[:len(got) - len(sent)]
    check(trace.endswith(b"\r\n"), what, "has no trace header:", short(trace))
    for line in trace[:-2].split(b"\r\n"):
        check(TRACE_LINE.match(line), what, "begins with", short(line))


def message(subject="test", body=b"hello\r\n", sender="alice@example.org", to="box@example.net", extra=b""):
    return (b"From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
            b"Message-ID: <%s@example.org>\r\n%s\r\n" %
            (sender.encode(), to.encode(), subject.encode(), os.urandom(8).hex().encode(), extra)) + body


class Context:
    """What a case gets: the shared relay (or one of its own), a directory, and things that end with the case."""

    def __init__(self, net, build, device, directory):
        self.net, self.build, self.device, self.dir = net, build, device, directory
        self.shared = None
        self.cleanup = None

    @property
    def relay(self):
        """The relay that ordinary cases share; started when it is first wanted."""
        if self.shared is None or not self.shared.alive():
            self.drop_shared(check_status=False)
            self.shared = Relay(self.net, self.build, self.device, self.dir).start()
        return self.shared

    def drop_shared(self, check_status=True):
        relay, self.shared = self.shared, None
        if relay is not None:
            if check_status:
                relay.stop()
            else:
                relay.kill()

    def own_relay(self, device=None, start=True, **settings):
        """A relay for this case alone; the shared one is stopped, the namespace has one address."""
        self.drop_shared()
        relay = Relay(self.net, self.build, device or self.device, self.dir, **settings)
        self.cleanup.callback(relay.kill)
        return relay.start() if start else relay

    def sink(self, address=HOST4, port=2525, **kw):
        sink = Sink(address, port, **kw)
        self.cleanup.callback(sink.close)
        return sink

    def path(self, name):
        return os.path.join(self.dir, name)

    def popen(self, *args, **kw):
        p = subprocess.Popen(args, stdin=subprocess.DEVNULL, **kw)

        def end():
            if p.poll() is None:
                p.kill()
            p.wait()
        self.cleanup.callback(end)
        return p


CASES = []


def case(f):
    """Makes a function a case: f(t) with t a Context; its docstring says what it shows."""
    CASES.append(f)
    return f


def slow(f):
    """A case that --quick leaves out."""
    f.slow = True
    return case(f)
