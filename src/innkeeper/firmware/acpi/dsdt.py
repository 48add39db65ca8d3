"""The DSDT: the devices that a guest cannot find by itself, written as AML.

Spec: ACPI 6.5, chapters 5.6, 5.7, 6 and 9; PCI Firmware 3.3, chapter 4. Everything is a constant but the methods of hot plug, which
are all that a guest's interpreter runs.
"""

from collections.abc import Mapping

from innkeeper.firmware.acpi import aml
from innkeeper.firmware.acpi.processors import NOTIFY_DEVICE_CHECK, NOTIFY_EJECT_REQUEST, Processors
from innkeeper.records import dataclass

STATUS_PRESENT_HIDDEN = 0x0B  # present, enabled, working; not shown to the user
PCI_SLOTS, PCI_PINS = 32, 4
ANY_FUNCTION = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class IsaDevice:
    """A chip behind the ISA bridge: ports as (base, size)."""

    name: str
    hid: str
    ports: tuple[tuple[int, int], ...]
    irq: int | None = None
    hidden: bool = False

    def aml(self) -> bytes:
        known = (self.hid.startswith("PNP") and aml.eisa_id(self.hid)) or self.hid
        described = [aml.ports(base, size) for base, size in self.ports]
        if self.irq is not None:
            described.append(aml.irq(self.irq))
        status = [aml.name("_STA", STATUS_PRESENT_HIDDEN)] if self.hidden else []
        return aml.device(self.name, aml.name("_HID", known), *status, aml.name("_CRS", aml.resources(*described)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PciRoot:
    """Bus 0: the ranges that its functions may use as (base, end), and where INTx pins lead.

    `config_ports` are the bridge's own. Pin `p` (0 is INTA) of slot `s` drives GSI
    `first_gsi + (s + p) % gsis`.
    """

    config_ports: tuple[int, int]
    port_windows: tuple[tuple[int, int], ...]
    memory_windows: tuple[tuple[int, int], ...]
    first_gsi: int
    gsis: int

    def aml(self, *children: bytes) -> bytes:
        windows = [
            aml.bus_window(0, 0),
            aml.ports(*self.config_ports),
            *(aml.port_window(*window) for window in self.port_windows),
            *(aml.memory_window(*window) for window in self.memory_windows),
        ]
        return aml.device(
            "PCI0",
            aml.name("_HID", aml.eisa_id("PNP0A03")),
            aml.name("_UID", 0),
            aml.name("_BBN", 0),
            aml.name("_CRS", aml.resources(*windows)),
            aml.name("_PRT", aml.package(self._routes())),
            *children,
        )

    def _routes(self) -> list[bytes]:
        return [
            aml.package((slot << 16 | ANY_FUNCTION, pin, 0, self.first_gsi + (slot + pin) % self.gsis))
            for slot in range(PCI_SLOTS)
            for pin in range(PCI_PINS)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class PciSlots:
    """Slots of the root bus that are filled and emptied while the guest runs, by the registers from port `base` on.

    General-purpose event `event` has the guest look at them.
    """

    base: int
    event: int
    slots: tuple[int, ...]

    def aml(self) -> bytes:
        """What goes into the root bus's device."""
        which, what = aml.ARGUMENTS[:2]
        tell = [
            aml.if_bits(which, aml.integer(1 << slot), aml.notify(aml.path(slot_name(slot)), what))
            for slot in self.slots
        ]
        look = [
            aml.call("DVNT", aml.path(register), aml.integer(code))
            for register, code in (("PCIU", NOTIFY_DEVICE_CHECK), ("PCID", NOTIFY_EJECT_REQUEST))
        ]
        return b"".join(
            (
                aml.port_registers("PCST", self.base, ("PCIU", "PCID", "PCEJ")),
                *(self._slot(slot) for slot in self.slots),
                aml.method("DVNT", 2, *tell),
                aml.serialized("PCNT", 0, *look),
            )
        )

    def handler(self) -> bytes:
        """The event's method, which runs once for each time that the event is raised."""
        return aml.scope("\\_GPE", aml.method(f"_E{self.event:02X}", 0, aml.call("\\_SB.PCI0.PCNT")))

    @staticmethod
    def _slot(slot: int) -> bytes:
        eject = aml.method("_EJ0", 1, aml.store(aml.integer(1 << slot), aml.path("PCEJ")))
        return aml.device(slot_name(slot), aml.name("_ADR", slot << 16), aml.name("_SUN", slot), eject)


def slot_name(slot: int) -> str:
    return f"S{slot:02X}"


def dsdt(
    root: PciRoot,
    isa_slot: int,
    isa_devices: tuple[IsaDevice, ...],
    sleep_types: Mapping[int, int],
    processors: Processors,
    slots: PciSlots,
) -> bytes:
    """The definition block's content. `sleep_types` has what PM1_CNT calls each sleep state."""
    isa = aml.device("ISA", aml.name("_ADR", isa_slot << 16), *(chip.aml() for chip in isa_devices))
    states = [aml.name(f"\\_S{state}", aml.package((kind, kind, 0, 0))) for state, kind in sorted(sleep_types.items())]
    system_bus = aml.scope("\\_SB", processors.aml(), root.aml(isa, slots.aml()))
    return system_bus + slots.handler() + processors.handler() + b"".join(states)
