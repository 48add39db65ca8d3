"""How a `pc` board starts: by firmware in ROM, which is told about the board through fw_cfg, or with a kernel in memory already.

Without firmware somebody must do what it would have done: place the PCI functions' regions and write their interrupt lines.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from uuid import UUID

from innkeeper.bus import Buses
from innkeeper.devices.boot import Bootable, BootEntry, boot_order, boot_path
from innkeeper.devices.fw_cfg import (
    KEY_BOOT_MENU,
    KEY_COMMAND_LINE,
    KEY_COMMAND_LINE_BYTES,
    KEY_INITRD,
    KEY_INITRD_BYTES,
    KEY_IRQ0_OVERRIDE,
    KEY_KERNEL,
    KEY_KERNEL_BYTES,
    KEY_SETUP,
    KEY_SETUP_BYTES,
    KEY_UUID,
    Content,
    integer,
)
from innkeeper.devices.pci import BarKind, PciBus, PciDevice, PciFunction
from innkeeper.devices.pci import config_space as space
from innkeeper.devices.pflash import Flash, Store
from innkeeper.firmware import HandedKernel, MapEntry, MapKind, acpi
from innkeeper.firmware.acpi import AcpiBoard
from innkeeper.firmware.smbios import SmbiosMachine, smbios_files
from innkeeper.memory import GuestMemory, Ram
from innkeeper.records import dataclass

FOUR_GIB = 1 << 32
FIRST_PORT, LAST_PORT = 0xC000, 0x1_0000
PIRQ_IRQS = bytes((10, 10, 11, 11))  # as SeaBIOS and OVMF route them
CMOS_BOOT_ORDER, CMOS_BOOT_ORDER_3 = 0x3D, 0x38
CMOS_CODES = {"hd": 2, "cdrom": 3, "network": 4}
FOREVER = 0xFFFF_FFFF  # milliseconds to wait once nothing could be booted
E820_TYPES = {MapKind.RAM: 1, MapKind.RESERVED: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareStart:
    """The board's flash chips, and what firmware is told beside what the board knows itself."""

    rom: bytes
    variables: Store | None = None
    log: Callable[[bytes], None] | None = None
    order: tuple[str, ...] = ("cdrom", "hd", "network")
    only: bool = False
    """Nothing else is booted."""
    menu: bool = False
    serial_port: int | None = None
    """Where a BIOS shows, beside its screen if it has one, what it has to say."""
    kernel: HandedKernel | None = None
    """What UEFI starts, before it looks for anything else."""
    name: str = ""
    uuid: UUID
    version: str = ""

    @property
    def keeps_variables(self) -> bool:
        return self.variables is not None


class Chips:
    """ROM and flash at the end of the first 4 GiB."""

    def __init__(self, start: FirmwareStart, memory: GuestMemory, buses: Buses) -> None:
        self._buses = buses
        self.rom: Ram = memory.device_ram(len(start.rom))
        self.rom.write(0, start.rom)
        self._base = FOUR_GIB - self.rom.size
        buses.map_ram(self._base, self.rom, read_only=True)
        self.flash: Flash | None = None
        if start.variables is not None:
            size = len(start.variables.content)
            self.flash = Flash(buses, memory.device_ram(size), start.variables, self._base - size)

    def unplug(self) -> None:
        self._buses.unmap_ram(self._base)
        if self.flash is not None:
            self.flash.unplug()


def items(start: FirmwareStart) -> dict[int, Content]:
    """fw_cfg's numbered items."""
    told: dict[int, Content] = {
        KEY_UUID: start.uuid.bytes,
        KEY_BOOT_MENU: integer(start.menu, 2),
        KEY_IRQ0_OVERRIDE: integer(1, 1),  # the PIT is at GSI 2
    }
    if start.kernel is not None:
        for size_key, key, content in (
            (KEY_SETUP_BYTES, KEY_SETUP, start.kernel.setup),
            (KEY_KERNEL_BYTES, KEY_KERNEL, start.kernel.rest),
            (KEY_INITRD_BYTES, KEY_INITRD, start.kernel.initrd),
            (KEY_COMMAND_LINE_BYTES, KEY_COMMAND_LINE, start.kernel.command_line),
        ):
            told |= {size_key: integer(len(content), 4), key: content}
    return told


