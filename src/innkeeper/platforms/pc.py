"""The `pc` board: an Intel 440FX-like PC with ACPI, PCI and the classic ISA chips.

Interrupt controllers, PIT and local APICs belong to the engine, which has mapped them already; the
tables below list them for the reader, and the ACPI tables for the guest.
"""

from dataclasses import dataclass

from innkeeper.bus import Device, GsiLine, IrqLine, Part
from innkeeper.devices import Uart
from innkeeper.devices.acpi_pm import BLOCK_BYTES, SLEEP_TYPE_S3, SLEEP_TYPE_S5, AcpiPm
from innkeeper.devices.debugexit import DebugExit
from innkeeper.devices.fw_cfg import KEY_MAX_VCPUS, KEY_RAM_BYTES, KEY_VCPUS, FwCfg, integer
from innkeeper.devices.i8042 import COMMAND, DATA, I8042
from innkeeper.devices.pci import HostBridge, PciBus, PciSite, isa_bridge, pci_host_function
from innkeeper.devices.pci.host_bridge import RESET_HARD, RESET_PROCESSOR
from innkeeper.devices.rtc import CENTURY, Rtc, RtcStateV1
from innkeeper.devices.testdev import IRQ_LINES, TestIrqLines, TestRegister
from innkeeper.firmware import MapEntry, MapKind, acpi
from innkeeper.firmware.acpi.tables import CONFORMS, HIGH_LEVEL
from innkeeper.memory import Range
from innkeeper.platforms.base import Surroundings

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

MEMORY_MAP = {
    "conventional RAM": (0x0000_0000, 640 * KIB),
    "video": (0x000A_0000, 128 * KIB),
    "firmware RAM": (0x000C_0000, 256 * KIB),
    "high RAM": (0x0010_0000, 3 * GIB - 1 * MIB),  # as much of it as the machine has
    "PCI regions": (0xC000_0000, 0xFEC0_0000 - 0xC000_0000),
    "IOAPIC": (0xFEC0_0000, 4 * KIB),  # the engine's
    "local APICs": (0xFEE0_0000, 1 * MIB),  # the engine's; also where MSIs are written
    "test memory": (0xFF00_0000, 64 * KIB),  # only with test devices
    "RAM above 4 GiB": (0x1_0000_0000, 0),  # the rest
}
EXTENDED_BIOS_DATA = (0x0009_FC00, 1 * KIB)
ACPI_TABLES = (0x000F_0000, 64 * KIB)

PORTS = {
    # 0x20, 0xA0, 0x4D0 PICs, 0x40 PIT and 0x61 its gate: the engine's
    "i8042 data": (0x060, 1),
    "i8042 command": (0x064, 1),
    "rtc": (0x070, 2),
    "test register": (0x0E0, 4),  # the test ports: only with test devices
    "test exit": (0x0F4, 4),
    "com1": (0x3F8, 8),
    "fw_cfg": (0x510, 12),
    "acpi pm": (0x600, BLOCK_BYTES),
    "pci config": (0xCF8, 8),
    "test irqs": (0x2000, IRQ_LINES),
}
RESET_PORT = 0xCF9

IRQS = {"i8042": 1, "com1": 4, "rtc": 8, "acpi pm": 9}
PCI_FIRST_GSI, PCI_GSIS = 16, 8
PCI_SLOTS = {"host bridge": 0, "isa bridge": 1, "first free": 2}
PCI_PLACES = {"ide": (1, 1)}  # slot and function of devices that software looks for where they always were
INTA = 0


