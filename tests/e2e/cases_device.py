"""Devices without a cable: the whole relay over memif and over vhost-user, our own stack at both ends."""
import json
import os
import re

from harness import CONFIG, case, check, check_equal, run

# The relay's device, and the client's at the other end of the same socket.
PAIRS = {
    "memif": ("net_memif0,role=server,socket-abstract=no,socket={socket}",
              "net_memif0,role=client,socket-abstract=no,socket={socket}"),
    "vhost": ("net_vhost0,iface={socket}", "net_virtio_user0,path={socket}"),
}
RELAY_DEV, CLIENT_DEV = "198.18.1.2", "198.18.1.1"

PORT = """
port dev {{
	device  = "{device}"
	address = {{ "198.18.1.2/24" }}
}}

listen"""


def relay_on(t, kind):
    """A relay with a second port of that kind beside the cable, and the device string of the client."""
    socket = t.path("dev-%s.sock" % kind)
    here, there = (d.format(socket=socket) for d in PAIRS[kind])
    relay = t.own_relay(start=False)
    text = CONFIG.format(**relay.settings)
    text = text.replace("\nlisten", PORT.format(device=here), 1)
    relay.configure(text.replace('"198.18.0.1/32"', '"198.18.0.1/32", "198.18.1.1/32"'))
    return relay.start(60), there


def accept(t, device, *args):
    """smtp-accept over our own TCP on that device; returns its figures."""
    p = run(os.path.join(t.build, "bench", "smtp-accept"), "--stack", device, "--address", CLIENT_DEV + "/24",
            "--host", RELAY_DEV, "--json", "--seconds", "120", *args, timeout=180)
    return json.loads(p.stdout[p.stdout.index("{"):])


def ledger_ids(bodies):
    ids = [re.search(rb"^X-Ledger-Id: (\S+)", b, re.M) for b in bodies]
    check(all(ids), "a message lacks its X-Ledger-Id")
    return sorted(i.group(1).decode() for i in ids)


def whole_relay(t, kind):
    relay, device = relay_on(t, kind)
    box, sink = relay.mailbox(), t.sink()
    body = b"".join(b"%06d %s\r\n" % (i, b"." * (i % 60)) for i in range(6000)) + b".\r\n"
    with open(t.path("body"), "wb") as f:
        f.write(body)
    for name, n, args in (("in", 30, ("--connections", "6", "--per-connection", "3", "--size", "2000", "--to", box)),
                          ("out", 4, ("--connections", "2", "--body-file", t.path("body"), "--to", "x@sink.example"))):
        ledger = t.path("ledger-%s-%s" % (kind, name))
        r = accept(t, device, "--messages", str(n), "--verify-ledger", ledger, *args)
        check_equal((r["sent"], r["failed"], r["connect_failed"], r["resets"], r["timeouts"]), (n, 0, 0, 0, 0), name)
        with open(ledger) as f:
            acked = sorted(f.read().split())
        got = relay.wait_messages(box, n, 60) if name == "in" else [m.data for m in sink.wait(n, 60)]
        check_equal(ledger_ids(got), acked, name + ": ids of what arrived, and of what was acknowledged")
    check(all(b.endswith(body) for b in got), "a body is not as it was sent")
    s = relay.stats()
    check_equal(s["smtp_messages_in"], 34)
    bad = {k: s[k] for k in ("tcp_bad_csum", "net_bad_ip4", "port_rx_bad_csum", "port_rx_too_long") if s[k]}
    check(not bad, "frames that were not right:", bad)


@case
def device_memif(t):
    """The whole relay over memif, our stack at both ends: small messages into a mailbox, large ones on to the next hop"""
    whole_relay(t, "memif")


@case
def device_vhost(t):
    """The same over vhost-user and virtio-user, with checksums left to the device where it offers to"""
    whole_relay(t, "vhost")
