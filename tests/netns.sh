#!/bin/bash
# Two network namespaces joined by a veth pair, as the cable between a Linux host with real clients and servers
# and the relay:
#
#   NAME-host   vh0  198.18.0.1/24  fd00:198:18::1/64   the kernel's stack
#   NAME-relay  vd0  no address                         the relay's own stack takes 198.18.0.2, fd00:198:18::2
#
# usage: tests/netns.sh up NAME [wire] | down NAME      as root; both may be repeated; different NAMEs are independent
#
# With `wire` the cable is cut in the middle: its ends are vh1 and vd1 in NAME-wire, and nothing passes until something
# there (tests/e2e/rough_wire.py) carries the frames.
#
# veth's default offloads put frames of up to 64 KB with unfinished checksums on the wire, which a kernel at the
# other end never looks at and any other stack must refuse: they are switched off at both ends.
set -euo pipefail

usage() { echo "usage: $0 up NAME [wire] | down NAME" >&2; exit 2; }
[ $# = 2 ] || [ "$1 ${3-}" = "up wire" ] || usage
case $2 in *[!A-Za-z0-9_.-]* | '' | -*) usage ;; esac
host=$2-host relay=$2-relay wire=$2-wire

quiet_kernel() { # namespace: no forwarding, no addresses by itself
	ip netns exec "$1" sh -c '
		echo 0 >/proc/sys/net/ipv4/ip_forward
		for f in all default; do
			echo 0 >/proc/sys/net/ipv6/conf/$f/accept_ra
			echo 0 >/proc/sys/net/ipv6/conf/$f/autoconf
		done'
	ip -n "$1" link set lo up
}

honest_frames() { # namespace interface
	local f
	# One option a call: a kernel that knows one of them as fixed must not lose the others.
	for f in tx rx sg tso gso gro txvlan rxvlan; do
		ip netns exec "$1" ethtool -K "$2" $f off >/dev/null 2>&1 || true
	done
	if ip netns exec "$1" ethtool -k "$2" | grep -Eq '^(tx-checksumming|tcp-segmentation-offload|generic-segmentation-offload): on'; then
		echo "$0: offloads of $2 cannot be switched off" >&2
		exit 1
	fi
}

up() {
	if ip netns exec "$host" ip link show vh0 >/dev/null 2>&1 &&
		ip netns exec "$relay" ip link show vd0 >/dev/null 2>&1; then
		return
	fi
	down
	trap down ERR
	ip netns add "$host"
	ip netns add "$relay"
	quiet_kernel "$host"
	quiet_kernel "$relay"
	# The kernel must stay silent on the relay's end: no IPv6 (so no link-local address), no ARP.
	ip netns exec "$relay" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'
	if [ "${1-}" = wire ]; then
		ip netns add "$wire"
		quiet_kernel "$wire"
		ip netns exec "$wire" sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'
		ip link add vh0 netns "$host" type veth peer name vh1 netns "$wire"
		ip link add vd0 netns "$relay" type veth peer name vd1 netns "$wire"
		honest_frames "$wire" vh1
		honest_frames "$wire" vd1
		ip -n "$wire" link set vh1 arp off up
		ip -n "$wire" link set vd1 arp off up
	else
		ip link add vh0 netns "$host" type veth peer name vd0 netns "$relay"
	fi
	honest_frames "$host" vh0
	honest_frames "$relay" vd0
	ip -n "$relay" link set vd0 arp off up
	ip -n "$host" link set vh0 up
	ip -n "$host" addr add 198.18.0.1/24 dev vh0
	ip -n "$host" addr add fd00:198:18::1/64 dev vh0 nodad
}

down() {
	local ns pid tries
	for ns in "$host" "$relay" "$wire"; do
		[ -e "/run/netns/$ns" ] || continue
		for sig in TERM KILL; do
			for pid in $(ip netns pids "$ns" 2>/dev/null); do
				kill -$sig "$pid" 2>/dev/null || true
			done
			for tries in 1 2 3 4 5 6 7 8 9 10; do
				[ -n "$(ip netns pids "$ns" 2>/dev/null)" ] || break 2
				sleep 0.1
			done
		done
		ip netns del "$ns"
	done
}

case $1 in
up) up "${3-}" ;;
down) down ;;
*) usage ;;
esac
