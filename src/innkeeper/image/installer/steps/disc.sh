#!/bin/sh
# Finds the disc that this installer came on, and mounts it at /cdrom.
set -e
. /usr/share/debconf/confmodule

depmod -a
for module in ata_piix ahci virtio_blk sr_mod isofs ext4 vfat; do
    modprobe -q "$module" || logger -t innkeeper "there is no module $module"
done
udevadm settle --timeout=30 || true
mkdir -p /cdrom
for device in /dev/sr0 /dev/sr1 /dev/sr2 /dev/sr3 /dev/vd? /dev/sd?; do
    [ -b "$device" ] || continue
    mount -t iso9660 -o ro "$device" /cdrom 2>/dev/null || continue
    if [ -e /cdrom/.disk/innkeeper ]; then
        db_set cdrom/codename "$(cat /cdrom/.disk/innkeeper)"
        db_set cdrom/suite "$(cat /cdrom/.disk/innkeeper)"
        # What is on the disc is the default; a preseed file may say otherwise.
        db_get base-installer/kernel/image
        [ -n "$RET" ] || db_set base-installer/kernel/image "$(cat /cdrom/.disk/innkeeper-kernel)"
        db_fget base-installer/install-recommends seen
        [ "$RET" = true ] || db_set base-installer/install-recommends false
        exit 0
    fi
    umount /cdrom
done
db_input critical innkeeper/no-disc || true
db_go || true
exit 1
