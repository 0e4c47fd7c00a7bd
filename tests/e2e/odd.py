"""Messages that break mail programs. All are legal to carry: no NUL, and no CR or LF outside CRLF."""
import random

HEADER = b"From: <a@example.org>\r\nTo: <b@example.net>\r\nSubject: odd %d\r\n"

BODIES = [
    b"",                                        # header alone, its empty line missing
    b"\r\n",                                    # empty body
    b"\r\n\r\n",
    b"\r\nno newline at the end",
    b"\r\n.\r\n",                               # a lone dot
    b"\r\n..\r\n...\r\n. \r\n.x\r\n",
    b"\r\n" + b".\r\n" * 500,
    b"\r\nends in a dot.",
    b"\r\n\r\n.\r\n\r\n.\r\n",
    b"\r\n" + b"x" * 998 + b"\r\n",
    b"\r\n." + b"x" * 996 + b"\r\n",
    b"\r\n" + b"\r\n" * 1000,
    b"\r\n" + b"\xff\xfe\xfd\r\n" * 10,
    b"\r\n" + bytes(range(1, 10)) + b"\x0b\x0c" + bytes(range(14, 256)) + b"\r\n",
    b"\r\n" + b"\t \t \r\n" * 20,
    b"\r\nQUIT\r\nRSET\r\nDATA\r\nMAIL FROM:<x@example.org>\r\n",
    b"\r\n+OK\r\n-ERR\r\n* BYE\r\na1 OK done\r\n{5}\r\n)\r\n",
    b"\r\nFrom here a mailbox file would break\r\n>From too\r\n",
    "\r\nGrüße, 日本語, \U0001f40e\r\n".encode(),
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--\r\n",
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=never\r\n\r\nno part begins\r\n",
    b"Content-Type: " + b"x" * 5000 + b"\r\n\r\nlong header\r\n",
    b"X-Folded: a\r\n b\r\n\tc\r\n\r\nfolded\r\n",
    b"not a header line\r\n\r\nbody\r\n",
    b": no name\r\n\r\nbody\r\n",
]

PIECES = [b".", b"..", b"\r\n", b"\r\n.", b"\r\n..", b"\r\n\r\n", b"a", b"\xe9", b" ", b"\t", b"x" * 70, b"From ",
          b"{3}", b"\"\\\"", b"\x7f\x80", b"=", b"--b", b"\x01"]


def messages(n, seed=1):
    """n messages as they are before dot-stuffing; each ends in CRLF unless it is one of those that do not."""
    rng = random.Random(seed)
    out = []
    for i in range(n):
        if i < len(BODIES):
            tail = BODIES[i]
        else:
            tail = b"\r\n" + b"".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 400)))
            if rng.random() < 0.7:
                tail += b"\r\n"
        out.append(HEADER % i + tail)
    return out


def big(size, seed=1):
    """A message of about that size whose lines have dots in front now and then."""
    rng = random.Random(seed)
    lines = [b"", b"line"]
    total = 0
    while total < size:
        line = rng.choice([b"", b".", b"..", b"x"]) + b"%x" % rng.getrandbits(4 * rng.randrange(1, 200))
        lines.append(line)
        total += len(line) + 2
    return HEADER % size + b"\r\n".join(lines) + b"\r\n"
