#!/bin/sh
# Keeps what `make fuzz` found on this machine: of each target the inputs that
# reached new code last, into testdata/fuzz, where `go test` tries them every time.
set -eu
cd "$(dirname "$0")/.."
most=16
root=$(pwd)
found="$(go env GOCACHE)/fuzz/$(go list -m)"
[ -d "$found" ] || { echo "nothing was found yet: make fuzz" >&2; exit 1; }
cd "$found"
find . -type d -name 'Fuzz*' | while read -r target; do
	kept="$root/$(dirname "$target")/testdata/fuzz/$(basename "$target")"
	mkdir -p "$kept"
	# What failed once stays, whatever its name: it is put there by go test.
	find "$target" -type f -size -5 -printf '%T@ %p\n' | sort -rn | head -n "$most" | cut -d' ' -f2- | while read -r input; do
		cp "$input" "$kept/"
	done
done
