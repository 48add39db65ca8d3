"""A machine saved whose devices came and went while a stock kernel ran: its guest finds each where it was, and lets go of them later."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from innkeeper.config import DiskConfig, MachineConfig, NetworkConfig
from innkeeper.config.disk import DiskFormat
from innkeeper.image import KernelImage
from innkeeper.machine import OutcomeKind
from innkeeper.storage.images import create
from tests.boot.conftest import SHELL, Initramfs
from tests.boot.inn import APPEND, LIMIT_S
from tests.boot.test_hotplug import Guest
from tests.boot.test_vcpus import started
from tests.engines import fastest_software

pytestmark = [pytest.mark.boot, pytest.mark.slow]

MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "virtio_rng", "af_packet")
ADDRESS = "ip address add 10.0.2.15/24 dev eth0; ip link set eth0 up"
PLACES = "ls -l /sys/bus/virtio/devices; cat /proc/interrupts | grep -o 'PCI-MSI.*'"
WORDS = "kept over all this"


def interrupts(guest: Guest) -> str:
    """Where each device is, and which vectors its queues have."""
    return guest.ask(PLACES)


def answers(guest: Guest) -> bool:
    return "1 packets received" in guest.ask("ping -c 1 -W 20 10.0.2.2")


def write(guest: Guest, sector: int) -> None:
    guest.ask(f"echo {WORDS} > /tmp/words; dd if=/tmp/words of=/dev/vdb seek={sector} conv=fsync,notrunc")


def holds(guest: Guest, sector: int) -> bool:
    return WORDS in guest.ask(f"echo 3 > /proc/sys/vm/drop_caches; dd if=/dev/vdb skip={sector} count=1 2>/dev/null")


def quiet(guest: Guest) -> bool:
    """Whether the kernel has logged nothing since its log was cleared."""
    return "lines: 0" in guest.ask("echo lines: $(dmesg | wc -l)")


@pytest.fixture
def config(debian: KernelImage, initramfs: Initramfs, tmp_path: Path) -> MachineConfig:
    """A disk in slot 2, a card in slot 3, entropy in slot 4."""
    return MachineConfig(
        kernel=debian.vmlinuz,
        initrd=initramfs(SHELL, modules=MODULES),
        append=f"{APPEND} quiet",
        engine=fastest_software(),
        memory_mib=256,
        disks=(DiskConfig(path=tmp_path / "first", size_gib=0.01),),
        networks=(NetworkConfig(),),
        rng=True,
        timeout_s=2 * LIMIT_S,
    )


def save_changed(config: MachineConfig, image: Path, file: Path) -> tuple[MachineConfig, str]:
    """The card is out, a disk in its slot, another card behind; and it stands still just as the first disk was asked back."""
    with started(config) as guest:
        live = guest.machine.live
        assert live.detach_card(live.cards()[0].mac, 60)
        live.attach_disk(DiskConfig(path=image))
        live.attach_card(NetworkConfig())
        guest.wait_for("ls /dev", r"\bvdb\b")
        guest.wait_for("ls /sys/class/net", r"\beth0\b")
        guest.ask(ADDRESS)
        assert answers(guest)
        write(guest, 0)
        places = interrupts(guest)
        assert re.search(r"pci0000:00/0000:00:03.0/virtio\d+\r", places)  # the disk
        assert re.search(r"pci0000:00/0000:00:05.0/virtio\d+\r", places)  # the card
        guest.ask("echo 4 > /proc/sys/vm/drop_caches; dmesg -c > /dev/null")  # the one is not logged any more
        guest.machine.suspend()
        assert not live.detach_disk("vda", 0.01)
        now = guest.machine.config_now
        guest.machine.save(file)
        assert guest.machine.wait(LIMIT_S).kind is OutcomeKind.SAVED
    return now, places


def test_a_guest_finds_what_was_plugged_in_where_it_was(config: MachineConfig, tmp_path: Path) -> None:
    image, file = tmp_path / "plugged.qcow2", tmp_path / "saved"
    create(image, 8 << 20, image_format=DiskFormat.QCOW2)
    now, places = save_changed(config, image, file)
    assert [disk.target for disk in now.disks] == ["vda", "vdb"]
    with started(now, file) as guest:
        live = guest.machine.live
        assert answers(guest)
        assert holds(guest, 0)
        write(guest, 7)
        assert holds(guest, 7)
        guest.wait_for("ls /sys/block; echo", r"^(?:(?!vda)[\s\S])*$")
        assert [disk.target for disk in live.disks()] == ["vdb"]
        kept = [line for line in places.splitlines() if "virtio0" not in line]
        assert [line for line in interrupts(guest).splitlines() if "virtio0" not in line] == kept
        assert quiet(guest)
        again = guest.machine.config_now
        guest.machine.save(file)
        assert guest.machine.wait(LIMIT_S).kind is OutcomeKind.SAVED
    with started(replace(again, timeout_s=LIMIT_S), file) as guest:
        live = guest.machine.live
        assert answers(guest)
        assert holds(guest, 7)
        assert live.detach_card(live.cards()[0].mac, 60)
        assert live.detach_disk("vdb", 60)
        assert "vdb" not in guest.ask("ls /sys/block")
        assert "eth0" not in guest.ask("ls /sys/class/net")
        live.attach_disk(DiskConfig(path=image))
        guest.wait_for("ls /dev", r"\bvd[ab]\b")
        assert WORDS in guest.ask("head -n 1 /dev/vd[ab]")
