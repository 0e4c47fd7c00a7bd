"""TLS with real clients: STARTTLS and implicit, SNI, versions, reload without a dropped session, hostile handshakes."""
import contextlib
import imaplib
import os
import poplib
import smtplib
import socket
import ssl
import subprocess

from harness import (PASSWORD, RELAY4, RELAY6, Failed, Smtp, case, check, check_arrived, check_equal, imap_bodies, message,
                     run, until)


def make_cert(path, name, kind="ec", cn=None):
    new = ["-newkey", "rsa:2048"] if kind == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    run("openssl", "req", "-x509", "-nodes", *new, "-keyout", path + ".key", "-out", path + ".pem", "-days", "30",
        "-subj", "/CN=" + (cn or name), "-addext", "subjectAltName=DNS:" + name)


def tls_relay(t, **settings):
    """A relay with two names, the first by ECDSA and RSA; STARTTLS on the clear ports and 465, 993, 995, 443."""
    for stem, name, kind in (("ec", "mx.example.net", "ec"), ("rsa", "mx.example.net", "rsa"),
                             ("other", "*.other.example", "ec")):
        make_cert(t.path(stem), name, kind)
    text = "".join('tls { certificate = "%s.pem" key = "%s.key" }\n' % (t.path(s), t.path(s)) for s in ("ec", "rsa", "other"))
    text += "".join("listen { protocol = %s port = %d tls = implicit }\n" % p for p in
                    (("smtp", 465), ("pop3", 995), ("imap", 993), ("http", 443)))
    return t.own_relay(starttls="tls = starttls", tls=text, auth_in_clear="false", **settings)


def context(t, stem="ec", version=None):
    c = ssl.create_default_context(cafile=t.path(stem) + ".pem")
    if version:
        c.minimum_version = c.maximum_version = version
    return c


def connect(t, port, name="mx.example.net", c=None, host=RELAY4):
    s = socket.create_connection((host, port), timeout=20)
    return (c or context(t)).wrap_socket(s, server_hostname=name)


@case
def tls_smtp(t):
    """swaks, curl and smtplib, STARTTLS and 465, TLS 1.2 and 1.3: every byte of small and large messages; Received says so"""
    r = tls_relay(t)
    box = r.mailbox()
    big = message("big", os.urandom(1500000).hex().encode().replace(b"0a", b"0\r\n") + b"\r\n.\r\nend\r\n")
    small = message("small")
    want = []
    for i, version in enumerate((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)):
        for data in small, big:
            s = smtplib.SMTP(RELAY4, 25, "client.example.org", timeout=60)
            s.starttls(context=no_names(context(t, version=version)))
            s.sendmail("alice@example.org", [box], data)
            s.quit()
            s = smtplib.SMTP_SSL(RELAY6, 465, "client.example.org", timeout=60,
                                 context=no_names(context(t, version=version)))
            s.sendmail("alice@example.org", [box], data)
            s.quit()
            want += [data, data]
    for more in (("--tls",), ("--tls-on-connect", "-p", "465"), ("--tls", "--tls-protocol", "tlsv1_2")):
        run("swaks", "--server", RELAY4, "--to", box, "--from", "alice@example.org", "--body", "by swaks", *more)
    with open(t.path("mail"), "wb") as f:
        f.write(big)
    for url, more in (("smtp://%s:25" % RELAY4, ("--ssl-reqd",)), ("smtps://%s:465" % RELAY4, ())):
        run("curl", "-sSk", *more, "--url", url + "/client.example.org", "--mail-from", "alice@example.org", "--mail-rcpt", box,
            "--upload-file", t.path("mail"))
        want.append(big)
    got = wait(t, box, 13)
    exact = [g for g in got if b"by swaks" not in g]
    check_equal(len(exact), len(want), "messages")
    for g, w in zip(exact, want):
        check_arrived(g, w)
    for g in got:
        head = g.split(b"\r\n\r\n")[0]
        check(b"with ESMTPS id" in head and b"(using TLSv1." in head, "Received:", head[:300])
    check(b"(using TLSv1.2 with cipher ECDHE-ECDSA-AES128-GCM-SHA256)" in got[0][:500], got[0][:300])
    check(b"(using TLSv1.3 with cipher TLS_AES_128_GCM_SHA256)" in got[4][:500], got[4][:300])


def no_names(c):
    c.check_hostname = False
    return c