def files(
    start: FirmwareStart,
    describe: Callable[[], AcpiBoard],
    ram: tuple[MapEntry, ...],
    reserved: tuple[MapEntry, ...],
    paths: list[str],
) -> dict[str, Content]:
    """fw_cfg's files. The ACPI tables are made when they are asked for: firmware may have moved what they describe."""
    made = SmbiosMachine(
        name=start.name,
        uuid=start.uuid,
        vcpus=len(describe().processors.plugged),
        memory_map=ram,
        version=start.version,
    )
    told: dict[str, Content] = {
        **Tables(describe).files(),
        **smbios_files(made),
        "etc/e820": b"".join(struct.pack("<QQI", e.gpa, e.size, E820_TYPES[e.kind]) for e in (*ram, *reserved)),
        "etc/extra-pci-roots": integer(0, 8),
        "etc/boot-fail-wait": integer(FOREVER, 4),
        "bootorder": "\n".join([*paths, *(["HALT"] if start.only else [])]).encode() + b"\0",
    }
    if start.serial_port is not None:
        told["etc/sercon-port"] = integer(start.serial_port, 2)
    return told


class Tables:
    """The ACPI tables for firmware: made anew when what they describe has changed."""

    def __init__(self, describe: Callable[[], AcpiBoard]) -> None:
        self._describe = describe
        self._board = describe()
        self._made = acpi.linker_files(self._board)

    def files(self) -> dict[str, Content]:
        return {name: partial(self._file, name) for name in self._made}

    def _file(self, name: str) -> bytes:
        board = self._describe()
        if board != self._board:
            self._board, self._made = board, acpi.linker_files(board)
        return self._made[name]


def cmos_boot_order(order: tuple[str, ...]) -> dict[int, int]:
    """The same for a BIOS that knows no bootorder: a nibble for each kind, the first one first."""
    codes = [CMOS_CODES[kind] for kind in order] + [0, 0, 0]
    return {CMOS_BOOT_ORDER: codes[0] | codes[1] << 4, CMOS_BOOT_ORDER_3: codes[2] << 4}


def boot_paths(start: FirmwareStart, slots: dict[tuple[int, int], PciDevice]) -> list[str]:
    """What can be booted, by the function's place."""
    found: list[tuple[str, BootEntry]] = [
        (boot_path(entry, *place), entry)
        for place, device in slots.items()
        if isinstance(device, Bootable)
        for entry in device.boot_entries()
    ]
    return boot_order(found, start.order)


# ---- without firmware ------------------------------------------------------------------------------


def place_functions(bus: PciBus, memory_window: tuple[int, int]) -> None:
    """Gives every region of every function a place, the largest first, and every pin its interrupt line."""
    ports, memory = FIRST_PORT, memory_window[0]
    wanted = [(bar.size, place, register) for place, f in bus.functions().items() for register, bar in f.bars().items()]
    for size, place, register in sorted(wanted, reverse=True):
        function = bus.functions()[place]
        bar = function.bars()[register]
        if bar.kind is BarKind.IO:
            at = ports = -(-ports // size) * size
            ports += size
            fits = ports <= LAST_PORT
        else:
            at = memory = -(-memory // max(size, 0x1000)) * max(size, 0x1000)
            memory += max(size, 0x1000)
            fits = memory <= memory_window[1]
        if fits:
            function.write_config(space.BARS + 4 * register, 4, at)
    for (slot, _), function in bus.functions().items():
        _switch_on(slot, function)


def _switch_on(slot: int, function: PciFunction) -> None:
    pin = function.read_config(space.INTERRUPT_PIN, 1)
    if pin and function.bars():
        function.write_config(space.INTERRUPT_LINE, 1, PIRQ_IRQS[(slot + pin - 2) % 4])
    kinds = {bar.kind is BarKind.IO for bar in function.bars().values()}
    command = (space.COMMAND_IO if True in kinds else 0) | (space.COMMAND_MEMORY if False in kinds else 0)
    if command:
        function.write_config(space.COMMAND, 2, command)
