"""HTTP: what a load balancer asks, by curl and by the bytes themselves."""
import socket

from harness import RELAY4, RELAY6, case, check, check_equal, run

HEALTH = "http://%s/health" % RELAY4


@case
def http_curl(t):
    """curl: GET over IPv4 and IPv6, HEAD, two requests on one connection, 404, 405"""
    before = t.relay.stat("http_requests")
    for host in RELAY4, "[%s]" % RELAY6:
        check_equal(run("curl", "-sSf", "-g", "--max-time", "30", "http://%s/health" % host).stdout, "ok\n")
    head = run("curl", "-sSf", "--max-time", "30", "-I", HEALTH).stdout
    check(head.startswith("HTTP/1.1 200 OK\r\n") or head.startswith("HTTP/1.1 200 OK\n"), head)
    check("Content-Length: 3" in head, head)
    form = "%{http_code} %{num_connects}\\n"
    out = run("curl", "-sS", "--max-time", "30", "-o", "/dev/null", "-w", form, HEALTH, "-o", "/dev/null", HEALTH).stdout
    check_equal(out.splitlines(), ["200 1", "200 0"], "the second request opened a connection")
    code = ("curl", "-sS", "--max-time", "30", "-o", "/dev/null", "-w", "%{http_code}")
    check_equal(run(*code, "http://%s/nothing" % RELAY4).stdout, "404")
    check_equal(run(*code, "-d", "x" * 2000, HEALTH).stdout, "405")
    check_equal(run(*code, "-X", "GET", "-H", "Transfer-Encoding: chunked", "-d", "x" * 2000, HEALTH).stdout, "200")
    check_equal(t.relay.stat("http_requests") - before, 8)


@case
def http_pipelined(t):
    """Ten requests in one packet, and a byte a packet; the last one closes; what is malformed ends the connection"""
    before = t.relay.stat("http_bad_request")
    one = b"GET /health HTTP/1.1\r\nHost: mx\r\n"
    talk = (one + b"\r\n") * 9 + one + b"Connection: close\r\n\r\n"

    def say(pieces):
        got = b""
        with socket.create_connection((RELAY4, 80), timeout=30) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for x in pieces:
                s.sendall(x)
            while True:
                x = s.recv(65536)
                if not x:
                    return got
                got += x
    for pieces in [talk], [bytes([x]) for x in talk]:
        got = say(pieces)
        check_equal(got.count(b"HTTP/1.1 200 OK\r\n"), 10, "answers")
        check_equal(got.count(b"Connection: close\r\n"), 1)
    got = say([one + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc" + talk])
    check_equal(got.count(b"HTTP/1.1 "), 1, "one answer, and the end")
    check(got.startswith(b"HTTP/1.1 400 "), got)
    check_equal(t.relay.stat("http_bad_request") - before, 1)
