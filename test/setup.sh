#!/bin/sh
# Installs what the tests need and this machine lacks; with the argument
# "integration", what the integration tests need as well, with "screenshots" the
# letters of every language. On Debian and Ubuntu it does so with apt; elsewhere
# it says what to install.
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
have_pg_dump() { command -v pg_dump; }
have_nginx() { command -v nginx || [ -x /usr/sbin/nginx ]; }
have_openssl() { command -v openssl; }
have_curl() { command -v curl; }
have_jq() { command -v jq; }
have_systemd() { command -v systemd-analyze; }
have_apache() { [ -e /usr/lib/apache2/modules/mod_auth_openidc.so ]; }
have_node() { node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)'; }
have_cjk() { fc-list :lang=ja | grep -q . && fc-list :lang=ar | grep -q .; }
have_npm() { command -v npm; }
have_authlib() {
	for name in "${SEALPOST_TEST_PYTHON:-python3}" /usr/bin/python3; do
		"$name" -c "import authlib, flask, requests" && return
	done
	return 1
}

if ! command -v go >/dev/null 2>&1; then
	echo "Go is missing: install the version that go.mod names, from https://go.dev/dl" >&2
	exit 1
fi
packages=""
have_compiler >/dev/null 2>&1 || packages="$packages gcc libc6-dev"
[ -n "${SEALPOST_TEST_POSTGRES:-}" ] || have_postgres >/dev/null 2>&1 || packages="$packages postgresql"
have_pg_dump >/dev/null 2>&1 || packages="$packages postgresql-client"
have_pgbouncer >/dev/null 2>&1 || packages="$packages pgbouncer"
have_chromium >/dev/null 2>&1 || packages="$packages chromium"
if [ "${1:-}" = integration ]; then # apache2-bin: the server, and no service
	have_apache || packages="$packages apache2-bin libapache2-mod-auth-openidc"
	have_nginx >/dev/null 2>&1 || packages="$packages nginx-light"
	have_openssl >/dev/null 2>&1 || packages="$packages openssl"
	have_curl >/dev/null 2>&1 || packages="$packages curl"
	have_jq >/dev/null 2>&1 || packages="$packages jq"
	have_systemd >/dev/null 2>&1 || packages="$packages systemd"
	have_node >/dev/null 2>&1 || packages="$packages nodejs"
	have_npm >/dev/null 2>&1 || packages="$packages npm"
	have_authlib >/dev/null 2>&1 || packages="$packages python3-authlib python3-flask python3-requests"
fi
if [ "${1:-}" = screenshots ]; then
	have_cjk >/dev/null 2>&1 || packages="$packages fontconfig fonts-noto-cjk fonts-noto-core"
fi
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "The tests need, by their Debian names:$packages" >&2
	echo "Install them with this system's own package manager, then run make again." >&2
	exit 1
fi
root=""
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "Run as root, then run make again: apt-get install$packages" >&2
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
