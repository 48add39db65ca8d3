"""A stock kernel's ACPI hot plug of processors: they come and go while the guest runs, sleeps, is reset and is saved."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import pytest

from innkeeper.config import DiskConfig, FirmwareConfig, FirmwareKind, MachineConfig, VideoModel
from innkeeper.errors import HostError
from innkeeper.image import KernelImage
from innkeeper.machine import Machine, OutcomeKind
from tests.boot.conftest import SHELL, Initramfs
from tests.boot.inn import APPEND, LIMIT_S
from tests.boot.test_discs import make_disc, need
from tests.boot.test_hotplug import PROMPT, Guest
from tests.boot.test_machines import User
from tests.boot.test_uefi import needs_ovmf
from tests.engines import fastest_software

pytestmark = pytest.mark.boot

CPUS = "/sys/devices/system/cpu"


def guest_config(debian: KernelImage, archive: Path, vcpus: int, most: int) -> MachineConfig:
    return MachineConfig(
        kernel=debian.vmlinuz,
        initrd=archive,
        append=f"{APPEND} quiet",
        vcpus=vcpus,
        max_vcpus=most,
        engine=fastest_software(),
        timeout_s=2 * LIMIT_S,
    )


@contextmanager
def started(config: MachineConfig, restores: Path | None = None) -> Iterator[Guest]:
    guest = Guest.of(config)
    guest.machine.restores = restores
    guest.machine.start()
    try:
        if restores is None:
            guest.console.wait_for(PROMPT, timeout_s=LIMIT_S)
        yield guest
    finally:
        guest.machine.close()


def online(guest: Guest) -> str:
    return cpus(guest, "online")


def cpus(guest: Guest, kind: str) -> str:
    found = re.search(r"^([\d,-]+)\r$", guest.ask(f"cat {CPUS}/{kind}"), re.MULTILINE)
    assert found is not None
    return found[1]


def bring_up(guest: Guest, *indices: int) -> None:
    """As udev's rule does it on a distribution."""
    for index in indices:
        guest.wait_for(f"ls {CPUS}", rf"\bcpu{index}\b")
        guest.ask(f"echo 1 > {CPUS}/cpu{index}/online")


def works(guest: Guest, index: int) -> bool:
    """Whether a processor runs a program, and time goes on there."""
    return "did" in guest.ask(f"taskset {1 << index:x} sh -c 'sleep 0.1; echo d''id'")


def trouble(guest: Guest) -> list[str]:
    said = guest.ask("dmesg")
    return re.findall(r".*(?:ACPI (?:Error|BIOS Error|Warning)|BUG:|WARNING:|stall|lockup|unstable).*", said)


def test_vcpus_come_and_go(debian: KernelImage, initramfs: Initramfs) -> None:
    with started(guest_config(debian, initramfs(SHELL), 2, 4)) as guest:
        live = guest.machine.live
        assert (cpus(guest, "possible"), online(guest)) == ("0-3", "0-1")

        live.set_vcpus(4)
        bring_up(guest, 2, 3)
        assert online(guest) == "0-3"
        assert all(works(guest, index) for index in range(4))
        figures = live.figures()
        assert [vcpu["number"] for vcpu in figures["vcpus"]] == [0, 1, 2, 3]
        assert (figures["vcpus_maximum"], figures["vcpus"][3]["time_ns"] > 0) == (4, True)

        live.set_vcpus(2)  # returns once the guest has given them back
        assert (online(guest), cpus(guest, "present")) == ("0-1", "0-1")
        assert len(live.figures()["vcpus"]) == 2

        live.set_vcpus(3)  # comes back reset
        bring_up(guest, 2)
        assert works(guest, 2)
        live.set_vcpus(1)  # those of the start may go as well
        assert online(guest) == "0"
        live.set_vcpus(3)
        bring_up(guest, 1, 2)
        assert online(guest) == "0-2"
        assert trouble(guest) == []

        guest.machine.reset()
        guest.console.wait_for(PROMPT, timeout_s=LIMIT_S)
        assert online(guest) == "0-2"
        live.set_vcpus(2)  # and the new board's methods work as well
        assert online(guest) == "0-1"


