"""An Intel 82540EM network card on PCI: its configuration space. The card itself is the core's.

Spec: Intel PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (317453), 4. Left out: power
management, message-signalled interrupts.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, cast

from innkeeper.bus.state import Plain
from innkeeper.devices.boot import NETWORK_PATH, BootEntry, BootKind
from innkeeper.devices.pci import Bar, BarKind, PciFunction, PciIdentity, PciSite
from innkeeper.devices.pci import config_space as space
from innkeeper.devices.pci.option_rom import fitted, rom_of

if TYPE_CHECKING:
    from innkeeper import _core

IDENTITY = PciIdentity(
    vendor=0x8086, device=0x100E, class_code=0x020000, revision=3, subsystem_vendor=0x8086, subsystem=0x001E
)
MEMORY_BAR, PORT_BAR = 0, 1
INTA = 1


class E1000Slot:
    """The card that is plugged in: a new one at every reset, on the same cable. `rom` is what firmware boots from it by."""

    def __init__(self, link: _core.NetLink, mac: bytes, *, up: bool = True, rom: bytes | None = None) -> None:
        self._link = link
        self._mac = mac
        self._up = up
        self._rom = rom
        self._function: weakref.ref[E1000Function] | None = None

    def set_up(self, up: bool, /) -> None:
        """Plugs the cable in, or pulls it."""
        self._up = up
        function = self._function() if self._function is not None else None
        if function is not None:
            function.set_up(up)

    def boot_entries(self) -> tuple[BootEntry, ...]:
        return (BootEntry(BootKind.NETWORK, NETWORK_PATH),)

    def function(self, site: PciSite, /) -> E1000Function:
        from innkeeper import _core

        # Both come from the engine and the board's wires, which are the core's wherever its devices are.
        memory, line = cast("_core.Memory", site.memory), cast("_core.Line", site.intx)
        function = E1000Function(_core.E1000(self._link, self._mac, self._up, memory, line))
        if self._rom is not None:
            function.add_rom(rom_of(site.memory, fitted(self._rom, IDENTITY.vendor, IDENTITY.device)))
        self._function = weakref.ref(function)
        return function


class E1000Function(PciFunction):
    """Configuration space and base address registers of the card."""

    def __init__(self, core: _core.E1000) -> None:
        super().__init__(IDENTITY, interrupt_pin=INTA)
        self._core = core
        memory, memory_bytes = core.memory_region()
        ports, port_bytes = core.port_region()
        self.add_bar(MEMORY_BAR, Bar(BarKind.MEMORY32, memory_bytes, memory))
        self.add_bar(PORT_BAR, Bar(BarKind.IO, port_bytes, ports))

    def set_up(self, up: bool, /) -> None:
        self._core.set_up(up)

    def pause(self) -> None:
        self._core.pause()

    def go_on(self) -> None:
        self._core.go_on()

    def device_state(self) -> Plain:
        return self._core.state()

    def restore_device(self, state: Plain) -> None:
        self._core.restore(state)

    def unplug(self) -> None:
        super().unplug()
        self._core.shut_down()

    def write_config(self, offset: int, size: int, value: int) -> None:
        super().write_config(offset, size, value)
        if offset < space.COMMAND + 2 and offset + size > space.COMMAND:
            self._core.set_command(self.read_config(space.COMMAND, 2))
