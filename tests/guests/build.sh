#!/bin/sh
# Builds every tiny guest into a folder: build.sh OUTDIR. Needs gcc and binutils.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=$1
mkdir -p "$out"
common="-O1 -ffreestanding -fno-pic -no-pie -fno-stack-protector -fcf-protection=none -mno-red-zone
        -fno-asynchronous-unwind-tables -nostdlib -static -Wall -Wextra -Werror -I$here -Wl,--build-id=none -Wl,--no-warn-rwx-segments"
for source in "$here"/*.c; do
    name=$(basename "$source" .c)
    case $(sed -n 1p "$source") in
    *"mode: 64"*) mode="-m64 -mgeneral-regs-only -DLONG_MODE -DIDT_ENTRY=16" ;;
    *"mode: 32"*) mode="-m32 -mgeneral-regs-only -DIDT_ENTRY=8" ;;
    *) echo "$source: its first line names no mode" >&2; exit 1 ;;
    esac
    # shellcheck disable=SC2086
    gcc $common $mode -DCODE32=8 -DDATA=16 -DCODE64=24 -DTSS=80 -c "$here/runtime/start.S" -o "$out/$name.start.o"
    # shellcheck disable=SC2086
    gcc $common $mode -T "$here/runtime/link.ld" "$out/$name.start.o" "$here/runtime/runtime.c" "$source" -o "$out/$name.long"
    # Multiboot 1 loaders want a 32-bit ELF, whatever the code inside.
    objcopy -O elf32-i386 "$out/$name.long" "$out/$name.elf"
    rm "$out/$name.start.o" "$out/$name.long"
done