def wait_until_asleep(machine: Machine) -> None:
    deadline = time.monotonic() + 60
    while not ((assembly := machine._assembly) is not None and assembly.board.pm.asleep):
        assert time.monotonic() < deadline, "the guest does not sleep"
        time.sleep(0.05)


def test_a_guest_that_slept_finds_more_vcpus(debian: KernelImage, initramfs: Initramfs) -> None:
    with started(guest_config(debian, initramfs(SHELL), 2, 3)) as guest:
        guest.machine.live.set_vcpus(3)
        bring_up(guest, 2)
        guest.machine.live.set_vcpus(2)
        guest.console.send(b"echo mem > /sys/power/state\r")
        wait_until_asleep(guest.machine)
        with pytest.raises(HostError, match="has not given vCPUs 1 back within"):
            guest.machine.live.set_vcpus(1)
        guest.machine.live.set_vcpus(3)
        guest.machine.press_power_button()

        guest.console.wait_for(PROMPT, timeout_s=60)
        assert online(guest) == "0-1"
        bring_up(guest, 2)
        assert works(guest, 2)
        guest.machine.live.set_vcpus(1)
        assert online(guest) == "0"


def test_a_saved_machine_has_the_vcpus_that_it_had(debian: KernelImage, initramfs: Initramfs, tmp_path: Path) -> None:
    config, file = guest_config(debian, initramfs(SHELL), 1, 4), tmp_path / "saved"
    with started(config) as guest:
        guest.machine.live.set_vcpus(3)
        bring_up(guest, 1, 2)
        guest.machine.save(file)
        assert guest.machine.wait(LIMIT_S).kind is OutcomeKind.SAVED
    with started(config, file) as guest:
        assert online(guest) == "0-2"
        assert all(works(guest, index) for index in range(3))
        guest.machine.live.set_vcpus(2)
        assert online(guest) == "0-1"
        guest.machine.live.set_vcpus(4)
        bring_up(guest, 2, 3)
        assert works(guest, 3)


def test_a_guest_may_give_one_back_by_itself(debian: KernelImage, initramfs: Initramfs) -> None:
    with started(guest_config(debian, initramfs(SHELL), 3, 3)) as guest:
        guest.ask(f"echo 1 > $(readlink -f {CPUS}/cpu1/firmware_node)/eject")
        guest.wait_for(f"cat {CPUS}/present", r"\b0,2\b")
        assert [vcpu["number"] for vcpu in guest.machine.live.figures()["vcpus"]] == [0, 2]
        guest.machine.reset()
        guest.console.wait_for(PROMPT, timeout_s=LIMIT_S)
        assert re.search(r"^2\r$", guest.ask("nproc"), re.MULTILINE)
        guest.machine.live.set_vcpus(3)
        guest.wait_for("dmesg", "CPU.* has been hot-added")


@pytest.mark.slow
def test_seabios_counts_those_that_are_there(debian: KernelImage, initramfs: Initramfs, tmp_path: Path) -> None:
    need("seabios", "isolinux", "syslinux-common")
    disc = make_disc(tmp_path, debian.vmlinuz, f"{APPEND} quiet", initramfs(SHELL))
    config = MachineConfig(
        memory_mib=320,
        vcpus=2,
        max_vcpus=4,
        engine=fastest_software(),
        disks=(DiskConfig.cdrom(disc),),
        video=VideoModel.NONE,
        timeout_s=3 * LIMIT_S,
    )
    with started(config) as guest:
        assert online(guest) == "0-1"
        guest.machine.live.set_vcpus(3)
        bring_up(guest, 2)
        guest.machine.reset()
        guest.console.wait_for(PROMPT, timeout_s=LIMIT_S)
        assert online(guest) == "0-2"
        guest.machine.live.set_vcpus(1)
        guest.console.send(b"echo mem > /sys/power/state\r")
        wait_until_asleep(guest.machine)
        guest.machine.live.set_vcpus(4)
        guest.machine.press_power_button()
        guest.console.wait_for(PROMPT, timeout_s=60)
        bring_up(guest, 1, 2, 3)
        assert online(guest) == "0-3"
        assert all(works(guest, index) for index in range(4))


