"""The `pc` board: an Intel 440FX-like PC with ACPI, PCI and the classic ISA chips.

Interrupt controllers, PIT and local APICs belong to the engine, which has mapped them already; the
tables below list them for the reader, and the ACPI tables for the guest.
"""

from dataclasses import replace
from functools import partial

from innkeeper.bus import Device, GsiLine, IrqLine, Part
from innkeeper.devices import Uart
from innkeeper.devices.acpi_pm import GPE_BYTES, SLEEP_TYPE_S3, SLEEP_TYPE_S5, AcpiPm
from innkeeper.devices.cpu_hotplug import PROCESSORS, CpuHotplugState
from innkeeper.devices.debugcon import DebugConsole
from innkeeper.devices.debugexit import DebugExit
from innkeeper.devices.fw_cfg import KEY_MAX_VCPUS, KEY_RAM_BYTES, KEY_VCPUS, Content, FwCfg, integer
from innkeeper.devices.i8042 import COMMAND, DATA, I8042
from innkeeper.devices.pci import (
    HostBridge,
    HostFunction,
    HotplugState,
    IsaBridge,
    PciBus,
    PowerManagement,
    Shadow,
)
from innkeeper.devices.pci.host_bridge import RESET_HARD, RESET_PROCESSOR
from innkeeper.devices.pci.hotplug import REGISTER_BYTES
from innkeeper.devices.pci.piix import PM_BYTES
from innkeeper.devices.pci.shadow import ALL_RAM, ALL_ROM, awake
from innkeeper.devices.port92 import Port92
from innkeeper.devices.rtc import CENTURY, Rtc, RtcStateV1
from innkeeper.devices.testdev import IRQ_LINES, TestIrqLines, TestRegister
from innkeeper.firmware import MapEntry, MapKind, acpi
from innkeeper.firmware.acpi.tables import CONFORMS, HIGH_LEVEL
from innkeeper.memory import Range
from innkeeper.platforms import pc_start
from innkeeper.platforms.base import Surroundings
from innkeeper.platforms.pc_processors import PcProcessors
from innkeeper.platforms.pc_slots import PcSlots
from innkeeper.platforms.pc_start import FirmwareStart
from innkeeper.records import dataclass

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

MEMORY_MAP = {
    "conventional RAM": (0x0000_0000, 640 * KIB),
    "video": (0x000A_0000, 128 * KIB),
    "firmware RAM": (0x000C_0000, 256 * KIB),
    "high RAM": (0x0010_0000, 3 * GIB - 1 * MIB),  # as much of it as the machine has
    "PCI regions": (0x8000_0000, 0xFEC0_0000 - 0x8000_0000),  # from 3 GiB on if RAM ends above 2 GiB
    "IOAPIC": (0xFEC0_0000, 4 * KIB),  # the engine's
    # firmware, its end at 4 GiB; the variables of UEFI right below
    "local APICs": (0xFEE0_0000, 1 * MIB),  # the engine's; also where MSIs are written
    "engine": (0xFEFF_C000, 16 * KIB),  # where KVM keeps what some processors need
    "test memory": (0xFF00_0000, 64 * KIB),  # only with test devices
    "RAM above 4 GiB": (0x1_0000_0000, 0),  # the rest; behind it 64-bit PCI regions
}
EXTENDED_BIOS_DATA = (0x0009_FC00, 1 * KIB)
FIRMWARE_RAM, _ = MEMORY_MAP["firmware RAM"]
ACPI_TABLES = (0x000F_0000, 64 * KIB)

