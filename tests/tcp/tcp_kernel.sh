#!/bin/bash
# Our TCP against the kernel's over veth: streams both ways, many small connections, half-close, active opens, IPv4 and
# IPv6; with each of SACK, timestamps and window scaling off, small MTUs, and a wire that loses, doubles and reorders.
# usage: tcp_kernel.sh TCP_HOST af_packet|af_xdp [WORKERS]      as root
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lib.sh"
need_root
export LSAN_OPTIONS=suppressions=$top/tests/lsan.supp:print_suppressions=0
host=$1 device=net_${2}0,iface=vd0 workers=${3:-1}
name=tk$$ log=$(mktemp) wire_log=$(mktemp)
pid= wire=
end() {
	kill $pid $wire 2>/dev/null || true
	"$here/../netns.sh" down $name
	rm -f "$log" "$wire_log"
}
trap end EXIT

wait_for() { # pid, file: until it says ready
	local i
	for ((i = 0; i < 100; i++)); do
		grep -q '^ready' "$2" && return
		kill -0 "$1" 2>/dev/null || { cat "$2"; die "it ended"; }
		sleep 0.1
	done
	die "it is not ready"
}
begin() { # [wire]: a fresh cable with our stack on its end
	"$here/../netns.sh" up $name "$@"
	ip netns exec $name-relay "$host" "$device" 198.18.0.2/24 fd00:198:18::2/64 "$workers" >"$log" 2>&1 &
	pid=$!
	wait_for $pid "$log"
}
finish() { # counters that must have been counted; none may be left open, nothing may have been malformed
	local counter
	kill $pid
	wait $pid || { cat "$log"; die "tcp_host did not end well"; }
	pid=
	cat "$log"
	for counter in tcp_bad_csum tcp_bad_header tcp_bad_option tcp_no_memory net_bad_ip4 net_too_long left_connections closed:; do
		! grep -q "^$counter " "$log" || die "$counter was counted"
	done
	for counter in "$@"; do
		grep -q "^$counter " "$log" || die "$counter was not counted"
	done
}
peer() { ip netns exec $name-host "$@"; }
fail() { kill $pid; wait $pid || true; cat "$log"; die "$*"; }
talk() { # what, bytes of the streams, small connections
	local from=$EPOCHREALTIME
	peer timeout 100 python3 "$here/tcp_kernel.py" "$2" "$3" || fail "$1"
	say "$1: $(awk "BEGIN { print $EPOCHREALTIME - $from }") s"
}
setting() { peer sh -c "echo $2 >/proc/sys/net/ipv4/$1"; }

begin
talk "plain" 4000000 50
for option in tcp_sack tcp_timestamps tcp_window_scaling; do
	setting $option 0
	talk "$option off" 1000000 10
	setting $option 1
done
for mtu in 576 1280; do
	peer ip link set vh0 mtu $mtu
	[ $mtu -ge 1280 ] && peer ip -6 addr replace fd00:198:18::1/64 dev vh0 nodad
	[ $mtu -ge 1280 ] && export FAMILIES=46 || export FAMILIES=4
	talk "MTU $mtu" 1000000 10
done
finish tcp_accepted tcp_connected
"$here/../netns.sh" down $name

# Frames are lost, doubled and reordered on the wire, not by a filter of the kernel: of its own packets that it
# filters away, the kernel learns at once, and it forgets a connection whose second SYN-ACK it cannot send.
begin wire
ip netns exec $name-wire python3 "$here/../e2e/rough_wire.py" vh1 vd1 >"$wire_log" &
wire=$!
wait_for $wire "$wire_log"
export FAMILIES=46
talk "rough wire" 1000000 20
setting tcp_sack 0
talk "rough wire, no SACK" 500000 10
finish tcp_accepted tcp_connected tcp_retransmit tcp_ooo tcp_dup # what was lost last still needs the wire
kill $wire
wait $wire
wire=
cat "$wire_log"
