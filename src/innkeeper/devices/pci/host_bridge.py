"""The PCI host bridge of a PC: configuration mechanism #1 at ports CF8-CFF, and its neighbours.

Spec: PCI Local Bus 3.0, 3.2.2.3.2; the reset control register at CF9 is the Intel 82371SB's
(datasheet 290550, 2.5.5). Only a dword access reaches CONFIG_ADDRESS; others pass it by. Left out:
what the 82441FX has of DRAM and shadow-RAM control, until a firmware needs it.
"""

from collections.abc import Callable
from threading import Lock

from innkeeper.bus import ones
from innkeeper.devices.pci.bus import PciBus
from innkeeper.devices.pci.config_space import PciFunction, PciIdentity

# CONFIG_ADDRESS: 31 enable │ 23-16 bus │ 15-11 device │ 10-8 function │ 7-2 register
ADDRESS, RESET_CONTROL, DATA = 0, 1, 4
REGION_BYTES = 8
ADDRESS_ENABLE = 1 << 31
ADDRESS_WRITABLE = 0x80FF_FFFC
# RCR: 2 reset the processor (on its rising edge) │ 1 hard instead of soft
RESET_PROCESSOR, RESET_HARD = 0x04, 0x02

INTEL = 0x8086
CLASS_HOST_BRIDGE, CLASS_ISA_BRIDGE = 0x060000, 0x060100


def pci_host_function() -> PciFunction:
    """What bus 0 shows of the bridge itself: an Intel 82441FX."""
    return PciFunction(PciIdentity(vendor=INTEL, device=0x1237, class_code=CLASS_HOST_BRIDGE, revision=2))


def isa_bridge() -> PciFunction:
    """The way to the ISA devices: the first function of an Intel 82371SB."""
    identity = PciIdentity(vendor=INTEL, device=0x7000, class_code=CLASS_ISA_BRIDGE)
    return PciFunction(identity, multifunction=True)


class HostBridge:
    """Ports CF8-CFF. `reset` is called when the guest asks the reset control register for one."""

    def __init__(self, bus: PciBus, reset: Callable[[], None]) -> None:
        self._bus = bus
        self._reset = reset
        self._lock = Lock()
        self._address = 0
        self._reset_control = 0

    def read(self, offset: int, size: int, /) -> int:
        with self._lock:
            if offset == ADDRESS and size == 4:
                return self._address
            if offset == RESET_CONTROL and size == 1:
                return self._reset_control
            device = self._selected(offset, size)
            if device is None:
                return ones(size)
            return self._bus.read_config(device, self._register(offset), size)

    def write(self, offset: int, size: int, value: int, /) -> None:
        resets = False
        with self._lock:
            if offset == ADDRESS and size == 4:
                self._address = value & ADDRESS_WRITABLE
            elif offset == RESET_CONTROL and size == 1:
                resets = bool(value & ~self._reset_control & RESET_PROCESSOR)
                self._reset_control = value & (RESET_PROCESSOR | RESET_HARD)
            elif (device := self._selected(offset, size)) is not None:
                self._bus.write_config(device, self._register(offset), size, value)
        if resets:
            self._reset()

    def _selected(self, offset: int, size: int) -> int | None:
        """The device and function that a data access means; None if it means nobody."""
        on_bus_0 = self._address & (ADDRESS_ENABLE | 0xFF_0000) == ADDRESS_ENABLE
        return self._address >> 8 & 0xFF if on_bus_0 and offset >= DATA and size <= 4 else None

    def _register(self, offset: int) -> int:
        return (self._address & 0xFC) + offset - DATA