PORTS = {
    # 0x20, 0xA0, 0x4D0 PICs, 0x40 PIT and 0x61 its gate: the engine's
    "i8042 data": (0x060, 1),
    "i8042 command": (0x064, 1),
    "rtc": (0x070, 2),
    "port 92": (0x092, 1),
    "test register": (0x0E0, 4),  # the test ports: only with test devices
    "test exit": (0x0F4, 4),
    "com1": (0x3F8, 8),
    "firmware log": (0x402, 1),  # only if somebody wants it: firmware that finds it says much
    "fw_cfg": (0x510, 12),
    "pci config": (0xCF8, 8),
    "test irqs": (0x2000, IRQ_LINES),
    "cpu hotplug": (0xAD00, 4 * PROCESSORS),  # only if processors may come or go
    "pci hotplug": (0xAE00, REGISTER_BYTES),
}
RESET_PORT = 0xCF9
PM_BASE = 0x600  # ACPI's registers, until firmware moves them

SLEEP_RESUME = (0x0F, 0xFE)  # CMOS: what tells a BIOS that it wakes the guest from S3
IRQS = {"i8042": 1, "com1": 4, "rtc": 8, "acpi pm": 9, "mouse": 12}
PCI_FIRST_GSI, PCI_GSIS = 16, 8
PCI_SLOTS = {"host bridge": 0, "isa bridge": 1}  # the others: `pc_slots`
PCI_PLACES = {"ide": (1, 1)}  # slot and function of devices that software looks for where they always were
PM_FUNCTION = 3  # of the ISA bridge's slot
PCI_EVENT, CPU_EVENT = 1, 2  # the general-purpose events of hot plug
ADDRESS_SPACE_END = 1 << 40


def ram_ranges(memory_mib: int) -> list[Range]:
    """Where `memory_mib` MiB of RAM lie: around the video hole, up to 3 GiB, and the rest above 4 GiB."""
    total = memory_mib * MIB
    high, room = MEMORY_MAP["high RAM"]
    in_high = min(total - high, room)
    ranges = [MEMORY_MAP["conventional RAM"], MEMORY_MAP["firmware RAM"], (high, in_high)]
    if above := total - high - in_high:
        ranges.append((MEMORY_MAP["RAM above 4 GiB"][0], above))
    return ranges


def pci_window(memory_mib: int) -> Range:
    """Where 32-bit regions of PCI functions may be, as firmware decides it too."""
    base, size = MEMORY_MAP["PCI regions"]
    above_2_gib = max(0, min(memory_mib * MIB, 3 * GIB) - base)
    return (base, base + size) if not above_2_gib else (3 * GIB, base + size)


