#!/bin/bash
# Watch mail move through veredus, on this machine alone. As root, from a fresh clone:
#
#   control/try.sh           builds, runs, shows, cleans up; status 0 only if every byte arrived
#   control/try.sh --keep    leaves it running and says how to reach it
#
# It makes two network namespaces joined by a cable (tests/netns.sh). In one of them veredus runs on DPDK with
# control/example.conf; in the other are the clients and the next hop. Nothing else of the machine is touched.
set -euo pipefail
. "$(dirname "$0")/../tests/lib.sh"

keep=0
case ${1-} in
'') ;;
--keep) keep=1 ;;
*) die "usage: $0 [--keep]" ;;
esac
need_root

name=try$$
work=$(mktemp -d /tmp/veredus-try-XXXXXX)
log=$work/veredus.log
relay4=198.18.0.2 relay6=fd00:198:18::2
build=$top/build
pages=/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages
pages_before=$(cat $pages 2>/dev/null || echo 0)
relay_pid= status=1

clean_up() {
	trap - EXIT INT TERM
	if [ -n "$relay_pid" ] && kill -TERM "$relay_pid" 2>/dev/null; then
		for _ in $(seq 60); do
			kill -0 "$relay_pid" 2>/dev/null || break
			sleep 0.1
		done
	fi
	"$top/tests/netns.sh" down $name || true
	[ ! -w $pages ] || [ "$(cat $pages)" = "$pages_before" ] || echo "$pages_before" >$pages
	if [ $status != 0 ] && [ -s "$log" ]; then
		say "--- the last lines of veredus's log"
		tail -20 "$log"
	fi
	rm -rf "$work"
	exit $status
}
trap clean_up EXIT
trap 'exit 1' INT TERM

on_host() { ip netns exec $name-host "$@"; }
ctl() { "$build/veredusctl" -s "$work/control.sock" "$@"; }
fail() { say "FAILED: $*"; exit 1; }

# wait_for SECONDS COMMAND...
wait_for() {
	local tries=$(($1 * 10))
	shift
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		sleep 0.1
	done
}

# Every byte of $2 must stand at the end of $1, behind nothing but trace header lines.
same_bytes() {
	local got want trace
	got=$(stat -c %s "$1") want=$(stat -c %s "$2")
	trace=$((got - want))
	[ $trace -gt 0 ] || return 1
	tail -c "$want" "$1" | cmp -s - "$2" || return 1
	! head -c $trace "$1" | grep -Eqav '^((Return-Path|Received|Delivered-To):|[[:space:]])'
}

say "== building"
packages_install
{ configure "$build" && ninja -C "$build" veredus veredusctl; } >"$work/build.log" 2>&1 ||
	{ tail -30 "$work/build.log"; fail "the build"; }

say "== starting"
"$top/tests/netns.sh" up $name
memory="without huge pages"
if hugepages_reserve 256; then memory="with huge pages"; fi
sed -e "s|\"/var/lib/veredus\"|\"$work/store\"|" -e "s|\"/run/veredus.sock\"|\"$work/control.sock\"|" \
	"$top/control/example.conf" >"$work/veredus.conf"
setsid ip netns exec $name-relay "$build/veredus" -c "$work/veredus.conf" </dev/null >"$log" 2>&1 &
relay_pid=$!
serves() { grep -q ' serves ' "$log" || ! kill -0 $relay_pid; }
wait_for 30 serves || fail "veredus did not start"
kill -0 $relay_pid 2>/dev/null || fail "veredus ended at its start"
say "veredus serves SMTP, POP3 and IMAP at $relay4 and $relay6 on DPDK, $memory"

setsid ip netns exec $name-host "$top/tests/e2e/sink.py" --listen 198.18.0.1:2525 --dir "$work/next-hop" \
	--seconds 86400 </dev/null >"$work/sink.log" 2>&1 &
wait_for 10 grep -q listening "$work/sink.log" || fail "the next hop did not start"

for who in alice bob; do
	echo "$who-secret" | ctl mailbox add $who@example.net >/dev/null || fail "mailbox add $who@example.net"
