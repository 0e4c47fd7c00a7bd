# Shell functions shared by control/try.sh, tests/run.sh and the scripts of bench/. Source it; it sets only
# functions and `top`, the root of the tree.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_root() { [ "$(id -u)" = 0 ] || die "run this as root"; }

packages_missing() {
	local name
	sed 's/#.*//' "$top/tests/packages.txt" | tr -s ' \t' '\n' | while read -r name; do
		[ -n "$name" ] || continue
		dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || echo "$name"
	done
}

# Installs what tests/packages.txt lists and the machine lacks. No service is started by it: Debian's
# policy-rc.d answers "not allowed" while packages are configured.
packages_install() {
	local missing guard=/usr/sbin/policy-rc.d made=0 rc=0 log
	missing=$(packages_missing)
	[ -n "$missing" ] || return 0
	log=$(mktemp)
	say "installing packages: $(echo $missing)"
	if [ ! -e $guard ]; then
		printf '#!/bin/sh\nexit 101\n' >$guard
		chmod 755 $guard
		made=1
	fi
	export DEBIAN_FRONTEND=noninteractive
	echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections || true
	apt-get update -qq >"$log" 2>&1 &&
		apt-get install -y -qq --no-install-recommends $missing >>"$log" 2>&1 </dev/null || rc=$?
	[ $made = 0 ] || rm -f $guard
	if [ $rc != 0 ]; then
		tail -30 "$log" >&2
		rm -f "$log"
		die "packages could not be installed (apt-get said the above)"
	fi
	rm -f "$log"
}

# configure DIR [meson options]: makes the build directory, once.
configure() {
	local dir=$1
	shift
	[ -f "$dir/build.ninja" ] || meson setup "$dir" "$top" "$@"
}

# hugepages_reserve MIB: tries to have MIB of 2 MiB huge pages free; fails quietly where the machine gives none.
hugepages_reserve() {
	local want=$(($1 / 2)) free f=/sys/kernel/mm/hugepages/hugepages-2048kB
	[ -w $f/nr_hugepages ] || return 1
	free=$(cat $f/free_hugepages)
	if [ "$free" -lt $want ]; then
		echo $(($(cat $f/nr_hugepages) + want - free)) >$f/nr_hugepages 2>/dev/null
	fi
	[ "$(cat $f/free_hugepages)" -ge $want ]
}
