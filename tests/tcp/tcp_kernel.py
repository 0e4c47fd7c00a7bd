"""The kernel's side of tcp_kernel.sh: streams that must come back as they went, small connections, active opens.

usage: tcp_kernel.py STREAM_BYTES SMALL_CONNECTIONS      FAMILIES=46 says which families
"""
import os
import random
import socket
import sys
import threading

size, small = int(sys.argv[1]), int(sys.argv[2])
random.seed(size)
data = random.randbytes(size)
families = {"4": (socket.AF_INET, "198.18.0.2"), "6": (socket.AF_INET6, "fd00:198:18::2")}


def read_all(s):
    parts = []
    while part := s.recv(65536):
        parts.append(part)
    return b"".join(parts)


def stream(s, what):
    """Sends all while reading, half-closes, expects the same bytes and the end."""
    s.settimeout(60)
    sender = threading.Thread(target=lambda: (s.sendall(what), s.shutdown(socket.SHUT_WR)))
    sender.start()
    got = read_all(s)
    sender.join()
    assert got == what, f"{len(got)} of {len(what)} bytes, equal: {got == what[:len(got)]}"
    s.close()


def slow_stream(s, what):
    """Sends all before reading anything: the windows of both sides shut."""
    s.settimeout(60)
    sender = threading.Thread(target=lambda: (s.sendall(what), s.shutdown(socket.SHUT_WR)))
    sender.start()
    sender.join(0.7)
    got = read_all(s)
    sender.join()
    assert got == what, f"{len(got)} of {len(what)} bytes after a pause"
    s.close()


for key in os.environ.get("FAMILIES", "46"):
    family, address = families[key]
    stream(socket.create_connection((address, 7), 20), data)
    slow_stream(socket.create_connection((address, 7), 20), data)
    threads = []
    for i in range(8):
        c = socket.create_connection((address, 7), 20)
        threads.append(threading.Thread(target=stream, args=(c, data[i * 1000 : i * 1000 + size // 16])))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i in range(small):
        c = socket.create_connection((address, 7), 20)
        c.settimeout(30)
        for n in (1, 100, 1448, 3000):
            c.sendall(data[:n])
            got = b""
            while len(got) < n:
                part = c.recv(n)
                assert part, "closed early"
                got += part
            assert got == data[:n]
        if i % 2:
            c.shutdown(socket.SHUT_WR)
            assert c.recv(1) == b""
        c.close()
    # the other side opens
    listener = socket.create_server(("", 2000), family=family)
    listener.settimeout(30)
    for i in range(5):
        c = socket.create_connection((address, 20), 20)
        back, who = listener.accept()
        assert read_all(c) == b""
        c.close()
        stream(back, data[: size // 8])
    listener.close()
    # a closed port
    try:
        socket.create_connection((address, 99), 20)
        raise SystemExit("a closed port took a connection")
    except ConnectionRefusedError:
        pass