def pci_window_64(memory_mib: int) -> Range | None:
    """And 64-bit ones: from the next GiB behind all RAM."""
    last, size = ram_ranges(memory_mib)[-1]
    start = max(-(-(last + size) // GIB) * GIB, 4 * GIB)
    return (start, ADDRESS_SPACE_END) if start < ADDRESS_SPACE_END else None


def installed_ram(memory_mib: int) -> tuple[MapEntry, ...]:
    """RAM as firmware counts it, the video hole included."""
    high = [MapEntry(gpa, size, MapKind.RAM) for gpa, size in ram_ranges(memory_mib) if gpa >= MIB]
    return (MapEntry(0, high[0].gpa + high[0].size, MapKind.RAM), *high[1:])


def memory_map(memory_mib: int) -> tuple[MapEntry, ...]:
    """The same as a guest is told it."""
    ebda, _ = EXTENDED_BIOS_DATA
    high = [MapEntry(gpa, size, MapKind.RAM) for gpa, size in ram_ranges(memory_mib) if gpa >= MIB]
    return (
        MapEntry(0, ebda, MapKind.RAM),
        MapEntry(*EXTENDED_BIOS_DATA, MapKind.RESERVED),
        MapEntry(*ACPI_TABLES, MapKind.RESERVED),
        *high,
    )


@dataclass(frozen=True, slots=True)
class KeptState:
    """What outlives a board: the clock's, which has a battery, and why the guest is woken, if it slept."""

    rtc: RtcStateV1
    woken_by: int = 0
    pam: bytes | None = None  # what the adapter area shows
    hotplug: HotplugState | None = None  # what a guest that slept has yet to hear of
    processors: CpuHotplugState | None = None  # likewise


class AlarmWire:
    """The clock's interrupt line, which leads to the power-management chip too."""

    def __init__(self, line: IrqLine, pm: AcpiPm) -> None:
        self._line = line
        self._pm = pm

    def set(self, level: bool, /) -> None:
        self._line.set(level)
        if level:
            self._pm.note_rtc_alarm()

    def pulse(self) -> None:
        self.set(True)
        self.set(False)


class PcBoard:
    """The board's chips, each on its bus. Made anew for every reset, and for every wake from S3."""

    def __init__(
        self,
        around: Surroundings,
        *,
        memory_mib: int,
        vcpus: int,
        test_devices: bool = False,
        kept: KeptState | None = None,
        start: FirmwareStart | None = None,
    ) -> None:
        self._around = around
        self._memory_mib = memory_mib
        self._start = start
        self._chips = pc_start.Chips(start, around.memory, around.buses) if start is not None else None
        self._named: dict[str, object] = {}
        self._ports: list[int] = []
        self._mmio: list[int] = []
        self.uart = Uart(self._line("com1"), around.console)
        self.pm = AcpiPm(self._line("acpi pm"), around.clock, around.control, kept.woken_by if kept else 0)
        event = partial(self.pm.raise_event, CPU_EVENT)
        self.processors = PcProcessors(vcpus, around.sockets, event, kept.processors if kept else None)
        wire = AlarmWire(self._line("rtc"), self.pm)
        ram_bytes = cmos(memory_mib, self.processors.count) | (
            pc_start.cmos_boot_order(start.order) if start is not None else {}
        )
        self.rtc = Rtc(wire, around.clock, ram_bytes, kept.rtc if kept else None)
        self.i8042 = I8042(self._line("i8042"), self._line("mouse"), around.clock, around.control.reset)
        self.pci = PciBus(around.buses)
        self._pm_function = PowerManagement(self.pm, base=PM_BASE, sci=IRQS["acpi pm"], enabled=start is None)
        self._host = self._host_function(kept)
        self.slots = self._make_slots(kept)
        self._around = replace(around, slots=())  # one that is pulled out shall be gone
        self._place_pci()
        self._place_chips()
        if test_devices:
            self._place_test_devices()

    def press_power_button(self) -> None:
        self.pm.press_power_button()

    def kept_over_reset(self) -> KeptState:
        return KeptState(self.rtc.save().after_reset())

    def kept_over_sleep(self) -> KeptState:
        rtc = self.rtc.save()
        if self._start is not None:
            address, value = SLEEP_RESUME
            rtc = replace(rtc, ram=rtc.ram[:address] + bytes((value,)) + rtc.ram[address + 1 :])
        return KeptState(rtc, self.pm.woken_by(), self._host.pam, self.slots.registers.save(), self.processors.save())

    def unplug(self) -> None:
        """Takes every chip off its bus and its line, so that buses and chips no longer hold each other."""
        self.pci.unplug_all()
        self.slots.registers.disconnect()
        self.processors.disconnect()
        if self._chips is not None:
            self._chips.unplug()
            self._chips = None
        for base in self._ports:
            self._around.buses.unmap_ports(base)
        for base in self._mmio:
            self._around.buses.unmap_mmio(base)
        for irq in IRQS.values():
            self._around.buses.set_irq(irq, False)
        self._ports.clear()
        self._mmio.clear()
        self._named.clear()

    def devices_by_name(self) -> dict[str, object]:
        """Every device, in the order in which they are restored: the clock rings before power management hears of it."""
        flash = {"flash": self._chips.flash} if self._chips is not None and self._chips.flash is not None else {}
        functions = {f"pci {slot:02x}.{number}": f for (slot, number), f in sorted(self.pci.functions().items())}
        return self._named | flash | functions | {"acpi pm": self.pm}

    def write_tables(self) -> int:
        """Puts the ACPI tables into memory; returns where the RSDP is."""
        base, _ = ACPI_TABLES
        self._around.memory.write(base, acpi.build(self._describe(), base))
        return base

    # ---- assembly -------------------------------------------------------------------------------

    def _line(self, name: str) -> GsiLine:
        return GsiLine(self._around.buses.set_irq, IRQS[name])

    def _at_ports(self, name: str, device: Device) -> None:
        base, size = PORTS[name]
        self._around.buses.map_ports(base, size, device)
        self._ports.append(base)
        self._named[name] = device.device if isinstance(device, Part) else device

    def _place_chips(self) -> None:
        self._at_ports("i8042 data", Part(self.i8042, DATA))
        self._at_ports("i8042 command", Part(self.i8042, COMMAND))
        self._at_ports("rtc", self.rtc)
        self._at_ports("com1", self.uart)
        self._at_ports("port 92", Port92(self._around.control.reset))
        if self.processors.registers is not None:
            self._at_ports("cpu hotplug", self.processors.registers)
        items: dict[int, Content] = {
            KEY_RAM_BYTES: integer(self._memory_mib * MIB, 8),
            KEY_VCPUS: lambda: integer(self.processors.count, 2),
            KEY_MAX_VCPUS: integer(self.processors.possible, 2),
        }
        files: dict[str, Content] = {}
        if (start := self._start) is not None:
            if start.log is not None:
                self._at_ports("firmware log", DebugConsole(start.log))
            reserved = (MapEntry(*MEMORY_MAP["engine"], MapKind.RESERVED),)
            items |= pc_start.items(start)
            ram = installed_ram(self._memory_mib)
            files = pc_start.files(start, self._describe, ram, reserved, pc_start.boot_paths(start, self.slots.devices))
        self._at_ports("fw_cfg", FwCfg(self._around.memory, items, files))

    def _host_function(self, kept: KeptState | None) -> HostFunction:
        rom = self._chips.rom if self._chips is not None else None
        shadow = Shadow(self._around.buses, self._around.memory.movable_ram(FIRMWARE_RAM), rom)
        pam = kept.pam if kept is not None else None
        return HostFunction(shadow, awake(pam) if pam else (ALL_RAM if rom is None else ALL_ROM))

    def _make_slots(self, kept: KeptState | None) -> PcSlots:
        from innkeeper._core import PciInterrupts

        self._wires = PciInterrupts(self._around.buses.fabric, PCI_FIRST_GSI)
        placed = {PCI_PLACES[name]: device for name, device in self._around.places.items()}
        unheard = kept.hotplug if kept is not None else None
        return PcSlots(self._around, self.pci, self._wires, placed, partial(self.pm.raise_event, PCI_EVENT), unheard)

    def _place_pci(self) -> None:
        self._at_ports("pci config", HostBridge(self.pci, self._around.control.reset))
        self._at_ports("pci hotplug", self.slots.registers)
        self.pci.plug(PCI_SLOTS["host bridge"], self._host)
        by_firmware = self._start is not None
        self.pci.plug(
            PCI_SLOTS["isa bridge"],
            IsaBridge(self._wires) if by_firmware else IsaBridge(self._wires, pc_start.PIRQ_IRQS),
        )
        self.pci.plug(PCI_SLOTS["isa bridge"], self._pm_function, PM_FUNCTION)
        self.slots.plug_all()
        if not by_firmware:
            pc_start.place_functions(self.pci, pci_window(self._memory_mib))

    def _place_test_devices(self) -> None:
        buses = self._around.buses
        self._at_ports("test register", TestRegister(PORTS["test register"][1]))
        self._at_ports("test exit", DebugExit(self._around.control.leave))
        self._at_ports("test irqs", TestIrqLines(buses.set_irq))
        base, size = MEMORY_MAP["test memory"]
        memory = self._named["test memory"] = TestRegister(size)
        buses.map_mmio(base, size, memory)
        self._mmio.append(base)

    # ---- description ----------------------------------------------------------------------------

    def _describe(self) -> acpi.AcpiBoard:
        pci_config, video = PORTS["pci config"], MEMORY_MAP["video"]
        window_64 = pci_window_64(self._memory_mib)
        windows = [(video[0], sum(video)), pci_window(self._memory_mib), *([window_64] if window_64 else [])]
        root = acpi.PciRoot(
            config_ports=pci_config,
            port_windows=((0, pci_config[0]), (sum(pci_config), 0x1_0000)),
            memory_windows=tuple(windows),
            first_gsi=PCI_FIRST_GSI,
            gsis=PCI_GSIS,
        )
        slots = acpi.PciSlots(base=PORTS["pci hotplug"][0], event=PCI_EVENT, slots=self.slots.pluggable)
        return acpi.AcpiBoard(
            processors=self.processors.describe(PORTS["cpu hotplug"][0], CPU_EVENT),
            local_apic=MEMORY_MAP["local APICs"][0],
            io_apic=MEMORY_MAP["IOAPIC"][0],
            pm_base=self._pm_function.base,
            sci=IRQS["acpi pm"],
            reset_port=RESET_PORT,
            reset_value=RESET_HARD | RESET_PROCESSOR,
            sleep_types={5: SLEEP_TYPE_S5} if self._is_uefi() else {3: SLEEP_TYPE_S3, 5: SLEEP_TYPE_S5},
            cmos_century=CENTURY,
            gpe_bytes=GPE_BYTES,
            root=root,
            slots=slots,
            isa_slot=PCI_SLOTS["isa bridge"],
            isa_devices=(*ISA_DEVICES, self._own_ports()),
            # The PIT's IRQ 0 is wired to GSI 2; the SCI is a level.
            overrides={0: (2, CONFORMS), IRQS["acpi pm"]: (IRQS["acpi pm"], HIGH_LEVEL)},
        )

    def _own_ports(self) -> acpi.IsaDevice:
        """What no driver shall take."""
        processors = self.processors.ports(*PORTS["cpu hotplug"])
        ports = ((self._pm_function.base, PM_BYTES), *processors, PORTS["pci hotplug"])
        return acpi.IsaDevice(name="PM", hid="PNP0C02", ports=ports, hidden=True)

    def _is_uefi(self) -> bool:
        """It wakes no guest from S3: nothing of it is left to do that."""
        return self._start is not None and self._start.keeps_variables


ISA_DEVICES = (
    acpi.IsaDevice(name="COM1", hid="PNP0501", ports=(PORTS["com1"],), irq=IRQS["com1"]),
    acpi.IsaDevice(name="RTC", hid="PNP0B00", ports=(PORTS["rtc"],), irq=IRQS["rtc"]),
    acpi.IsaDevice(name="KBD", hid="PNP0303", ports=(PORTS["i8042 data"], PORTS["i8042 command"]), irq=IRQS["i8042"]),
    acpi.IsaDevice(name="MOU", hid="PNP0F13", ports=(), irq=IRQS["mouse"]),
    acpi.IsaDevice(name="FWCF", hid="QEMU0002", ports=(PORTS["fw_cfg"],), hidden=True),
)


def cmos(memory_mib: int, vcpus: int) -> dict[int, int]:
    """The CMOS RAM bytes by which a PC's firmware tells memory sizes (Ralf Brown's list, CMOS.LST)."""
    total, (_, high_room) = memory_mib * MIB, MEMORY_MAP["high RAM"]
    high = min(total - MIB, high_room)
    sizes = {
        0x15: (640, 2),  # KiB of conventional memory
        0x17: (min(high // KIB, 0xFFFF), 2),  # KiB above 1 MiB
        0x30: (min(high // KIB, 0xFFFF), 2),  # the same, as the firmware found it
        0x34: (max(high - 15 * MIB, 0) // (64 * KIB), 2),  # 64 KiB blocks above 16 MiB
        0x5B: ((total - MIB - high) // (64 * KIB), 3),  # 64 KiB blocks above 4 GiB
        0x5F: (vcpus - 1, 1),
    }
    return {
        start + i: byte
        for start, (value, size) in sizes.items()
        for i, byte in enumerate(value.to_bytes(size, "little"))
    }
