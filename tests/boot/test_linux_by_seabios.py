"""Debian's kernel from a disc: what it is told by SeaBIOS, sleep and reset through it."""

from pathlib import Path

import pytest

from innkeeper.config import DiskConfig, EngineChoice, MachineConfig, VideoModel
from innkeeper.console import MemoryConsole
from innkeeper.image import KernelImage
from innkeeper.machine import Machine, OutcomeKind
from tests.boot.conftest import Initramfs
from tests.boot.inn import APPEND, ended
from tests.boot.test_discs import make_disc, need

pytestmark = pytest.mark.boot

COMMANDS = """
mkdir -p /proc /sys; mount -t proc proc /proc 2>/dev/null; mount -t sysfs sysfs /sys 2>/dev/null
echo "name $(cat /sys/class/dmi/id/product_version) $(cat /sys/class/dmi/id/product_family)"
echo "cpus $(grep -c ^processor /proc/cpuinfo)"
echo "boots $(dmesg | grep -c 'BIOS-provided physical RAM map')"
dmesg | grep -i -E "ACPI (Error|BIOS Error|Warning)|can't claim BAR|no compatible bridge" && echo trouble
echo +3 > /sys/class/rtc/rtc0/wakealarm
echo mem > /sys/power/state && echo woken
dmesg | grep -E "smpboot: Booting Node|CPU1 is up" | tail -1
reboot -f
"""


def test_linux_sleeps_and_resets_through_seabios(debian: KernelImage, initramfs: Initramfs, tmp_path: Path) -> None:
    need("seabios", "isolinux", "syslinux-common")
    disc = make_disc(tmp_path, debian.vmlinuz, APPEND, initramfs(COMMANDS))
    console = MemoryConsole()
    config = MachineConfig(
        memory_mib=512,
        vcpus=2,
        engine=EngineChoice.BT,
        disks=(DiskConfig.cdrom(disc),),
        name="inn-guest",
        video=VideoModel.NONE,
        timeout_s=240,
        no_reboot=True,
    )
    with Machine(config, console=console) as machine:
        machine.start()
        console.wait_for(b"cpus 2", timeout_s=120)
        console.wait_for(b"woken", timeout_s=60)
        assert ended(machine, console, 60).kind is OutcomeKind.RESET
        assert machine.statistics()["sleeps"] == 1
    said = console.output
    assert b"inn-guest" in said
    assert b"trouble" not in said
