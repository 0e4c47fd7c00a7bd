#!/bin/bash
# port and net against the kernel over veth: echo of both families and many sizes, datagrams there and back,
# a closed port, frames that are wrong.
# usage: net_kernel.sh NET_HOST af_packet|af_xdp [WORKERS]      as root
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lib.sh"
need_root
export LSAN_OPTIONS=suppressions=$top/tests/lsan.supp:print_suppressions=0
host=$1 device=net_${2}0,iface=vd0 workers=${3:-2}
name=nk$$ log=$(mktemp)
trap 'kill $pid 2>/dev/null || true; "$here/../netns.sh" down $name; rm -f "$log"' EXIT
pid=
"$here/../netns.sh" up $name
ip netns exec $name-relay "$host" "$device" 198.18.0.2/24 fd00:198:18::2/64 "$workers" >"$log" 2>&1 &
pid=$!
for ((i = 0; i < 100; i++)); do
	grep -q '^ready' "$log" && break
	kill -0 $pid 2>/dev/null || { cat "$log"; die "net_host ended"; }
	sleep 0.1
done
peer() { ip netns exec $name-host "$@"; }
fail() { kill $pid; wait $pid || true; cat "$log"; die "$*"; }

peer ping -q -c 3 -i 0.2 -W 2 198.18.0.2 >/dev/null || fail "no echo over IPv4"
peer ping -q -c 3 -i 0.2 -W 2 fd00:198:18::2 >/dev/null || fail "no echo over IPv6"
for size in 0 1 17 56 63 64 1000 1452; do
	peer ping -q -c 1 -W 2 -s $size 198.18.0.2 >/dev/null || fail "no echo of $size bytes over IPv4"
	peer ping -q -c 1 -W 2 -s $size fd00:198:18::2 >/dev/null || fail "no echo of $size bytes over IPv6"
done
peer python3 - <<'PY' || fail "datagrams"
import socket
for family, addr in (socket.AF_INET, "198.18.0.2"), (socket.AF_INET6, "fd00:198:18::2"):
    for n in (0, 1, 2, 3, 499, 1400):
        s = socket.socket(family, socket.SOCK_DGRAM)
        s.settimeout(2)
        s.connect((addr, 7))
        data = bytes(i * 7 % 256 for i in range(n))
        s.send(data)
        assert s.recv(2000) == data, n
        s.close()
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(2)
    s.connect((addr, 9))
    s.send(b"x")
    try:
        s.recv(10)
        raise SystemExit("an answer from a closed port")
    except ConnectionRefusedError:
        pass
PY
kill $pid
wait $pid || { cat "$log"; die "net_host did not end well"; }
pid=
cat "$log"
for counter in net_icmp_echo net_udp_in net_icmp_error_out; do
	grep -q "^$counter " "$log" || die "$counter was not counted"
done
for counter in tcp_bad_csum net_bad_udp net_bad_icmp net_bad_ip4 net_bad_ip6 port_tx_drop port_steer_drop; do
	! grep -q "^$counter " "$log" || die "$counter was counted"
done
