#!/bin/sh
# One partition over the whole disk, with ext4, mounted at /target; under UEFI a system partition before it, at /target/boot/efi.
set -e
. /usr/share/debconf/confmodule

fail() {
    logger -t innkeeper "$2"
    db_input critical "$1" || true
    db_go || true
    exit 1
}

db_get partman-auto/disk || RET=
disk=${RET%% *}
if [ -z "$disk" ]; then
    for name in vda sda nvme0n1; do
        [ -b "/dev/$name" ] && disk=/dev/$name && break
    done
fi
[ -b "$disk" ] || fail innkeeper/no-disk "there is no disk '$disk'"

db_subst partman/confirm DISK "$disk"
db_input critical partman/confirm || true
db_go || exit 10
db_get partman/confirm
[ "$RET" = true ] || exit 10

db_progress START 0 3 innkeeper/disk
umount /target/boot/efi /target 2>/dev/null || true
if [ -d /sys/firmware/efi ]; then
    label=gpt wanted='size=256MiB,type=U\ntype=L\n'
else
    label=dos wanted='type=L,bootable\n'
fi
printf "$wanted" | log-output -t innkeeper sfdisk --quiet --label $label --wipe always --wipe-partitions always "$disk" ||
    fail innkeeper/no-partition "sfdisk fails"
udevadm settle --timeout=30 || true
case $disk in *[0-9]) parts=${disk}p ;; *) parts=$disk ;; esac
part=${parts}1 system=
if [ $label = gpt ]; then
    part=${parts}2 system=${parts}1
    log-output -t innkeeper mkfs.fat -F 32 "$system" || fail innkeeper/no-partition "mkfs.fat fails"
fi
db_progress STEP 1
log-output -t innkeeper mke2fs -q -F -t ext4 "$part" || fail innkeeper/no-partition "mke2fs fails"
db_progress STEP 1
mkdir -p /target
mount -t ext4 "$part" /target
mkdir -p /target/etc
uuid=$(block-attr --uuid "$part")
printf '# <file system> <mount point> <type> <options> <dump> <pass>\nUUID=%s / ext4 errors=remount-ro 0 1\n' "$uuid" \
    >/target/etc/fstab
if [ -n "$system" ]; then
    mkdir -p /target/boot/efi
    mount -t vfat "$system" /target/boot/efi
    printf 'UUID=%s /boot/efi vfat umask=0077 0 1\n' "$(block-attr --uuid "$system")" >>/target/etc/fstab
fi
echo "$disk" >/var/lib/innkeeper-disk
db_progress STOP
