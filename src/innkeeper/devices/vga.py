"""A graphics card: the Rust core's VGA as PCI function 1234:1111, which every guest has a driver for.

Spec: QEMU's docs/specs/standard-vga. Beside its BARs it answers where a VGA always does: ports 3B0h-3DFh and
1CEh-1D1h, memory A0000h-BFFFFh, whatever the command register says, as no firmware may ever turn it on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from innkeeper.bus import Buses
from innkeeper.bus.state import Plain
from innkeeper.devices.pci import Bar, BarKind, PciFunction, PciIdentity, PciSite
from innkeeper.memory import GuestMemory, Ram

if TYPE_CHECKING:
    from innkeeper import _core

MIB = 1 << 20
MEMORY_BYTES = 16 * MIB
REGISTER_BYTES = 0x1000
PORTS = (0x3B0, 0x30)
DISPI_PORTS = (0x1CE, 4)
WINDOW = (0xA_0000, 0x2_0000)
FRAMEBUFFER_BAR, REGISTER_BAR = 0, 2

IDENTITY = PciIdentity(
    vendor=0x1234, device=0x1111, class_code=0x030000, revision=2, subsystem_vendor=0x1AF4, subsystem=0x1100
)


class VgaFunction(PciFunction):
    """What a slot has of the card, with the places that no BAR moves."""

    def __init__(self, chip: _core.Vga, memory: Ram, rom: Ram | None) -> None:
        super().__init__(IDENTITY)
        self._chip, self._memory = chip, memory
        self._there: Buses | None = None
        self.add_bar(FRAMEBUFFER_BAR, Bar(BarKind.MEMORY32, memory.size, ram=memory, prefetchable=True))
        self.add_bar(REGISTER_BAR, Bar(BarKind.MEMORY32, REGISTER_BYTES, chip.registers))
        if rom is not None:
            self.add_rom(rom)

    def plug(self, buses: Buses) -> None:
        super().plug(buses)
        buses.map_ports(*PORTS, self._chip.ports)
        buses.map_ports(*DISPI_PORTS, self._chip.dispi_ports)
        buses.map_mmio(*WINDOW, self._chip.window)
        self._there = buses

    def memories(self) -> dict[str, Ram]:
        return {"framebuffer": self._memory}

    def device_state(self) -> Plain:
        return self._chip.state()

    def restore_device(self, state: Plain) -> None:
        self._chip.restore(state)

    def unplug(self) -> None:
        super().unplug()
        if self._there is not None:
            self._there.unmap_ports(PORTS[0])
            self._there.unmap_ports(DISPI_PORTS[0])
            self._there.unmap_mmio(WINDOW[0])
            self._there = None


class Vga:
    """The card with its memory, which a machine's screen looks at from start to end. `bios` is its option ROM."""

    def __init__(self, memory: GuestMemory, bios: bytes | None = None) -> None:
        from innkeeper import _core

        self.memory = memory.device_ram(MEMORY_BYTES)
        self._rom: Ram | None = None
        self.bios = bios
        if bios is not None:
            self._rom = memory.device_ram(max(1 << (len(bios) - 1).bit_length(), 0x1000))
            self._rom.write(0, bios)
        self.chip = _core.Vga(cast("_core.Ram", self.memory))  # the Rust chip takes the Rust memory only

    @property
    def screen(self) -> _core.Screen:
        return self.chip.screen

    def function(self, _site: PciSite, /) -> PciFunction:
        self.chip.reset()
        return VgaFunction(self.chip, self.memory, self._rom)
