"""A machine saved in the middle of its guest's work, and restored: the guest notices nothing but the date."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from innkeeper import storage
from innkeeper.config import (
    DiskConfig,
    DiskFormat,
    GraphicsConfig,
    MachineConfig,
    NetworkConfig,
)
from innkeeper.console import MemoryConsole
from innkeeper.image import KernelImage
from innkeeper.machine import Machine, OutcomeKind
from tests.engines import fastest_software

from .conftest import Initramfs, fetched
from .inn import APPEND, LIMIT_S
from .test_discs import make_disc, need

pytestmark = [pytest.mark.boot, pytest.mark.slow]

SCRIPT = """
dmesg -n 1; stty -echo; DISK=$(ls /dev/[sv]da)
printf '#!/bin/sh\\n[ "$1" = bound ] && echo "lease $ip"\\n' >/root/dhcp; chmod +x /root/dhcp; ip link set eth0 up
dd if=/dev/urandom of=/root/data bs=64k count=16 2>/dev/null
dd if=/root/data of=$DISK bs=64k conv=fsync 2>/dev/null
udhcpc -q -n -i eth0 -s /root/dhcp 2>/dev/null
(n=0; while :; do n=$((n+1)); echo "count $n"; usleep 20000; done) &
(while :; do :; done) &
while read -r word; do
  if [ "$word" = check ]; then
    echo 3 >/proc/sys/vm/drop_caches
    dd if=$DISK bs=64k count=16 2>/dev/null | cmp - /root/data && echo "disk same"
    dd if=/root/data of=$DISK bs=64k seek=16 conv=fsync 2>/dev/null && echo "disk written"
    udhcpc -q -n -i eth0 -s /root/dhcp 2>/dev/null
    echo "cpus $(nproc)"
    echo "uptime $(cut -d. -f1 /proc/uptime) rtc $(cat /sys/class/rtc/rtc0/since_epoch) done"
  fi
  [ "$word" = spoil ] && dd if=/dev/zero of=$DISK bs=64k count=16 conv=fsync 2>/dev/null && echo spoiled
  [ "$word" = end ] && poweroff -f