@pytest.mark.slow
@needs_ovmf
@pytest.mark.skipif(which("mcopy") is None, reason="mcopy is not there; it comes with Debian's mtools")
def test_a_guest_that_started_by_uefi_has_them_as_well(
    debian: KernelImage, initramfs: Initramfs, tmp_path: Path
) -> None:
    disk, script = tmp_path / "esp.img", tmp_path / "startup.nsh"
    script.write_text(f"fs0:\r\n\\vmlinuz.efi initrd=\\initrd {APPEND} quiet\r\n")
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mformat", "-i", disk, "-F", "::"], check=True)
    for source, name in ((debian.vmlinuz, "vmlinuz.efi"), (initramfs(SHELL), "initrd"), (script, "startup.nsh")):
        subprocess.run(["mcopy", "-i", disk, source, f"::{name}"], check=True)
    config = MachineConfig(
        memory_mib=512,
        vcpus=2,
        max_vcpus=4,
        engine=fastest_software(),
        disks=(DiskConfig.parse(f"{disk},format=raw"),),
        firmware=FirmwareConfig(kind=FirmwareKind.UEFI),
        video=VideoModel.NONE,
        timeout_s=4 * LIMIT_S,
    )
    with started(config) as guest:
        assert online(guest) == "0-1"
        guest.machine.live.set_vcpus(4)
        bring_up(guest, 2, 3)
        assert all(works(guest, index) for index in range(4))
        guest.machine.live.set_vcpus(3)
        assert trouble(guest) == []
        guest.machine.reset()
        guest.console.wait_for(PROMPT, timeout_s=LIMIT_S)
        assert online(guest) == "0-2"
        guest.machine.live.set_vcpus(1)
        assert online(guest) == "0"


@pytest.mark.slow
def test_the_verbs_change_the_vcpus_of_a_machine_that_runs(
    debian: KernelImage, initramfs: Initramfs, tmp_path: Path
) -> None:
    user = User(tmp_path)
    script = (
        f'while sleep 0.1; do for c in {CPUS}/cpu[1-9]; do [ "$(cat $c/online)" = 0 ] && echo 1 >$c/online; done; done'
    )
    boot = f"kernel={debian.vmlinuz},initrd={initramfs(script)},kernel_args={APPEND} quiet"
    user.inn("virt-install", "--name", "one", "--memory", "256", "--vcpus", "2,maxvcpus=4", "--boot", boot, "--network",
             "none", "--disk", "none", "--graphics", "none", "--noautoconsole")  # fmt: skip
    try:
        deadline = time.monotonic() + LIMIT_S
        user.inn("virsh", "setvcpus", "one", "3", "--live", "--config")
        assert '<vcpu current="3">4</vcpu>' in user.inn("dumpxml", "one")
        while json.loads(user.inn("vcpuinfo", "one", "--json"))[2]["time_ns"] < 10_000_000:
            assert time.monotonic() < deadline, "the third vCPU does nothing"
            time.sleep(0.5)
        assert json.loads(user.inn("vcpucount", "one", "--json"))["live"] == {"maximum": 4, "current": 3}
        user.inn("virsh", "setvcpus", "one", "1", "--live", "--hotpluggable")
        assert "vcpu.current=1\n" in user.inn("domstats", "one", "--vcpu")
        assert "3\n" in user.inn("vcpucount", "one", "--config", "--active")
    finally:
        user.inn("destroy", "one")
    user.inn("undefine", "one")
