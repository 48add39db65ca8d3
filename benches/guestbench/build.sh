#!/bin/sh
# Builds the programs of the guest benchmark, static, so that host and guest run the same code: build.sh OUTDIR.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1

install() { apt-get install --quiet=2 --yes --no-install-recommends musl-tools >/dev/null; }
if ! command -v musl-gcc >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    install || { apt-get update --quiet=2 && install; } || true
fi
command -v musl-gcc >/dev/null || { echo "no musl-gcc: install Debian's package musl-tools" >&2; exit 1; }

# Contracted multiplications would give other sums on other compilers.
flags="-O2 -static -Wall -Werror -Wno-unused-result -march=x86-64 -mtune=generic -ffp-contract=off"
# shellcheck disable=SC2086 # a list of flags
for program in gb parallel; do
    musl-gcc $flags -o "$out/$program" "$here/$program.c" -lm -lpthread
done
