"""A stock kernel's ACPI hot plug: a card and a disk come and go while the guest runs."""

import json
import re
import time
from pathlib import Path
from typing import Self

import pytest

from innkeeper.config import DiskConfig, MachineConfig, NetworkConfig
from innkeeper.config.disk import DiskFormat
from innkeeper.config.network import CardModel
from innkeeper.console import MemoryConsole
from innkeeper.image import KernelImage
from innkeeper.machine import Machine
from innkeeper.storage.images import create
from tests.boot.conftest import SHELL, Initramfs, fetched
from tests.boot.inn import APPEND, LIMIT_S
from tests.boot.test_machines import User
from tests.engines import fastest_software

pytestmark = pytest.mark.boot

MODULES = ("virtio_pci", "virtio_net", "virtio_blk", "af_packet")
PROMPT = b"/root # "
LEASE = "ip link set eth0 up; udhcpc -i eth0 -n -q"


class Guest:
    """A shell at the serial console of a running machine."""

    def __init__(self, kernel: KernelImage, archive: Path) -> None:
        config = MachineConfig(
            kernel=kernel.vmlinuz,
            initrd=archive,
            append=f"{APPEND} quiet",
            engine=fastest_software(),
            timeout_s=LIMIT_S,
        )
        self._make(config)

    @classmethod
    def of(cls, config: MachineConfig) -> Self:
        """That is not started yet."""
        guest = cls.__new__(cls)
        guest._make(config)
        return guest

    def _make(self, config: MachineConfig) -> None:
        self.console = MemoryConsole()
        self.machine = Machine(config, console=self.console)

    def __enter__(self) -> Self:
        self.machine.start()
        self.console.wait_for(PROMPT, timeout_s=LIMIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.machine.close()

    def ask(self, command: str) -> str:
        self.console.send(command.encode() + b" ; echo D'ONE'\r")
        return self.console.wait_for(b"DONE\r\n" + PROMPT, timeout_s=60).decode(errors="replace")

    def wait_for(self, command: str, words: str) -> str:
        """Asks until the answer has the pattern."""
        deadline = time.monotonic() + 60
        while not re.search(words, answer := self.ask(command)):
            assert time.monotonic() < deadline, f"{command} never said {words}: {answer}"
        return answer


def test_a_card_and_a_disk_come_and_go(debian: KernelImage, initramfs: Initramfs, tmp_path: Path) -> None:
    image = tmp_path / "plugged.qcow2"
    create(image, 8 << 20, image_format=DiskFormat.QCOW2)
    with Guest(debian, initramfs(SHELL, modules=MODULES)) as guest:
        live = guest.machine.live
        card, disk = live.attach_card(NetworkConfig()), live.attach_disk(DiskConfig(path=image))

        guest.wait_for("ls /sys/class/net", r"\beth0\b")
        assert card.mac in guest.ask("cat /sys/class/net/eth0/address")
        assert "lease of 10.0.2.15 obtained" in guest.ask(LEASE)
        assert card.opened.link.leases() == [(card.mac, "10.0.2.15", None)]
        guest.ask("udhcpc -i eth0 -n -q -x hostname:inn-guest")
        assert card.opened.link.leases() == [(card.mac, "10.0.2.15", "inn-guest")]
        guest.wait_for("ls /dev", r"\bvda\b")
        assert re.search(r"PCI-MSI.*virtio1-req", guest.ask("cat /proc/interrupts"))
        guest.ask("echo kept over all this > /tmp/words; dd if=/tmp/words of=/dev/vda conv=fsync")
        assert disk.disk.traffic()["written"][0] > 0

        disk.grow(16 << 20)
        guest.wait_for("cat /sys/block/vda/size", rf"\b{(16 << 20) // 512}\b")
        card.set_link(up=False)
        guest.wait_for("cat /sys/class/net/eth0/carrier", r"\n0\r")

        assert live.detach_card(card.mac, 60)
        assert live.detach_disk("vda", 60)
        assert "eth0" not in guest.ask("ls /sys/class/net")
        assert "vda" not in guest.ask("ls /sys/block")
        assert live.describe() == {"cards": [], "disks": []}
        links = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        assert str(image) not in links

        live.attach_disk(DiskConfig(path=image))
        guest.wait_for("ls /dev", r"\bvda\b")
        assert "kept over all this" in guest.ask("head -n 1 /dev/vda")
        guest.machine.reset()
        guest.console.wait_for(PROMPT, timeout_s=LIMIT_S)
        assert "kept over all this" in guest.ask("head -n 1 /dev/vda")
        assert live.detach_disk("vda", 60)  # and the new board's methods work as well


def test_a_guest_that_ejects_by_itself_finds_the_device_again(debian: KernelImage, initramfs: Initramfs) -> None:
    with Guest(debian, initramfs(SHELL, modules=MODULES)) as guest:
        guest.machine.live.attach_card(NetworkConfig())
        guest.wait_for("ls /sys/class/net", r"\beth0\b")

        guest.ask("echo 0 > /sys/bus/pci/slots/2/power")
        assert "eth0" not in guest.ask("ls /sys/class/net")
        guest.ask("echo 1 > /sys/bus/pci/slots/2/power")

        guest.wait_for("ls /sys/class/net", r"\beth0\b")
        assert "lease of 10.0.2.15 obtained" in guest.ask(LEASE)


def test_an_e1000_comes_and_goes(initramfs: Initramfs) -> None:
    kernel = fetched("linux-image-amd64")  # the cloud's has no other cards
    with Guest(kernel, initramfs(SHELL, kernel, modules=("e1000", "af_packet"))) as guest:
        card = guest.machine.live.attach_card(NetworkConfig(model=CardModel.E1000))
        guest.wait_for("ls /sys/class/net", r"\beth0\b")
        assert "lease of 10.0.2.15 obtained" in guest.ask(LEASE)
        card.set_link(up=False)
        guest.wait_for("cat /sys/class/net/eth0/carrier", r"\n0\r")
        card.set_link(up=True)
        guest.wait_for("cat /sys/class/net/eth0/carrier", r"\n1\r")

        assert guest.machine.live.detach_card(card.mac, 60)
        assert "eth0" not in guest.ask("ls /sys/class/net")


def uptime(guest: Guest) -> float:
    found = re.search(r"(\d+\.\d+) \d+\.\d+", guest.ask("cat /proc/uptime"))
    assert found is not None
    return float(found[1])


def test_a_guest_that_was_suspended_finds_that_no_time_has_passed(debian: KernelImage, initramfs: Initramfs) -> None:
    with Guest(debian, initramfs(SHELL, modules=MODULES)) as guest:
        card = guest.machine.live.attach_card(NetworkConfig())
        guest.wait_for("ls /sys/class/net", r"\beth0\b")
        before, begun = uptime(guest), time.monotonic()
        for _ in range(3):
            guest.machine.suspend()
            time.sleep(5)
            guest.machine.resume()
        awake = time.monotonic() - begun - 15
        after = uptime(guest)

        assert before <= after <= before + awake + 2
        assert "lease of 10.0.2.15 obtained" in guest.ask(LEASE)
        assert guest.machine.live.detach_card(card.mac, 60)
        assert not re.search("stall|lockup|unstable", guest.ask("dmesg | tail -n 50"))


def test_a_guest_hears_of_changes_when_it_wakes(debian: KernelImage, initramfs: Initramfs, tmp_path: Path) -> None:
    image = tmp_path / "while-asleep.img"
    image.write_bytes(bytes(1 << 20))
    with Guest(debian, initramfs(SHELL, modules=MODULES)) as guest:
        machine, live = guest.machine, guest.machine.live
        card = live.attach_card(NetworkConfig())
        guest.wait_for("ls /sys/class/net", r"\beth0\b")
        guest.console.send(b"echo mem > /sys/power/state\r")
        deadline = time.monotonic() + 60
        while not ((board := machine._assembly) is not None and board.board.pm.asleep):
            assert time.monotonic() < deadline, "the guest does not sleep"
            time.sleep(0.05)
        live.attach_disk(DiskConfig(path=image, format=DiskFormat.RAW))
        assert not live.detach_card(card.mac, 0.01)
        machine.press_power_button()

        guest.console.wait_for(PROMPT, timeout_s=60)
        guest.wait_for("ls /dev", r"\bvda\b")
        assert "eth0" not in guest.ask("ls /sys/class/net")
        assert live.detach_disk("vda", 60)


@pytest.mark.slow
def test_the_verbs_change_a_machine_that_runs(debian: KernelImage, initramfs: Initramfs, tmp_path: Path) -> None:
    user, image = User(tmp_path), tmp_path / "more.qcow2"
    create(image, 8 << 20, image_format=DiskFormat.QCOW2)
    script = (
        "ip link set lo up; while sleep 0.2; do ip link set eth0 up && udhcpc -i eth0 -n -q && break; done; sleep 1000"
    )
    boot = f"kernel={debian.vmlinuz},initrd={initramfs(script, modules=MODULES)},kernel_args={APPEND} quiet"
    user.inn("virt-install", "--name", "one", "--memory", "256", "--boot", boot, "--network", "none", "--disk", "none",
             "--graphics", "none", "--noautoconsole")  # fmt: skip
    try:
        user.inn("virsh", "attach-interface", "one", "--type", "user", "--live")
        mac = json.loads(user.inn("domiflist", "one", "--json"))[0]["mac"]
        deadline = time.monotonic() + LIMIT_S
        while "10.0.2.15/24" not in user.inn("virsh", "domifaddr", "one"):
            assert time.monotonic() < deadline, "the card gets no address"
            time.sleep(0.2)
        assert int(user.inn("domifstat", "one", mac).partition("rx_packets ")[2].split()[0]) > 0
        user.inn("virsh", "attach-disk", "one", str(image), "vdb", "--persistent")
        assert str(image) in user.inn("domblklist", "one")
        user.inn("virsh", "blockresize", "one", "vdb", "16M")
        assert f"block.0.capacity={16 << 20}" in user.inn("domstats", "one", "--block")
        shown = user.inn("dumpxml", "one")
        assert (mac in shown, str(image) in shown) == (True, True)
        assert "detached" in user.inn("virsh", "detach-interface", "one", "--type", "user", "--mac", mac)
        assert "detached" in user.inn("virsh", "detach-disk", "one", "vdb", "--live")
        assert str(image) in user.inn("domblklist", "one", "--inactive")
        shown = user.inn("dumpxml", "one")
        assert (mac in shown, str(image) in shown) == (False, False)
    finally:
        user.inn("destroy", "one")
    user.inn("undefine", "one")
