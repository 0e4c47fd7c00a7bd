#!/bin/bash
# Our TCP against the kernel's over veth: streams both ways, many small connections, half-close, active opens, IPv4 and
# IPv6; with each of SACK, timestamps and window scaling off, small MTUs, and loss in both directions.
# usage: tcp_kernel.sh TCP_HOST af_packet|af_xdp [WORKERS]      as root
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lib.sh"
need_root
export LSAN_OPTIONS=suppressions=$top/tests/lsan.supp:print_suppressions=0
host=$1 device=net_${2}0,iface=vd0 workers=${3:-1}
name=tk$$ log=$(mktemp)
trap 'kill $pid 2>/dev/null || true; "$here/../netns.sh" down $name; rm -f "$log"' EXIT
pid=
"$here/../netns.sh" up $name
ip netns exec $name-relay "$host" "$device" 198.18.0.2/24 fd00:198:18::2/64 "$workers" >"$log" 2>&1 &
pid=$!
for ((i = 0; i < 100; i++)); do
	grep -q '^ready' "$log" && break
	kill -0 $pid 2>/dev/null || { cat "$log"; die "tcp_host ended"; }
	sleep 0.1
done
peer() { ip netns exec $name-host "$@"; }
fail() { kill $pid; wait $pid || true; cat "$log"; die "$*"; }
talk() { # what, bytes of the streams, small connections
	local from=$EPOCHREALTIME
	peer timeout 100 python3 "$here/tcp_kernel.py" "$2" "$3" || fail "$1"
	say "$1: $(awk "BEGIN { print $EPOCHREALTIME - $from }") s"
}
setting() { peer sh -c "echo $2 >/proc/sys/net/ipv4/$1"; }

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
peer ip link set vh0 mtu 1500
for chain in INPUT OUTPUT; do
	for tables in iptables ip6tables; do
		peer $tables -A $chain -p tcp -m statistic --mode random --probability 0.01 -j DROP
	done
done
talk "1 % loss each way" 1000000 20
setting tcp_sack 0
talk "1 % loss each way, no SACK" 500000 10
peer iptables -F
peer ip6tables -F
kill $pid
wait $pid || { cat "$log"; die "tcp_host did not end well"; }
pid=
cat "$log"
for counter in tcp_bad_csum tcp_bad_header tcp_bad_option tcp_no_memory net_bad_ip4 net_too_long left_connections closed:; do
	! grep -q "^$counter " "$log" || die "$counter was counted"
done
for counter in tcp_accepted tcp_connected tcp_retransmit; do
	grep -q "^$counter " "$log" || die "$counter was not counted"
done
