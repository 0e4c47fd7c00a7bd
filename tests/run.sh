#!/bin/bash
# Installs, builds and tests everything. As root, from a fresh clone:
#
#   tests/run.sh            plain and with sanitizers, gcc and clang, end to end, the first command of the README
#   tests/run.sh --quick    the developer's loop: the plain build, its tests, end to end without the long cases
#
# The last line counts: "N passed, N failed". Status 0 only if none failed and some ran.
set -uo pipefail
. "$(dirname "$0")/lib.sh"

quick=0
case ${1-} in
'') ;;
--quick) quick=1 ;;
*) die "usage: $0 [--quick]" ;;
esac
need_root
cd "$top" || exit 1

export LSAN_OPTIONS=suppressions=$top/tests/lsan.supp:print_suppressions=0

passed=0 failed=0
work=$(mktemp -d /tmp/veredus-tests-XXXXXX)
trap 'rm -rf "$work"' EXIT

count() { # passed failed
	passed=$((passed + $1))
	failed=$((failed + $2))
}

title() { say; say "== $* ($(date +%T))"; }

# build_or_count DIR [meson options]: a build that fails is a failed test, and what needs it is left out.
build_or_count() {
	title "build $1"
	if configure "$@" >"$work/build.log" 2>&1 && ninja -C "$1" >>"$work/build.log" 2>&1; then
		count 1 0
	else
		grep -E 'error|FAILED|ERROR|undefined' -A5 "$work/build.log" | head -80
		say "FAILED: build of $1"
		count 0 1
		return 1
	fi
}

# unit DIR: every suite of meson but the one that needs root and a device, with the counts of Criterion's cases.
unit() {
	title "meson test in $1"
	meson test -C "$1" --no-rebuild --print-errorlogs --timeout-multiplier "${2:-1}" >"$work/unit.log" 2>&1
	local rc=$? counts
	counts=$(/usr/bin/python3 "$top/tests/count.py" "$1/meson-logs/testlog.json") || counts="0 1"
	if [ $rc != 0 ]; then
		tail -150 "$work/unit.log"
	else
		grep -E '^(Ok|Fail|Timeout|Skipped):' "$work/unit.log"
	fi
	set -- $counts
	[ $rc = 0 ] || [ "$2" -gt 0 ] || set -- "$1" 1
	say "cases: $1 ok, $2 failed"
	count "$1" "$2"
}

e2e() { # arguments of run.py
	title "end to end: $*"
	rm -f "$work/e2e.json"
	/usr/bin/python3 "$top/tests/e2e/run.py" --json "$work/e2e.json" "$@"
	if [ -s "$work/e2e.json" ]; then
		count $(/usr/bin/python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(d["passed"], d["failed"])' \
			"$work/e2e.json")
	else
		count 0 1
	fi
}

script() { # a script that is one test
	title "$*"
	if "$@"; then
		count 1 0
	else
		say "FAILED: $*"
		count 0 1
	fi
}

title "packages"
packages_install

if build_or_count build; then
	unit build
	if [ $quick = 1 ]; then
		e2e --quick
	else
		e2e
		e2e --device af_xdp --only smtp_swaks_v4 smtp_swaks_v6 smtp_odd_messages smtp_large delivery_odd_messages \
			imap_append_exact
		e2e --rough --only smtp_swaks smtp_odd_messages smtp_large pop3_large imap_append_exact delivery_odd_messages \
			delivery_reuses_connections
		e2e --rough --device af_xdp --only smtp_swaks smtp_large delivery_odd_messages
		script "$top/control/try.sh"
		script "$top/bench/compare-accept" --quick
	fi
fi
if [ $quick = 0 ]; then
	if build_or_count build-san -Db_sanitize=address,undefined; then
		unit build-san 3
		e2e --build "$top/build-san" --skip store_kill store_recycles delivery_many smtp_many_connections operation_idle_cpu
	fi
	CC=clang build_or_count build-clang
fi

say
say "$passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
