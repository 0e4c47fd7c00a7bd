#!/usr/bin/python3
"""A next hop that keeps what it got, byte for byte.

As a program: sink.py --listen ADDRESS:PORT --dir DIR [--reply VERB=TEXT ...] [--messages N]
writes DIR/0000.eml, 0001.eml ... (what came between DATA and the dot, dots unstuffed) and DIR/0000.envelope
(one line MAIL, then one a recipient), and ends after N messages when told so.
As a module: Sink(address, port) in a thread; .messages, .replies, .wait(n).

Strict where a sender may go wrong: only CRLF ends a line, only CRLF.CRLF ends the data; a bare CR or LF inside is
kept and shows in the comparison. It offers PIPELINING and reads commands however they are cut.
"""
import argparse
import os
import socket
import threading
import time


class Message:
    def __init__(self, helo, mail, rcpts, data, peer):
        self.helo, self.mail, self.rcpts, self.data, self.peer = helo, mail, rcpts, data, peer


class Sink:
    """replies: verb -> reply line, or a list of them of which each is used once and then none. "CONNECT" is the
    greeting, "." the reply to the end of data; the reply "DROP" cuts the connection."""

    def __init__(self, address, port, replies=None, extensions=("PIPELINING", "8BITMIME", "SIZE 100000000",
                                                                "ENHANCEDSTATUSCODES")):
        self.replies = dict(replies or {})
        self.extensions = extensions
        self.messages = []
        self.connections = 0
        self.changed = threading.Condition()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server((address, port), family=family, backlog=512)
        self.open = set()
        self.closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.closing = True
        for s in [self.listener] + list(self.open):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def wait(self, n, seconds=15):
        """The first n messages; fewer when the time is over."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.messages) >= n, seconds)
            return self.messages[:n]

    def _accept(self):
        while not self.closing:
            try:
                s, peer = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.add(s)
            threading.Thread(target=self._serve, args=(s, peer[0]), daemon=True).start()

    def _reply(self, verb, usual):
        r = self.replies.get(verb)
        if isinstance(r, list):
            with self.changed:
                r = r.pop(0) if r else None
        r = usual if r is None else r
        if r == "DROP":
            raise ConnectionError(verb)
        return r

    def _serve(self, s, peer):
        try:
            with s:
                s.settimeout(300)
                self._session(s, peer)
        except OSError:
            pass
        finally:
            self.open.discard(s)

    def _session(self, s, peer):
        buf = b""
        helo = mail = None
        rcpts = []

        def say(line):
            s.sendall(line.encode() + b"\r\n")

        def take(end):
            nonlocal buf
            parts, tail = [], b""
            while True:
                at = (tail + buf).find(end)
                if at >= 0:
                    whole = b"".join(parts) + buf
                    at += sum(map(len, parts)) - len(tail)
                    buf = whole[at + len(end):]
                    return whole[:at]
                parts.append(buf)
                tail = (tail + buf)[-(len(end) - 1):]
                buf = s.recv(1 << 18)
                if not buf:
                    raise ConnectionError("closed")

        say(self._reply("CONNECT", "220 sink.example.org ESMTP"))
        while True:
            line = take(b"\r\n").decode("latin-1")
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                helo, mail, rcpts = line[5:], None, []
                lines = ["sink.example.org"] + list(self.extensions)
                r = self._reply(verb, None)
                if r:
                    say(r)
                else:
                    for i, x in enumerate(lines):
                        say("250%s%s" % ("-" if i < len(lines) - 1 else " ", x))
            elif verb == "HELO":
                helo, mail, rcpts = line[5:], None, []
                say(self._reply(verb, "250 sink.example.org"))
            elif verb == "MAIL":
                r = self._reply(verb, "250 2.1.0 ok")
                if r.startswith("2"):
                    mail, rcpts = line, []
                say(r)
            elif verb == "RCPT":
                r = self._reply(verb, "250 2.1.5 ok" if mail else "503 5.5.1 MAIL first")
                if r.startswith("2"):
                    rcpts.append(line)
                say(r)
            elif verb == "DATA":
                r = self._reply(verb, "354 go on" if rcpts else "503 5.5.1 no recipients")
                say(r)
                if r.startswith("354"):
                    # The CRLF of the DATA command counts as the one before a first dot.
                    buf = b"\r\n" + buf
                    data = take(b"\r\n.\r\n") + b"\r\n"
                    data = data.replace(b"\r\n.", b"\r\n")[2:]
                    r = self._reply(".", "250 2.0.0 kept")
                    try:
                        say(r)  # before anyone hears of the message, and may close us
                    finally:
                        if r.startswith("2"):
                            with self.changed:
                                self.messages.append(Message(helo, mail, rcpts, data, peer))
                                self.changed.notify_all()
                    mail, rcpts = None, []
            elif verb == "RSET":
                mail, rcpts = None, []
                say("250 2.0.0 ok")
            elif verb == "NOOP":
                say("250 2.0.0 ok")
            elif verb == "QUIT":
                say("221 2.0.0 bye")
                return
            else:
                say("502 5.5.1 unknown")


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("--listen", required=True, metavar="ADDRESS:PORT")
    ap.add_argument("--dir", required=True)
    ap.add_argument("--reply", action="append", default=[], metavar="VERB=TEXT")
    ap.add_argument("--messages", type=int, default=0, help="end after so many")
    ap.add_argument("--seconds", type=float, default=3600, help="end after so long")
    a = ap.parse_args()
    address, port = a.listen.rsplit(":", 1)
    os.makedirs(a.dir, exist_ok=True)
    sink = Sink(address.strip("[]"), int(port), dict(r.split("=", 1) for r in a.reply))
    print("listening on", a.listen, flush=True)
    end = time.monotonic() + a.seconds
    n = 0
    while (not a.messages or n < a.messages) and time.monotonic() < end:
        for m in sink.wait(n + 1, 0.5)[n:]:
            base = os.path.join(a.dir, "%04d" % n)
            with open(base + ".envelope", "w") as f:
                f.write("\n".join([m.mail] + m.rcpts) + "\n")
            with open(base + ".tmp", "wb") as f:
                f.write(m.data)
            os.rename(base + ".tmp", base + ".eml")
            n += 1


if __name__ == "__main__":
    main()
