"""Configuration → the devices in a board's slots, with what each has on the host: files, links, screens.

To add a kind of device: its part of `MachineConfig`, and a line in `open_peripherals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from innkeeper.config import MachineConfig, VideoModel
from innkeeper.devices.pci import PciDevice
from innkeeper.devices.vga import Vga
from innkeeper.devices.virtio import Balloon
from innkeeper.errors import ConfigError
from innkeeper.firmware.files import read_file
from innkeeper.host.packages import video_bios_file
from innkeeper.machine import virtio
from innkeeper.machine.agent import Agent
from innkeeper.machine.backplane import Backplane, Layout, Place, arranged
from innkeeper.machine.desk import Desk
from innkeeper.machine.drives import CdromDrive, Drive, Drives
from innkeeper.machine.network import network_cards
from innkeeper.machine.vcpu_sockets import VcpuSockets
from innkeeper.memory import GuestMemory
from innkeeper.records import dataclass


@dataclass(frozen=True, slots=True)
class Peripherals:
    """What is plugged into a machine, from its start to its end. A reset does not touch it."""

    backplane: Backplane
    """Those in slots."""
    sockets: VcpuSockets
    """Those that are processors."""
    desk: Desk
    """Screen, keyboard and pointer."""
    vga: Vga | None
    """If there is one; also among the slots."""
    places: Mapping[str, PciDevice]
    """Those that have a place of their own on the board."""
    cdroms: tuple[CdromDrive, ...]
    """In the order of the configuration, IDE's first."""
    drives: tuple[Drive, ...]
    """Disks and CD-ROM drives that are not virtio's, and stay."""
    balloon: Balloon | None
    consoles: tuple[virtio.ConsolePort, ...]
    agent: Agent | None
    """Who talks with the guest's agent, if there is a channel for it."""
    _held: ExitStack

    def cdrom(self, number: int) -> CdromDrive:
        """Raises `ConfigError` if there is no such drive."""
        if not 0 <= number < len(self.cdroms):
            raise ConfigError(f"there is no CD-ROM drive {number}; the machine has {len(self.cdroms)}")
        return self.cdroms[number]

    def close(self) -> None:
        """Lets go of everything on the host."""
        self._held.close()


def open_peripherals(config: MachineConfig, memory: GuestMemory, layout: Layout | None = None) -> Peripherals:
    """With a `layout` each in the slot that it had. Raises `InnkeeperError` if what a device needs cannot be had; then nothing is held."""
    with ExitStack() as held:
        slots: list[Place] = []
        vga = open_vga(config, memory)
        if vga is not None:
            slots.append(vga)
        screen, cards = virtio.gpu(config)
        slots += cards
        drives = Drives(config.disks, held)
        if sata := drives.sata():
            slots.append(sata)
        slots += virtio.virtio_disks(config, held)
        slots += network_cards(config, held)
        slots += virtio.filesystems(config)
        slots += virtio.vsocks(config, held)
        slots += virtio.simple_devices(config)
        balloon, balloons = virtio.balloon(config)
        inputs, boards = virtio.inputs(config)
        consoles = virtio.console_ports(config, held)
        channel = virtio.agent_port(config, held)
        slots += [*balloons, *boards, *(port.slot for port in consoles), *([channel.slot] if channel else [])]
        places: dict[str, PciDevice] = {}
        if ide := drives.ide():
            places["ide"] = ide
        backplane = Backplane(arranged(slots, layout))
        held.callback(backplane.close)
        return Peripherals(
            backplane,
            sockets_of(config),
            Desk(vga.screen if vga is not None else screen, inputs),
            vga,
            places,
            tuple(drives.cdroms),
            tuple(drives.all),
            balloon,
            consoles,
            channel.agent if channel is not None else None,
            held.pop_all(),
        )


def sockets_of(config: MachineConfig) -> VcpuSockets:
    if config.gdb is not None:
        return VcpuSockets(config.vcpus, config.vcpus, fixed=True)
    return VcpuSockets(config.possible_vcpus, config.vcpus)


def open_vga(config: MachineConfig, memory: GuestMemory) -> Vga | None:
    """The VGA with its BIOS, if the machine is to have one."""
    if config.card is not VideoModel.VGA:
        return None
    return Vga(memory, read_file(video_bios_file(), "video BIOS"))