def imap_ssl(t, name="mx.example.net"):
    class By(imaplib.IMAP4_SSL):
        def _create_socket(self, timeout=None):
            return connect(t, 993, name)
    return By(RELAY4, 993)


def wait(t, box, n):
    """The n messages of a mailbox, read by IMAP over TLS."""
    def bodies():
        with imap_ssl(t) as m:
            m.login(box, PASSWORD)
            m.select("INBOX")
            got = imap_bodies(m)
            return got if len(got) >= n else None
    return until(bodies, 30, "mailbox %s did not get %d messages" % (box, n))


@case
def tls_imap_pop3(t):
    """imaplib, poplib and curl: 993, 995, STARTTLS, STLS; passwords in clear are refused; SNI chooses the certificate"""
    r = tls_relay(t)
    box = r.mailbox()
    data = message("read me", os.urandom(100000).hex().encode() + b"\r\n")
    with Smtp() as c:
        c.mail("alice@example.org", box, data)
    want, = wait(t, box, 1)
    m = imaplib.IMAP4(RELAY4, 143)
    check("LOGINDISABLED" in m.capabilities and "STARTTLS" in m.capabilities, m.capabilities)
    check_equal(m._simple_command("LOGIN", box, '"%s"' % PASSWORD)[0], "NO", "LOGIN in clear")
    m.starttls(no_names(context(t)))
    check("LOGINDISABLED" not in m.capabilities and "STARTTLS" not in m.capabilities, m.capabilities)
    m.login(box, PASSWORD)
    m.select("INBOX")
    check_equal(imap_bodies(m), [want])
    m.logout()
    with imap_ssl(t) as m:
        m.login(box, PASSWORD)
        m.select("INBOX")
        check_equal(imap_bodies(m), [want])
    p = poplib.POP3(RELAY4, 110)
    check("STLS" in p.capa() and "USER" not in p.capa(), p.capa())
    try:
        p.user(box)
        raise Failed("USER in clear was taken")
    except poplib.error_proto:
        pass
    p.stls(no_names(context(t)))
    for p in p, poplib.POP3_SSL(RELAY4, 995, context=no_names(context(t))):
        p.user(box)
        p.pass_(PASSWORD)
        check_equal(b"\r\n".join(p.retr(1)[1]) + b"\r\n", want)
        p.quit()
    for url in "imaps://%s/INBOX;MAILINDEX=1" % RELAY4, "pop3s://%s/1" % RELAY4:
        run("curl", "-sSk", "-u", "%s:%s" % (box, PASSWORD), "-o", t.path("got"), url)
        with open(t.path("got"), "rb") as f:
            check_equal(f.read(), want, url)
    check_equal(run("curl", "-sSk", "--max-time", "30", "https://%s/health" % RELAY4).stdout, "ok\n")
    for name, stem in (("mx.example.net", "ec"), ("a.other.example", "other")):
        connect(t, 993, name, context(t, stem)).close()  # it is checked against the name
    out = run("openssl", "s_client", "-connect", RELAY4 + ":993", "-servername", "mx.example.net", "-sigalgs",
              "RSA-PSS+SHA256", "-tls1_3", stdin=subprocess.DEVNULL).stdout
    check("Peer signature type: RSA-PSS" in out, "RSA beside ECDSA:", out[-800:])
    for old in "-tls1", "-tls1_1":
        check(run("openssl", "s_client", "-connect", RELAY4 + ":993", old, "-cipher", "ALL:@SECLEVEL=0", ok=False,
                  stdin=subprocess.DEVNULL).returncode != 0, old, "was accepted")


@case
def tls_tickets_and_reload(t):
    """A ticket resumes at its service and name only; a reload changes new sessions and drops none; a bad file changes nothing"""
    r = tls_relay(t)
    out = run("openssl", "s_client", "-connect", RELAY4 + ":993", "-servername", "mx.example.net", "-tls1_2", "-sess_out",
              t.path("ticket"), stdin=subprocess.DEVNULL).stdout
    check("New, TLSv1.2" in out, out[-600:])
    for port, name, want in (("993", "mx.example.net", "Reused"), ("995", "mx.example.net", "New"),
                             ("465", "mx.example.net", "New"), ("993", "a.other.example", "New")):
        out = run("openssl", "s_client", "-connect", RELAY4 + ":" + port, "-servername", name, "-tls1_2", "-sess_in",
                  t.path("ticket"), stdin=subprocess.DEVNULL).stdout
        check(want + ", TLSv1.2" in out, port, name, out[-600:])
    old = connect(t, 993)
    before = old.getpeercert(True)
    old.recv(1000)
    make_cert(t.path("ec"), "mx.example.net")
    r.ctl("tls", "reload")
    new = connect(t, 993)
    check(new.getpeercert(True) != before, "a new certificate")
    new.close()
    old.sendall(b"1 NOOP\r\n")
    check(old.recv(100).startswith(b"1 OK"), "the session from before goes on")
    with open(t.path("ec") + ".key", "w") as f:
        f.write("junk")
    p = r.ctl("tls", "reload", ok=False)
    check(p.returncode != 0 and "ec.key" in p.stdout + p.stderr, "the reason:", p.stdout + p.stderr)
    connect(t, 993).close()
    old.close()


