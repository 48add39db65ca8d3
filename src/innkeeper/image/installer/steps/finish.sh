#!/bin/sh
# From a base system to one that starts: accounts, names, boot loader, queued packages; then the machine restarts.
set -e
. /usr/share/debconf/confmodule

answer() {
    db_get "$1" || RET=
    printf %s "$RET"
}

stage() {
    db_progress SET "$1"
    db_progress INFO "innkeeper/finish/$2"
}

fail() {
    logger -t innkeeper "$2"
    db_progress STOP
    db_input critical "$1" || true
    db_go || true
    exit 1
}

/usr/lib/user-setup/user-setup-ask /target || exit 10

db_progress START 0 100 innkeeper/finish
stage 0 settings
log-output -t innkeeper --pass-stdout /usr/lib/user-setup/user-setup-apply /target

name=$(answer netcfg/hostname)
[ -n "$name" ] || name=$(answer netcfg/get_hostname)
domain=$(answer netcfg/get_domain)
[ -n "$name" ] && [ "$name" != unassigned-hostname ] || name=debian
echo "$name" >/target/etc/hostname
printf '127.0.0.1\tlocalhost\n127.0.1.1\t%s\n::1\tlocalhost ip6-localhost ip6-loopback\n' \
    "${domain:+$name.$domain }$name" >/target/etc/hosts
mkdir -p /target/etc/systemd/network
printf '[Match]\nType=ether\n[Network]\nDHCP=yes\n' >/target/etc/systemd/network/80-wired.network
log-output -t innkeeper in-target systemctl enable systemd-networkd
zone=$(answer time/zone)
[ -n "$zone" ] && [ -e "/target/usr/share/zoneinfo/$zone" ] || zone=Etc/UTC
ln -sf "/usr/share/zoneinfo/$zone" /target/etc/localtime
echo "$zone" >/target/etc/timezone

stage 20 packages
for package in $(answer pkgsel/include); do
    log-output -t innkeeper apt-install "$package" || fail innkeeper/no-package "there is no package $package"
done

stage 40 loader
disk=$(answer grub-installer/bootdev)
[ -b "$disk" ] || disk=$(cat /var/lib/innkeeper-disk)
words=$(user-params | tr '\n' ' ')
words=${words% }
if [ -d /sys/firmware/efi ]; then
    # Also where firmware looks that has lost its variables.
    loader="grub-efi-amd64 efibootmgr" selection="grub-efi-amd64 grub2/force_efi_extra_removable boolean true"
    variables=/sys/firmware/efi/efivars
    install="mount -t efivarfs efivarfs $variables && \
        grub-install --target=x86_64-efi --bootloader-id=debian --force-extra-removable && umount $variables"
else
    loader=grub-pc selection="grub-pc grub-pc/install_devices multiselect $disk"
    install="grub-install $disk"
fi
# In a file: in-target asks debconf, whose answers come on its standard input.
echo "$selection" >/target/root/selections
log-output -t innkeeper in-target debconf-set-selections /root/selections
rm /target/root/selections
for package in $loader; do
    log-output -t innkeeper apt-install "$package" || fail innkeeper/no-loader "$package cannot be installed"
done
{
    printf 'GRUB_TIMEOUT=1\nGRUB_CMDLINE_LINUX="%s"\n' "$words"
    case " $words " in
        *" console=ttyS0"*) printf 'GRUB_TERMINAL="console serial"\nGRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"\n' ;;
    esac
} >>/target/etc/default/grub
log-output -t innkeeper in-target sh -c "$install" || fail innkeeper/no-loader "grub-install fails"
stage 70 loader
log-output -t innkeeper in-target update-grub || fail innkeeper/no-loader "update-grub fails"

stage 80 end
# The disc is gone after this: where packages come from later is for whoever has the machine.
host=$(answer mirror/http/hostname)
if [ -n "$host" ]; then
    echo "deb http://$host$(answer mirror/http/directory) $(cat /cdrom/.disk/innkeeper) main" >/target/etc/apt/sources.list
else
    sed -i 's/^deb cdrom:/# &/' /target/etc/apt/sources.list
fi
for script in /usr/lib/finish-install.d/*; do
    [ -x "$script" ] || continue
    log-output -t innkeeper --pass-stdout "$script" || logger -t innkeeper "$script fails"
done
stage 100 end
db_progress STOP

off=$(answer debian-installer/exit/poweroff)
halt=$(answer debian-installer/exit/halt)
sync
cd /
for place in /target/media/cdrom /target/boot/efi /dev/.static/dev /target/dev /target/proc /target/sys; do
    umount "$place" 2>/dev/null || umount -l "$place" 2>/dev/null || true
done
# Whatever still has a file open there, the file system is clean.
umount /target 2>/dev/null || mount -o remount,ro /target 2>/dev/null || true
sync
echo "The installation is complete." >/dev/console
if [ "$off" = true ] || [ "$halt" = true ]; then
    poweroff -f
else
    reboot -f
fi
sleep 60
