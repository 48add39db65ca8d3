"""A PCI function: 256 bytes of configuration space, and base address registers that move its regions.

Spec: PCI Local Bus 3.0, chapter 6. Left out: CardBus and bridge headers, capabilities
(their users add the bytes with `put`).
"""

from enum import Enum

from innkeeper.bus import Buses, Device, Fields, State
from innkeeper.bus.state import ANYTHING, Plain, data
from innkeeper.memory import Ram
from innkeeper.records import dataclass

VENDOR_ID, DEVICE_ID, COMMAND, STATUS = 0x00, 0x02, 0x04, 0x06
REVISION, INTERFACE, CACHE_LINE, HEADER_TYPE = 0x08, 0x09, 0x0C, 0x0E
BARS, SUBSYSTEM_VENDOR_ID, SUBSYSTEM_ID = 0x10, 0x2C, 0x2E
EXPANSION_ROM = 0x30
INTERRUPT_LINE, INTERRUPT_PIN = 0x3C, 0x3D

COMMAND_IO, COMMAND_MEMORY, COMMAND_MASTER = 1 << 0, 1 << 1, 1 << 2
COMMAND_WRITABLE = 0x0547  # I/O, memory, master, parity response, SERR, INTx disable
HEADER_MULTIFUNCTION = 0x80

CONFIG_BYTES = 256
BAR_COUNT = 6
PREFETCHABLE = 1 << 3
ROM_ENABLE = 1 << 0


STATE = Fields(config=data(CONFIG_BYTES), device=ANYTHING)


class BarKind(Enum):
    """The low bits of a base address register."""

    IO = 0x1
    MEMORY32 = 0x0
    MEMORY64 = 0x4

    @property
    def registers(self) -> int:
        return 2 if self is BarKind.MEMORY64 else 1