@case
def tls_hostile(t):
    """Commands smuggled behind STARTTLS, garbage, half handshakes, byte by byte, renegotiation, HTTP: the others do not notice"""
    r = tls_relay(t)
    box = r.mailbox()
    # all in one segment: thrown away
    s = socket.create_connection((RELAY4, 25), timeout=20)
    f = s.makefile("rb")
    f.readline()
    s.sendall(b"EHLO x\r\n")
    while f.readline()[3:4] == b"-":
        pass
    s.sendall(b"STARTTLS\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<%s>\r\n" % box.encode())
    check(f.readline().startswith(b"220"), "STARTTLS")
    w = context(t).wrap_socket(s, server_hostname="mx.example.net")
    w.sendall(b"RCPT TO:<%s>\r\n" % box.encode())
    check(w.recv(200).startswith(b"503"), "nothing from before is remembered")
    w.close()
    check_equal(r.stat("tls_early_bytes"), 1)
    with contextlib.ExitStack() as stack:
        half = []
        hello = client_hello()
        for i in range(60):
            s = stack.enter_context(socket.create_connection((RELAY4, 993), timeout=20))
            s.sendall((b"", hello[:1], hello[:50], hello, b"\x16\x03\x01\x40\x00" + b"x" * 1000)[i % 5])
            half.append(s)
        for junk in b"GET / HTTP/1.1\r\n\r\n", b"EHLO x\r\n", os.urandom(300).replace(b"\x16", b"x"), b"\x80\x2e\x01\x03\x01":
            s = stack.enter_context(socket.create_connection((RELAY4, 465), timeout=20))
            s.sendall(junk)
            check_equal(s.recv(100)[:1] in (b"", b"\x15"), True, "junk is cut off")
        slow = socket.create_connection((RELAY4, 993), timeout=20)
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for b in hello:
            slow.sendall(bytes([b]))
        check(slow.recv(5)[:2] == b"\x16\x03", "a slow one is answered in the end")
        slow.close()
        connect(t, 993).close()
        m = smtplib.SMTP(RELAY4, 25, timeout=30)
        m.starttls(context=no_names(context(t)))
        m.quit()
    p = subprocess.Popen(["openssl", "s_client", "-connect", RELAY4 + ":465", "-tls1_2", "-crlf"], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    p.stdin.write(b"R\n")
    p.stdin.flush()
    out = p.communicate(timeout=20)[0]
    check(b"no renegotiation" in out or b"no_renegotiation" in out, "renegotiation:", out[-500:])
    until(lambda: r.stat("tls_failed_garbage") >= 4, what="garbage is counted")
    check(r.alive(), "veredus is gone")


def client_hello():
    i, o = ssl.MemoryBIO(), ssl.MemoryBIO()
    c = no_names(ssl.create_default_context())
    c.verify_mode = ssl.CERT_NONE
    w = c.wrap_bio(i, o, server_hostname="mx.example.net")
    with contextlib.suppress(ssl.SSLWantReadError):
        w.do_handshake()
    return o.read()


@case
def tls_config(t):
    """config check names the file and the reason"""
    r = tls_relay(t)
    with open(r.conf_path) as f:
        good = f.read()
    run(os.path.join(r.build, "veredusctl"), "config", "check", r.conf_path)
    for a, b, reason in (("ec.pem", "none.pem", "none.pem: No such file"), ("rsa.key", "other.key", "is not the key of"),
                         ("ec.key", "ec.pem", "no private key")):
        with open(t.path("bad.conf"), "w") as f:
            f.write(good.replace(a, b))
        p = run(os.path.join(r.build, "veredusctl"), "config", "check", t.path("bad.conf"), ok=False)
        check(p.returncode != 0 and reason in p.stdout + p.stderr, p.stdout + p.stderr)