def ram_ranges(memory_mib: int) -> list[Range]:
    """Where `memory_mib` MiB of RAM lie: around the video hole, up to 3 GiB, and the rest above 4 GiB."""
    total = memory_mib * MIB
    high, room = MEMORY_MAP["high RAM"]
    in_high = min(total - high, room)
    ranges = [MEMORY_MAP["conventional RAM"], MEMORY_MAP["firmware RAM"], (high, in_high)]
    if above := total - high - in_high:
        ranges.append((MEMORY_MAP["RAM above 4 GiB"][0], above))
    return ranges


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
    ) -> None:
        self._around = around
        self._memory_mib = memory_mib
        self._vcpus = vcpus
        self._ports: list[int] = []
        self._mmio: list[int] = []
        self.uart = Uart(self._line("com1"), around.console)
        self.pm = AcpiPm(self._line("acpi pm"), around.clock, around.control, kept.woken_by if kept else 0)
        wire = AlarmWire(self._line("rtc"), self.pm)
        self.rtc = Rtc(wire, around.clock, cmos(memory_mib, vcpus), kept.rtc if kept else None)
        self.pci = PciBus(around.buses)
        self._place_chips()
        self._place_pci()
        if test_devices:
            self._place_test_devices()

    def press_power_button(self) -> None:
        self.pm.press_power_button()

    def kept_over_reset(self) -> KeptState:
        return KeptState(self.rtc.save().after_reset())

    def kept_over_sleep(self) -> KeptState:
        return KeptState(self.rtc.save(), self.pm.woken_by())

    def unplug(self) -> None:
        """Takes every chip off its bus and its line, so that buses and chips no longer hold each other."""
        self.pci.unplug_all()
        for base in self._ports:
            self._around.buses.unmap_ports(base)
        for base in self._mmio:
            self._around.buses.unmap_mmio(base)
        for irq in IRQS.values():
            self._around.buses.set_irq(irq, False)
        self._ports.clear()
        self._mmio.clear()

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

    def _place_chips(self) -> None:
        control = self._around.control
        i8042 = I8042(self._line("i8042"), control.reset)
        self._at_ports("i8042 data", Part(i8042, DATA))
        self._at_ports("i8042 command", Part(i8042, COMMAND))
        self._at_ports("rtc", self.rtc)
        self._at_ports("com1", self.uart)
        items = {
            KEY_RAM_BYTES: integer(self._memory_mib * MIB, 8),
            KEY_VCPUS: integer(self._vcpus, 2),
            KEY_MAX_VCPUS: integer(self._vcpus, 2),
        }
        self._at_ports("fw_cfg", FwCfg(self._around.memory, items, {}))
        self._at_ports("acpi pm", self.pm)

    def _place_pci(self) -> None:
        from innkeeper._core import PciInterrupts

        self._at_ports("pci config", HostBridge(self.pci, self._around.control.reset))
        self.pci.plug(PCI_SLOTS["host bridge"], pci_host_function())
        self.pci.plug(PCI_SLOTS["isa bridge"], isa_bridge())
        wires = PciInterrupts(self._around.buses.fabric, PCI_FIRST_GSI)
        placed = [(*PCI_PLACES[name], device) for name, device in self._around.places.items()]
        free = [(slot, 0, device) for slot, device in enumerate(self._around.slots, PCI_SLOTS["first free"])]
        for slot, number, device in placed + free:
            site = PciSite(slot=slot, memory=self._around.memory, buses=self._around.buses, intx=wires.pin(slot, INTA))
            self.pci.plug(slot, device.function(site), number)

    def _place_test_devices(self) -> None:
        buses = self._around.buses
        self._at_ports("test register", TestRegister(PORTS["test register"][1]))
        self._at_ports("test exit", DebugExit(self._around.control.leave))
        self._at_ports("test irqs", TestIrqLines(buses.set_irq))
        base, size = MEMORY_MAP["test memory"]
        buses.map_mmio(base, size, TestRegister(size))
        self._mmio.append(base)

    # ---- description ----------------------------------------------------------------------------

    def _describe(self) -> acpi.AcpiBoard:
        pci_config, pci_regions, video = PORTS["pci config"], MEMORY_MAP["PCI regions"], MEMORY_MAP["video"]
        root = acpi.PciRoot(
            config_ports=pci_config,
            port_windows=((0, pci_config[0]), (sum(pci_config), 0x1_0000)),
            memory_windows=tuple((base, base + size) for base, size in (video, pci_regions)),
            first_gsi=PCI_FIRST_GSI,
            gsis=PCI_GSIS,
        )
        return acpi.AcpiBoard(
            vcpus=self._vcpus,
            local_apic=MEMORY_MAP["local APICs"][0],
            io_apic=MEMORY_MAP["IOAPIC"][0],
            pm_base=PORTS["acpi pm"][0],
            sci=IRQS["acpi pm"],
            reset_port=RESET_PORT,
            reset_value=RESET_HARD | RESET_PROCESSOR,
            sleep_types={3: SLEEP_TYPE_S3, 5: SLEEP_TYPE_S5},
            cmos_century=CENTURY,
            root=root,
            isa_slot=PCI_SLOTS["isa bridge"],
            isa_devices=ISA_DEVICES,
            # The PIT's IRQ 0 is wired to GSI 2; the SCI is a level.
            overrides={0: (2, CONFORMS), IRQS["acpi pm"]: (IRQS["acpi pm"], HIGH_LEVEL)},
        )


ISA_DEVICES = (
    acpi.IsaDevice(name="COM1", hid="PNP0501", ports=(PORTS["com1"],), irq=IRQS["com1"]),
    acpi.IsaDevice(name="RTC", hid="PNP0B00", ports=(PORTS["rtc"],), irq=IRQS["rtc"]),
    acpi.IsaDevice(name="KBD", hid="PNP0303", ports=(PORTS["i8042 data"], PORTS["i8042 command"]), irq=IRQS["i8042"]),
    acpi.IsaDevice(name="FWCF", hid="QEMU0002", ports=(PORTS["fw_cfg"],), hidden=True),
    acpi.IsaDevice(name="PM", hid="PNP0C02", ports=(PORTS["acpi pm"],), hidden=True),
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
