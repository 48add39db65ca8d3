"""The configuration space of a virtio function, transitional where its kind has a legacy driver.

Spec: virtio 1.2, 4.1.2 (identity) and 4.1.4 (capabilities); PCI Local Bus 3.0, 6.8.2 (MSI-X).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, cast

from innkeeper.bus import Device
from innkeeper.bus.state import Plain
from innkeeper.devices.boot import BootEntry
from innkeeper.devices.pci import Bar, BarKind, PciFunction, PciIdentity, PciSite
from innkeeper.devices.pci import config_space as space
from innkeeper.devices.pci.option_rom import fitted, rom_of
from innkeeper.errors import HostError

if TYPE_CHECKING:
    from innkeeper import _core

VENDOR = 0x1AF4
MODERN_DEVICE = 0x1040  # plus the kind
MODERN_REVISION = 1
# Kind: class code, and the PCI device ID of transitional ones (4.1.2.1).
CLASSES = {
    1: (0x020000, 0x1000),  # network card
    2: (0x010000, 0x1001),  # block device
    3: (0x078000, 0x1003),  # console
    4: (0x00FF00, 0x1005),  # entropy
    5: (0x00FF00, 0x1002),  # balloon
    9: (0x000200, 0x1009),  # 9P
    16: (0x038000, None),  # GPU
    18: (0x098000, None),  # input
    19: (0x078000, None),  # sockets
}
INTERFACE_OTHER = (0x00FF00, None)
NAMES = {9: "a shared folder (9p)", 16: "a virtio graphics card", 19: "a vsock"}
"""Of kinds that may have what cannot be saved."""

LEGACY_BAR, VECTORS_BAR, MODERN_BAR = 0, 1, 4
CAPABILITIES_POINTER, FIRST_CAPABILITY = 0x34, 0x40
STATUS_CAPABILITIES = 1 << 4
CAPABILITY_MSIX, CAPABILITY_VENDOR = 0x11, 0x09
MSIX_CONTROL = 2  # within its capability
MSIX_WRITABLE = 0xC000  # enable, function mask
COMMON_CFG, NOTIFY_CFG, ISR_CFG, DEVICE_CFG, PCI_CFG = 1, 2, 3, 4, 5
# In order of their places in `VirtioPci.PLACES`, with their sizes.
PARTS = ((COMMON_CFG, 0x38), (ISR_CFG, 1), (DEVICE_CFG, 0x1000), (NOTIFY_CFG, 0))
WINDOW_BAR, WINDOW_OFFSET, WINDOW_LENGTH, WINDOW_DATA = 4, 8, 12, 16  # within the capability of PCI_CFG


class VirtioSlot:
    """A virtio device that is plugged in. `transitional`: drivers of the time before version 1 find it too.

    `boot` is what firmware may boot from it, `rom` the code by which it does, if that is not the firmware's own.
    """

    def __init__(
        self,
        device: _core.VirtioDevice,
        *,
        transitional: bool = True,
        boot: BootEntry | None = None,
        rom: bytes | None = None,
    ) -> None:
        self.device = device
        self._transitional = transitional
        self._boot = boot
        self._rom = rom

    def boot_entries(self) -> tuple[BootEntry, ...]:
        return () if self._boot is None else (self._boot,)

    def function(self, site: PciSite, /) -> VirtioFunction:
        from innkeeper import _core

        # Both come from the engine and the board's wires, which are the core's wherever its devices are.
        memory, line = cast("_core.Memory", site.memory), cast("_core.Line", site.intx)
        core = _core.VirtioPci(self.device, memory, site.buses.fabric, line)
        function = VirtioFunction(core, self.device.kind, transitional=self._transitional)
        if self._rom is not None:
            vendor, device = (function.read_config(at, 2) for at in (space.VENDOR_ID, space.DEVICE_ID))
            function.add_rom(rom_of(site.memory, fitted(self._rom, vendor, device)))
        return function


def identity_of(kind: int, *, transitional: bool) -> PciIdentity:
    class_code, legacy_device = CLASSES.get(kind, INTERFACE_OTHER)
    if transitional and legacy_device is not None:
        return PciIdentity(
            vendor=VENDOR, device=legacy_device, class_code=class_code, subsystem_vendor=VENDOR, subsystem=kind
        )
    modern = MODERN_DEVICE + kind
    return PciIdentity(
        vendor=VENDOR,
        device=modern,
        class_code=class_code,
        revision=MODERN_REVISION,
        subsystem_vendor=VENDOR,
        subsystem=modern,
    )


class VirtioFunction(PciFunction):
    """Configuration space and base address registers of one virtio device."""

    def __init__(self, core: _core.VirtioPci, kind: int, *, transitional: bool) -> None:
        identity = identity_of(kind, transitional=transitional)
        super().__init__(identity, interrupt_pin=1)
        self._core, self._kind = core, kind
        self._windows: dict[int, tuple[Device, int]] = {}
        if identity.device < MODERN_DEVICE:
            self._add_region(LEGACY_BAR, BarKind.IO, "legacy")
        self._add_region(VECTORS_BAR, BarKind.MEMORY32, "vectors")
        self._add_region(MODERN_BAR, BarKind.MEMORY64, "modern")
        self._next = CAPABILITIES_POINTER
        self._free = FIRST_CAPABILITY
        self.put(space.STATUS, 2, STATUS_CAPABILITIES)
        self._msix = self._add_msix()
        self._add_parts()
        self._window = self._add_window()

    def unplug(self) -> None:
        super().unplug()
        self._core.shut_down()

    @property
    def not_saved(self) -> str | None:
        return None if self._core.can_be_saved else NAMES.get(self._kind, "such a virtio device")

    def pause(self) -> None:
        self._core.pause()

    def go_on(self) -> None:
        self._core.go_on()

    def device_state(self) -> Plain:
        """Raises `HostError` if its guest is in the middle of something that cannot be saved."""
        if (obstacle := self._core.obstacle) is not None:
            raise HostError(f"cannot save a machine with {NAMES.get(self._kind, 'such a virtio device')}: {obstacle}")
        return self._core.state()

    def restore_device(self, state: Plain) -> None:
        try:
            self._core.restore(state)
        except FileNotFoundError as error:
            name = NAMES.get(self._kind, "such a virtio device")
            raise HostError(
                f"cannot go on with a saved machine with {name}: {error.strerror}; put it back, or start the machine anew"
            ) from error

    def read_config(self, offset: int, size: int) -> int:
        data = self._window + WINDOW_DATA
        if data <= offset < data + 4 and (place := self._through_window()) is not None:
            device, at, length = place
            return device.read(at, length) >> 8 * (offset - data) & (1 << 8 * size) - 1
        return super().read_config(offset, size)

    def write_config(self, offset: int, size: int, value: int) -> None:
        super().write_config(offset, size, value)
        if offset < space.COMMAND + 2 and offset + size > space.COMMAND:
            self._core.set_command(super().read_config(space.COMMAND, 2))
        control = self._msix + MSIX_CONTROL
        if offset < control + 2 and offset + size > control:
            self._core.set_msix_control(super().read_config(control, 2))
        if offset == self._window + WINDOW_DATA and (place := self._through_window()) is not None:
            device, at, length = place
            device.write(at, length, value & (1 << 8 * length) - 1)

    # ---- assembly -------------------------------------------------------------------------------

    def _add_region(self, register: int, kind: BarKind, window: str) -> None:
        region, size = self._core.region(window)
        self.add_bar(register, Bar(kind, size, region))
        self._windows[register] = (region, size)

    def _add_capability(self, number: int, body: bytes) -> int:
        """Puts a capability behind the others; `body` is what follows its ID and the next one's place."""
        at = self._free
        self.put(self._next, 1, at)
        self.put(at, 2, number)
        for index, byte in enumerate(body):
            self.put(at + 2 + index, 1, byte)
        self._next, self._free = at + 1, at + (2 + len(body) + 3 & ~3)
        return at

    def _add_msix(self) -> int:
        table, pending = VECTORS_BAR, self._core.pending_at | VECTORS_BAR
        body = struct.pack("<HII", self._core.vectors - 1, table, pending)
        at = self._add_capability(CAPABILITY_MSIX, body)
        self.put(at + MSIX_CONTROL, 2, self._core.vectors - 1, writable=MSIX_WRITABLE)
        return at

    def _add_parts(self) -> None:
        _, region_bytes = self._windows[MODERN_BAR]
        for (kind, size), place in zip(PARTS, self._core.PLACES, strict=True):
            length = size or region_bytes - place
            extra = struct.pack("<I", self._core.NOTIFY_MULTIPLIER) if kind == NOTIFY_CFG else b""
            head = struct.pack("<BBB3xII", 16 + len(extra), kind, MODERN_BAR, place, length)
            self._add_capability(CAPABILITY_VENDOR, head + extra)

    def _add_window(self) -> int:
        """The way to the regions for who cannot reach them, such as a firmware (4.1.4.9)."""
        at = self._add_capability(CAPABILITY_VENDOR, struct.pack("<BBB3xIII", 20, PCI_CFG, 0, 0, 0, 0))
        self.put(at + WINDOW_BAR, 1, 0, writable=0xFF)
        self.put(at + WINDOW_OFFSET, 4, 0, writable=0xFFFF_FFFF)
        self.put(at + WINDOW_LENGTH, 4, 0, writable=0xFFFF_FFFF)
        return at

    def _through_window(self) -> tuple[Device, int, int] | None:
        """The device, offset and length that the window shows now; None if they make no access."""
        bar = super().read_config(self._window + WINDOW_BAR, 1)
        at = super().read_config(self._window + WINDOW_OFFSET, 4)
        length = super().read_config(self._window + WINDOW_LENGTH, 4)
        device, size = self._windows.get(bar, (None, 0))
        if device is None or length not in (1, 2, 4) or at % length or at + length > size:
            return None
        return device, at, length
