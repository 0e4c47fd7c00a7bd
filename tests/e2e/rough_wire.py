#!/usr/bin/python3
"""A cable that loses, doubles and reorders: frames between two interfaces of this network namespace.

usage: rough_wire.py INTERFACE INTERFACE [--lose 0.01] [--double 0.01] [--late 0.03] [--seed 1]

Each way by itself. A late frame waits until one to four frames of its direction have overtaken it, or for 5 ms. Ends with
SIGTERM and prints what it did.
"""
import argparse
import random
import select
import signal
import socket
import sys
import time

LATE_S = 0.005
PACKET_OUTGOING = 4


class Way:
    """One direction: frames out of one socket, into the other."""

    def __init__(self, source, target, options, seed):
        self.source, self.target, self.o = source, target, options
        self.random = random.Random(seed)
        self.held = []  # [frames that may still overtake, latest moment, frame]
        self.counts = dict.fromkeys(("frames", "lost", "doubled", "late"), 0)

    def put(self, frame):
        try:
            self.target.send(frame)
        except OSError:
            pass  # no room or no cable: lost, as on any wire

    def take(self):
        try:
            frame, address = self.source.recvfrom(65536)
        except OSError:
            return
        if address[2] == PACKET_OUTGOING:
            return
        self.counts["frames"] += 1
        lot = self.random.random()
        if lot < self.o.lose:
            self.counts["lost"] += 1
            return
        lot -= self.o.lose
        if lot < self.o.late:
            self.counts["late"] += 1
            self.held.append([self.random.randint(1, 4), time.monotonic() + LATE_S, frame])
            return
        self.put(frame)
        if lot - self.o.late < self.o.double:
            self.counts["doubled"] += 1
            self.put(frame)
        for h in self.held:
            h[0] -= 1
        self.release()

    def release(self):
        now = time.monotonic()
        for h in [h for h in self.held if h[0] <= 0 or h[1] <= now]:
            self.held.remove(h)
            self.put(h[2])


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("interface", nargs=2)
    ap.add_argument("--lose", type=float, default=0.01)
    ap.add_argument("--double", type=float, default=0.01)
    ap.add_argument("--late", type=float, default=0.03)
    ap.add_argument("--seed", type=int, default=1)
    a = ap.parse_args()
    ends = []
    for name in a.interface:
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        s.bind((name, 0))
        s.setblocking(False)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        # The addresses on the frames are those of the far ends.
        s.setsockopt(263, 1, socket.if_nametoindex(name).to_bytes(4, sys.byteorder) + b"\1\0" + bytes(10))
        ends.append(s)
    ways = {ends[0]: Way(ends[0], ends[1], a, a.seed), ends[1]: Way(ends[1], ends[0], a, a.seed + 1)}
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    print("ready", flush=True)
    while not stop:
        wait = LATE_S if any(w.held for w in ways.values()) else 0.5
        for s in select.select(ends, [], [], wait)[0]:
            ways[s].take()
        for w in ways.values():
            if w.held:
                w.release()
    for name, w in zip(a.interface, ways.values()):
        print(name, " ".join("%s=%d" % c for c in w.counts.items()))


if __name__ == "__main__":
    main()
