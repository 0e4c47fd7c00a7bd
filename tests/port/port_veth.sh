#!/bin/bash
# port_loop over the two ends of a veth pair in a namespace of its own.
# usage: port_veth.sh PORT_LOOP af_packet|af_xdp [WORKERS]      as root
set -euo pipefail
. "$(dirname "$0")/../lib.sh"
need_root
export LSAN_OPTIONS=suppressions=$top/tests/lsan.supp:print_suppressions=0
name=pl$$
trap 'ip netns del $name' EXIT
ip netns add $name
ip netns exec $name sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6'
ip link add va netns $name type veth peer name vb netns $name
for i in va vb; do
	for f in tx rx sg tso gso gro; do
		ip netns exec $name ethtool -K $i $f off >/dev/null 2>&1 || true
	done
	ip -n $name link set $i arp off up
done
# Without huge pages: there a pool that is laid out wrongly loses most.
ip netns exec $name "$1" -n "net_${2}0,iface=va" "net_${2}1,iface=vb" "${3:-2}"
