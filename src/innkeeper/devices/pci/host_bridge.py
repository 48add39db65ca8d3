"""The PCI host bridge of a PC: configuration mechanism #1 at ports CF8-CFF, and its neighbours.

Spec: PCI Local Bus 3.0, 3.2.2.3.2; the reset control register at CF9 is the Intel 82371SB's
(datasheet 290550, 2.5.5). Only a dword access reaches CONFIG_ADDRESS; others pass it by. Of the 82441FX's own registers
there are those for shadow RAM (290549, 3.2.18). Left out: DRAM control, SMRAM.
"""

from collections.abc import Callable
from threading import Lock

from innkeeper.bus import Fields, State, ones
from innkeeper.bus.state import number
from innkeeper.devices.pci.bus import PciBus
from innkeeper.devices.pci.config_space import PciFunction, PciIdentity
from innkeeper.devices.pci.shadow import ALL_RAM, REGISTERS, Shadow

# CONFIG_ADDRESS: 31 enable │ 23-16 bus │ 15-11 device │ 10-8 function │ 7-2 register
ADDRESS, RESET_CONTROL, DATA = 0, 1, 4
REGION_BYTES = 8
ADDRESS_ENABLE = 1 << 31
ADDRESS_WRITABLE = 0x80FF_FFFC
# RCR: 2 reset the processor (on its rising edge) │ 1 hard instead of soft
RESET_PROCESSOR, RESET_HARD = 0x04, 0x02

STATE = Fields(address=number(ADDRESS_WRITABLE), reset_control=number(RESET_PROCESSOR | RESET_HARD))

INTEL = 0x8086
CLASS_HOST_BRIDGE = 0x060000
SUBSYSTEM_VENDOR, SUBSYSTEM_VIRTUAL_MACHINE = 0x1AF4, 0x1100
PAM = 0x59
PAM_WRITABLE = b"\x30" + b"\x33" * (REGISTERS - 1)


class HostFunction(PciFunction):
    """What bus 0 shows of the bridge itself: an Intel 82441FX. `shadow` follows its PAM registers.

    The subsystem is what firmware made for virtual machines knows them by.
    """

    def __init__(self, shadow: Shadow | None = None, pam: bytes = ALL_RAM) -> None:
        identity = PciIdentity(
            vendor=INTEL,
            device=0x1237,
            class_code=CLASS_HOST_BRIDGE,
            revision=2,
            subsystem_vendor=SUBSYSTEM_VENDOR,
            subsystem=SUBSYSTEM_VIRTUAL_MACHINE,
        )
        super().__init__(identity)
        self._shadow = shadow
        self.put(PAM, len(pam), int.from_bytes(pam, "little"), writable=int.from_bytes(PAM_WRITABLE, "little"))
        self._choose()

    @property
    def pam(self) -> bytes:
        return self.read_config(PAM, REGISTERS).to_bytes(REGISTERS, "little")

    def write_config(self, offset: int, size: int, value: int) -> None:
        super().write_config(offset, size, value)
        if offset < PAM + REGISTERS and offset + size > PAM:
            self._choose()

    def unplug(self) -> None:
        super().unplug()
        if self._shadow is not None:
            self._shadow.unplug()
            self._shadow = None

    def _choose(self) -> None:
        if self._shadow is not None:
            self._shadow.choose(self.pam)


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

    def state(self) -> State:
        with self._lock:
            return STATE.of(self)

    def restore(self, state: State, /) -> None:
        with self._lock:
            STATE.put(self, state)

    def _selected(self, offset: int, size: int) -> int | None:
        """The device and function that a data access means; None if it means nobody."""
        on_bus_0 = self._address & (ADDRESS_ENABLE | 0xFF_0000) == ADDRESS_ENABLE
        return self._address >> 8 & 0xFF if on_bus_0 and offset >= DATA and size <= 4 else None

    def _register(self, offset: int) -> int:
        return (self._address & 0xFC) + offset - DATA