done
say "mailboxes: $(ctl mailbox list | awk '{printf "%s ", $1}')"

say "== sending"
# Two messages with everything that breaks mail programs: leading dots, 8-bit text, long lines, no blank at the end.
{
	printf 'From: Carol <carol@example.org>\nTo: alice@example.net, bob@example.net\nSubject: first light\n'
	printf 'Date: %s\nMessage-ID: <1.%s@example.org>\nMIME-Version: 1.0\n' "$(date -R)" $$
	printf 'Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n'
	printf 'Der schnelle Fuchs \xf0\x9f\x90\x8e über den Draht\n.\n..\n...a line with dots\n\n'
	head -c 600 /dev/zero | tr '\0' 'x'
	printf '\n'
	head -c 150000 /dev/urandom | base64
} >"$work/one.txt"
sed -e 's/^To: .*/To: dave@example.org/' -e 's/^Subject: .*/Subject: to the next hop/' -e 's/<1\./<2./' \
	"$work/one.txt" >"$work/two.txt"
for m in one two; do sed 's/$/\r/' "$work/$m.txt" >"$work/$m.eml"; done

head -c -1 "$work/one.txt" >"$work/swaks.txt" # swaks puts a newline behind what it sends
on_host swaks --server $relay4 --from carol@example.org --to alice@example.net,bob@example.net \
	--data "@$work/swaks.txt" --pipeline --timeout 20 >"$work/swaks.log" 2>&1 ||
	{ tail -5 "$work/swaks.log"; fail "swaks could not send"; }
say "swaks sent $(stat -c %s "$work/one.eml") bytes to alice and bob"
on_host curl -sS --max-time 60 --url "smtp://[$relay6]/client.example.org" --mail-from carol@example.org \
	--mail-rcpt dave@example.org --upload-file "$work/two.eml" || fail "curl could not send"
say "curl sent $(stat -c %s "$work/two.eml") bytes over IPv6 to dave@example.org, who is behind the next hop"

say "== reading"
pop3() { on_host curl -sSf --max-time 5 -u alice@example.net:alice-secret "pop3://$relay4/1" -o "$work/pop3.eml"; }
imap() { on_host curl -sSf --max-time 5 -u bob@example.net:bob-secret "imap://[$relay6]/INBOX;MAILINDEX=1" -o "$work/imap.eml"; }
wait_for 15 pop3 || fail "POP3: $(pop3 2>&1 || true)"
wait_for 15 imap || fail "IMAP: $(imap 2>&1 || true)"
wait_for 20 test -s "$work/next-hop/0000.eml" || fail "the next hop got nothing"
bad=0
compare() { # got, sent, words
	if same_bytes "$1" "$2"; then
		say "$3: every byte is there ($(stat -c %s "$1") bytes with the trace header)"
	else
		say "$3: DIFFERS from what was sent"
		bad=1
	fi
}
compare "$work/pop3.eml" "$work/one.eml" "alice by POP3"
compare "$work/imap.eml" "$work/one.eml" "bob by IMAP over IPv6"
compare "$work/next-hop/0000.eml" "$work/two.eml" "next hop ($(sed -n 2p "$work/next-hop/0000.envelope"))"

say "== counters"
ctl status
ctl stats | grep -E '^(port_[rt]x_packets|tcp_(accepted|connected|retransmit|bad_csum)|smtp_(messages|bytes)_in|delivery_(local|out)|(pop3|imap)_messages_out) '
[ $bad = 0 ] || fail "not every byte arrived"

status=0
if [ $keep = 1 ]; then
	trap - EXIT
	cat <<EOF
== left running
reach it     ip netns exec $name-host COMMAND      (swaks --server $relay4 --to alice@example.net, curl, telnet ...)
addresses    $relay4, [$relay6]: SMTP 25, POP3 110, IMAP 143
users        alice@example.net password alice-secret, bob@example.net password bob-secret
next hop     mail for example.org goes to 198.18.0.1:2525 and is kept in $work/next-hop
operator     $build/veredusctl -s $work/control.sock status
log          $log
stop it      $top/tests/netns.sh down $name; rm -r $work
EOF
	exit 0
fi
say "every byte arrived"
