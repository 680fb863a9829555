#!/bin/sh
# Installs what the tests need and this machine lacks. On Debian and Ubuntu it
# does so with apt; elsewhere it says what to install.
set -eu

have_postgres() { command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; }
have_chromium() {
	for name in "${SEALPOST_TEST_CHROMIUM:-chromium}" chromium-browser google-chrome-stable google-chrome; do
		command -v "$name" && return
	done
	return 1
}
have_pgbouncer() { command -v pgbouncer || [ -x /usr/sbin/pgbouncer ]; }
have_compiler() { command -v gcc || command -v clang; }

if ! command -v go >/dev/null 2>&1; then
	echo "Go is missing: install the version that go.mod names, from https://go.dev/dl" >&2
	exit 1
fi
packages=""
have_compiler >/dev/null 2>&1 || packages="$packages gcc libc6-dev"
[ -n "${SEALPOST_TEST_POSTGRES:-}" ] || have_postgres >/dev/null 2>&1 || packages="$packages postgresql"
have_pgbouncer >/dev/null 2>&1 || packages="$packages pgbouncer"
have_chromium >/dev/null 2>&1 || packages="$packages chromium"
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "The tests need, by their Debian names:$packages" >&2
	echo "Install them with this system's own package manager, then run make test again." >&2
	exit 1
fi
root=""
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "Run as root, then run make test again: apt-get install$packages" >&2
		exit 1
	fi
	root=sudo
fi
echo "Installing what the tests need:$packages" >&2
# A server of the system's own is not wanted: the tests start theirs.
$root mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo "create_main_cluster = false" | $root tee /etc/postgresql-common/createcluster.conf >/dev/null
$root apt-get update -qq
# shellcheck disable=SC2086 # a list
DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $packages >/dev/null