@dataclass(frozen=True, slots=True)
class Bar:
    """One region of a function: a device, or memory that guests see there.

    `size` is a power of two, at least 4 ports, 16 bytes or a page of memory.
    """

    kind: BarKind
    size: int
    device: Device | None = None
    ram: Ram | None = None
    prefetchable: bool = False

    @property
    def flags(self) -> int:
        """The low bits of its register."""
        return self.kind.value | (PREFETCHABLE if self.prefetchable else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PciIdentity:
    """What configuration space says a function is. `class_code` is base class, subclass, interface."""

    vendor: int
    device: int
    class_code: int
    revision: int = 0
    subsystem_vendor: int = 0
    subsystem: int = 0


class PciFunction:
    """Configuration space by bytes, each with the bits a guest may change."""

    def __init__(self, identity: PciIdentity, *, interrupt_pin: int = 0, multifunction: bool = False) -> None:
        self._bytes = bytearray(CONFIG_BYTES)
        self._writable = bytearray(CONFIG_BYTES)
        self._bars: dict[int, Bar] = {}
        self._fixed: dict[int, int] = {}  # beyond the BAR registers: regions that have their place
        self._rom: Ram | None = None
        self._mapped: dict[int, int] = {}  # BAR register: where its region is now
        self._rom_at: int | None = None
        self._buses: Buses | None = None
        self.put(VENDOR_ID, 2, identity.vendor)
        self.put(DEVICE_ID, 2, identity.device)
        self.put(COMMAND, 2, 0, writable=COMMAND_WRITABLE)
        self.put(REVISION, 4, identity.revision | identity.class_code << 8)
        self.put(CACHE_LINE, 2, 0, writable=0xFFFF)  # cache line size, latency timer
        self.put(HEADER_TYPE, 1, HEADER_MULTIFUNCTION if multifunction else 0)
        self.put(SUBSYSTEM_VENDOR_ID, 2, identity.subsystem_vendor)
        self.put(SUBSYSTEM_ID, 2, identity.subsystem)
        self.put(INTERRUPT_LINE, 1, 0, writable=0xFF)
        self.put(INTERRUPT_PIN, 1, interrupt_pin)

    def put(self, offset: int, size: int, value: int, *, writable: int = 0) -> None:
        """Defines a register: its first value, and which bits the guest may change."""
        self._bytes[offset : offset + size] = value.to_bytes(size, "little")
        self._writable[offset : offset + size] = writable.to_bytes(size, "little")

    def add_bar(self, register: int, bar: Bar) -> None:
        """`register` is 0-5; a 64-bit one also takes the next."""
        size = 4 * bar.kind.registers
        self.put(BARS + 4 * register, size, bar.flags, writable=(1 << (8 * size)) - bar.size)
        self._bars[register] = bar

    def add_fixed(self, base: int, bar: Bar) -> None:
        """A region whose place is in no register: it appears while the function decodes its kind, and `decodes` it."""
        register = BAR_COUNT + len(self._fixed)
        self._bars[register], self._fixed[register] = bar, base

    def decodes(self, _base: int) -> bool:
        """Whether the fixed region there is on, as far as registers of the function's own decide."""
        return True

    def bars(self) -> dict[int, Bar]:
        """Those that move, by register."""
        return {register: bar for register, bar in self._bars.items() if register not in self._fixed}

    def add_rom(self, rom: Ram) -> None:
        """An expansion ROM, which the guest sees once it has placed and enabled it. Its size is a power of two."""
        self.put(EXPANSION_ROM, 4, 0, writable=(1 << 32) - rom.size | ROM_ENABLE)
        self._rom = rom

    def plug(self, buses: Buses) -> None:
        """From now on the regions appear where the guest puts them."""
        self._buses = buses

    def unplug(self) -> None:
        for register in list(self._mapped):
            self._unmap(register)
        self._move_rom(None)
        self._buses = None

    def read_config(self, offset: int, size: int) -> int:
        return int.from_bytes(self._bytes[offset : offset + size], "little")

    def write_config(self, offset: int, size: int, value: int) -> None:
        for at, byte in enumerate(value.to_bytes(size, "little"), offset):
            mask = self._writable[at]
            self._bytes[at] = self._bytes[at] & ~mask | byte & mask
        if offset < BARS + 4 * BAR_COUNT and offset + size > COMMAND:
            self.place_regions()
        if self._rom is not None and offset < EXPANSION_ROM + 4 and offset + size > COMMAND:
            self._move_rom(self._wanted_rom())

    # ---- saved and restored ---------------------------------------------------------------------

    @property
    def not_saved(self) -> str | None:
        """What it is, if it cannot be saved."""
        return None

    def state(self) -> State:
        return {"config": bytes(self._bytes), "device": self.device_state()}

    def restore(self, state: State, /) -> None:
        """Its regions are off; they appear where they were."""
        saved = STATE.check(state)
        config: bytes = saved["config"]
        fixed = zip(config, self._bytes, self._writable, strict=True)
        if any((there ^ here) & ~writable for there, here, writable in fixed):
            raise ValueError("config: it is of another function")
        # As a guest would, so that all that follows a register does; whatever is switched on comes last.
        for at in (*range(BARS, CONFIG_BYTES, 4), *range(CACHE_LINE, BARS, 4), COMMAND):
            if any(self._writable[at : at + 4]):
                self.write_config(at, 4, int.from_bytes(config[at : at + 4], "little"))
        self.restore_device(saved["device"])

    def switch_off(self) -> None:
        """It decodes nothing."""
        self.write_config(COMMAND, 2, 0)

    def device_state(self) -> Plain:
        """What lies behind the configuration space."""
        return None

    def restore_device(self, state: Plain) -> None:
        """Takes it on. Raises `ValueError`."""
        if state is not None:
            raise ValueError("device: there is nothing behind this function")

    # ---- regions --------------------------------------------------------------------------------

    def _wanted(self, register: int, bar: Bar) -> int | None:
        """Where the guest wants a region now; None if it is turned off or not placed yet."""
        enable = COMMAND_IO if bar.kind is BarKind.IO else COMMAND_MEMORY
        if not self.read_config(COMMAND, 2) & enable:
            return None
        if register in self._fixed:
            return self._fixed[register] if self.decodes(self._fixed[register]) else None
        value = self.read_config(BARS + 4 * register, 4 * bar.kind.registers)
        base = value & ~(0x3 if bar.kind is BarKind.IO else 0xF)
        limit = 1 << 16 if bar.kind is BarKind.IO else 1 << (32 * bar.kind.registers)
        return base if 0 < base <= limit - bar.size else None

    def place_regions(self) -> None:
        """Brings the buses in line with the registers."""
        moves = [(register, self._wanted(register, bar)) for register, bar in self._bars.items()]
        moves = [(register, base) for register, base in moves if base != self._mapped.get(register)]
        for register, _ in moves:
            self._unmap(register)
        for register, base in moves:
            if base is not None:
                self._map(register, base)

    def _map(self, register: int, base: int) -> None:
        if self._buses is None:
            return
        bar = self._bars[register]
        try:
            if bar.ram is not None:
                self._buses.map_ram(base, bar.ram, size=bar.size)
            elif bar.device is not None:
                claim = self._buses.map_ports if bar.kind is BarKind.IO else self._buses.map_mmio
                claim(base, bar.size, bar.device)
        except (ValueError, OSError):
            return  # the guest put it on top of another region, which stays, or where the engine has no memory
        self._mapped[register] = base

    def _unmap(self, register: int) -> None:
        base = self._mapped.pop(register, None)
        if base is None or self._buses is None:
            return
        bar = self._bars[register]
        if bar.ram is not None:
            self._buses.unmap_ram(base)
        elif bar.device is not None:
            release = self._buses.unmap_ports if bar.kind is BarKind.IO else self._buses.unmap_mmio
            release(base)

    def _wanted_rom(self) -> int | None:
        assert self._rom is not None  # noqa: S101 - asked only then
        value = self.read_config(EXPANSION_ROM, 4)
        enabled = value & ROM_ENABLE and self.read_config(COMMAND, 2) & COMMAND_MEMORY
        base = value & ~ROM_ENABLE
        return base if enabled and 0 < base <= (1 << 32) - self._rom.size else None

    def _move_rom(self, base: int | None) -> None:
        if self._buses is None or self._rom is None or base == self._rom_at:
            return
        if self._rom_at is not None:
            self._buses.unmap_ram(self._rom_at)
            self._rom_at = None
        if base is not None:
            try:
                self._buses.map_ram(base, self._rom, read_only=True)
            except (ValueError, OSError):
                return
            self._rom_at = base