done
"""
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "rtc_cmos")


@pytest.fixture
def config(debian: KernelImage, initramfs: Initramfs, tmp_path: Path) -> MachineConfig:
    return MachineConfig(
        kernel=debian.vmlinuz,
        initrd=initramfs(SCRIPT, modules=MODULES),
        append=APPEND,
        engine=fastest_software(),
        memory_mib=192,
        disks=(DiskConfig(path=tmp_path / "disk", size_gib=0.01),),
        networks=(NetworkConfig.parse("user"),),
        timeout_s=LIMIT_S,
    )


@contextmanager
def running(config: MachineConfig, restore: Path | None = None) -> Iterator[tuple[Machine, MemoryConsole]]:
    console = MemoryConsole()
    with Machine(config, console=console) as machine:
        machine.restores = restore
        machine.start()
        yield machine, console


def counts(text: str) -> list[int]:
    return [int(line.removeprefix("count ")) for line in text.split("\n")[:-1] if line.startswith("count ")]


def check(console: MemoryConsole) -> tuple[int, int]:
    """The guest looks at its disk and its network; gives its uptime and its real-time clock."""
    console.send(b"check\n")
    for words in (b"disk same", b"disk written", b"lease 10.0.2.15"):
        console.wait_for(words, timeout_s=LIMIT_S)
    console.wait_for(b"uptime ", timeout_s=LIMIT_S)
    said = console.wait_for(b" done", timeout_s=LIMIT_S).split()
    return int(said[0]), int(said[2])


def goes_on_as_saved(config: MachineConfig, file: Path) -> None:
    """Saves the machine in the middle of its work, restores it a while later, and looks at it from all sides."""
    with running(config) as (machine, console):
        console.wait_for(b"count 10", timeout_s=LIMIT_S)
        uptime, _ = check(console)
        machine.save(file)
        assert machine.wait(LIMIT_S).kind is OutcomeKind.SAVED
    before = console.text
    time.sleep(3)
    with running(config, file) as (machine, console):
        console.wait_for(b"count ", timeout_s=LIMIT_S)
        later, rtc = check(console)
        assert abs(rtc - time.time()) < 5
        assert f"cpus {config.vcpus}\n" in console.text
        console.send(b"end\n")
        assert machine.wait(LIMIT_S).kind is OutcomeKind.POWERED_OFF
    counted = counts(before + console.text)
    assert counted == list(range(1, len(counted) + 1))
    assert len(counted) > len(counts(before))
    assert uptime <= later <= uptime + 60


@pytest.mark.parametrize("vcpus", [1, 2])
def test_a_guest_goes_on_where_it_was_saved(config: MachineConfig, tmp_path: Path, vcpus: int) -> None:
    goes_on_as_saved(replace(config, vcpus=vcpus), tmp_path / "saved")


def test_a_snapshot_of_a_running_guest_has_its_memory_and_its_disk_of_one_moment(
    config: MachineConfig, tmp_path: Path
) -> None:
    disk, file = tmp_path / "disk", tmp_path / "memory"
    config = replace(config, vcpus=2, disks=(DiskConfig(path=disk, size_gib=0.01, format=DiskFormat.QCOW2),))
    with running(config) as (machine, console):
        console.wait_for(b"count 10", timeout_s=LIMIT_S)
        check(console)
        earliest = counts(console.text)[-1]
        machine.checkpoint(file, "one", inside=["vda"])
        latest = counts(console.text)[-1]
        uptime, _ = check(console)  # it runs on, on the same disk
        console.send(b"spoil\n")
        console.wait_for(b"spoiled", timeout_s=LIMIT_S)
        console.send(b"end\n")
        assert machine.wait(LIMIT_S).kind is OutcomeKind.POWERED_OFF
        counted = counts(console.text)
        assert counted == list(range(1, len(counted) + 1))
    assert [each["name"] for each in storage.snapshots(disk, share=True)] == ["one"]
    storage.apply_snapshot(disk, "one")
    console = MemoryConsole()
    with Machine(config, console=console) as machine:
        machine.restores, machine.vouched = file, True
        machine.start()
        console.wait_for(b"count ", timeout_s=LIMIT_S)
        later, _ = check(console)
        assert later <= uptime + 60
        console.send(b"end\n")
        assert machine.wait(LIMIT_S).kind is OutcomeKind.POWERED_OFF
        assert earliest < counts(console.text)[0] <= latest + 2  # the first whole line
    assert storage.check(disk, share=True).get("corruptions", 0) == 0


def test_a_suspended_guest_is_saved_as_it_stands(config: MachineConfig, tmp_path: Path) -> None:
    file = tmp_path / "saved"
    with running(config) as (machine, console):
        console.wait_for(b"count 10", timeout_s=LIMIT_S)
        uptime, _ = check(console)
        machine.suspend()
        time.sleep(2)
        machine.save(file)
        assert machine.wait(LIMIT_S).kind is OutcomeKind.SAVED
    with running(config, file) as (machine, console):
        later, _ = check(console)
        console.send(b"end\n")
        assert machine.wait(LIMIT_S).kind is OutcomeKind.POWERED_OFF
    assert uptime <= later <= uptime + 60


GENERIC = "linux-image-amd64"
PC_MODULES = ("ata_piix", "ahci", "sd_mod", "sr_mod", "isofs", "e1000", "af_packet", "rtc_cmos")
READING = "dmesg -n 1\n(while :; do cat /dev/sr0 >/dev/null; echo 3 >/proc/sys/vm/drop_caches; done) &\n"


def test_a_pc_with_firmware_screen_disc_and_old_cards_goes_on(initramfs: Initramfs, tmp_path: Path) -> None:
    """SeaBIOS, VGA, a disc behind IDE that is read all the time, a disk behind AHCI, an e1000."""
    need("seabios", "isolinux", "syslinux-common")
    kernel = fetched(GENERIC)
    disc = make_disc(tmp_path, kernel.vmlinuz, APPEND, initramfs(READING + SCRIPT, kernel, modules=PC_MODULES))
    config = MachineConfig(
        memory_mib=320,
        engine=fastest_software(),
        disks=(DiskConfig.cdrom(disc), DiskConfig.parse(f"path={tmp_path / 'disk'},size=0.01,bus=sata")),
        networks=(NetworkConfig.parse("user,model=e1000"),),
        graphics=(GraphicsConfig.parse(f"vnc,socket={tmp_path / 'vnc'}"),),
        timeout_s=LIMIT_S,
    )
    goes_on_as_saved(config, tmp_path / "saved")
