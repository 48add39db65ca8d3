"""Configuration → virtio devices, with what each has on the host."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from innkeeper.config import DiskConfig, InputKind, MachineConfig, VideoModel
from innkeeper.config.disk import Discard, DiskBus
from innkeeper.config.targets import targets
from innkeeper.console import Console, open_console
from innkeeper.devices.boot import BootEntry, BootKind
from innkeeper.devices.pci import PciDevice
from innkeeper.devices.virtio import Balloon, VirtioInputs, VirtioSlot
from innkeeper.errors import HostError
from innkeeper.machine import agent
from innkeeper.machine.backplane import Plugged
from innkeeper.machine.disks import open_disk
from innkeeper.sockets import listen_unix, remove_unix

if TYPE_CHECKING:
    from innkeeper._core import Screen

MIB = 1 << 20
PLUGGED_LATER = 1 << 16  # behind all disks that a machine begins with
DRAIN_S = 2.0  # for a console's reader to take the guest's last words


class VirtioDisk(Plugged):
    """A virtio disk of a machine, with its image."""

    def __init__(self, config: DiskConfig, target: str, vcpus: int, number: int = PLUGGED_LATER) -> None:
        """`number` is its place among all disks of the machine. Raises `InnkeeperError` if the image cannot be had."""
        from innkeeper._core import VirtioDevice

        self.config, self.target, self.pci_slot = config, target, config.slot
        with ExitStack() as held:
            self.disk = open_disk(config, held)
            self._device: VirtioDevice | None = VirtioDevice.blk(
                self.disk,
                serial=config.serial,
                read_only=config.readonly,
                queues=config.queues or vcpus,
                cache=config.cache,
                discard=config.discard is Discard.UNMAP,
            )
            boot = BootEntry(BootKind.HD, "scsi@{unit}/disk@0,0", config.boot_order, number)
            self.slot = VirtioSlot(self._device, boot=boot)
            self._held = held.pop_all()

    @property
    def name(self) -> str:
        return f"disk {self.target}"

    def grow(self, size: int) -> None:
        """Makes the disk larger, and tells the guest. Raises `HostError`."""
        try:
            self.disk.grow(size)
        except OSError as error:
            raise HostError(f"cannot resize disk {self.target}: {error.strerror or error}") from error
        if self._device is not None:
            self._device.changed()

    def close(self) -> None:
        super().close()
        self._device = None
        self._held.close()


def virtio_disks(config: MachineConfig, held: ExitStack) -> list[VirtioDisk]:
    """Raises `InnkeeperError`. What is opened is closed with `held`."""
    disks = []
    for number, (disk, target) in enumerate(zip(config.disks, targets(config.disks), strict=True)):
        if disk.bus is DiskBus.VIRTIO:
            disks.append(VirtioDisk(disk, target, config.vcpus, number))
            held.callback(disks[-1].close)
    return disks


class ConsolePort:
    """A virtio console, and the host's side of it."""

    def __init__(self, console: Console) -> None:
        from innkeeper._core import VirtioConsole

        self._console = console
        self._core = VirtioConsole(console.write)
        self.slot = VirtioSlot(self._core.device)

    def start(self, leave: Callable[[], None]) -> None:
        """`leave` as in `Console.start`."""
        if os.isatty(1):
            self._core.set_size(*os.get_terminal_size(1))
        self._console.start(self._receive, leave)

    def _receive(self, data: bytes) -> None:
        """What a guest is too slow for is lost, as on a serial line."""
        self._core.receive(data)

    def close(self) -> None:
        try:
            self._core.close(DRAIN_S)
        finally:
            self._console.close()


class AgentPort:
    """A channel, and whoever talks with the guest's agent over it."""

    def __init__(self) -> None:
        from innkeeper._core import VirtioChannel

        self._core = VirtioChannel(agent.NAME, self._hear)
        self.agent = agent.Agent(self._core)
        self.slot = VirtioSlot(self._core.device)

    def _hear(self, data: bytes) -> None:
        self.agent.hear(data)

    def close(self) -> None:
        self.agent.close()
        self._core.close(DRAIN_S)


def agent_port(config: MachineConfig, held: ExitStack) -> AgentPort | None:
    """What is opened is closed with `held`."""
    if not config.agent:
        return None
    port = AgentPort()
    held.callback(port.close)
    return port


def console_ports(config: MachineConfig, held: ExitStack) -> tuple[ConsolePort, ...]:
    """Raises `HostError` if the host does not give one."""
    ports = []
    for console in config.virtio_consoles:
        ports.append(ConsolePort(open_console(console)))
        held.callback(ports[-1].close)
    return tuple(ports)


def balloon(config: MachineConfig) -> tuple[Balloon | None, list[PciDevice]]:
    if config.balloon is None:
        return None, []
    from innkeeper._core import VirtioBalloon

    core = VirtioBalloon(deflate_on_oom=config.balloon.deflate_on_oom)
    host = Balloon(core, config.memory_mib * MIB)
    if config.balloon.memory_mib is not None:
        host.set_memory(config.balloon.memory_mib * MIB)
    return host, [VirtioSlot(core.device)]


def inputs(config: MachineConfig) -> tuple[VirtioInputs, list[PciDevice]]:
    if not config.inputs:
        return VirtioInputs(None, None), []
    from innkeeper._core import VirtioInput

    cores = {kind: VirtioInput(kind) for kind in config.inputs}
    host = VirtioInputs(cores.get(InputKind.KEYBOARD), cores.get(InputKind.TABLET))
    return host, [VirtioSlot(core.device) for core in cores.values()]


def filesystems(config: MachineConfig) -> list[PciDevice]:
    """Raises `HostError` if a folder cannot be had."""
    from innkeeper._core import VirtioDevice

    slots: list[PciDevice] = []
    for filesystem in config.filesystems:
        try:
            device = VirtioDevice.filesystem(filesystem.source, filesystem.target, read_only=filesystem.readonly)
        except OSError as error:
            raise HostError(f"cannot share the folder {filesystem.source}: {error.strerror or error}") from error
        slots.append(VirtioSlot(device))
    return slots


def gpu(config: MachineConfig) -> tuple[Screen | None, list[PciDevice]]:
    """The graphics device and what it shows, if it is the machine's."""
    if config.card is not VideoModel.VIRTIO:
        return None, []
    from innkeeper._core import VirtioGpu

    core = VirtioGpu()
    return core.screen, [VirtioSlot(core.device)]


def vsocks(config: MachineConfig, held: ExitStack) -> list[PciDevice]:
    """Its socket is removed with `held`. Raises `HostError` if there cannot be one."""
    if config.vsock is None:
        return []
    from innkeeper._core import VirtioDevice

    listener = listen_unix(config.vsock.path, "the vsock device")
    held.callback(remove_unix, listener)
    return [VirtioSlot(VirtioDevice.vsock(config.vsock.cid, config.vsock.path, listener.fileno()))]


def simple_devices(config: MachineConfig) -> list[PciDevice]:
    """Those that hold nothing."""
    if not config.rng:
        return []
    from innkeeper._core import VirtioDevice

    return [VirtioSlot(VirtioDevice.rng())]
