"""The DSDT: the devices that a guest cannot find by itself, written as AML.

Spec: ACPI 6.5, chapters 5.7, 6 and 9; PCI Firmware 3.3, chapter 4. Left out: methods. Everything here
is a constant, so a guest's interpreter has nothing to run.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from innkeeper.firmware.acpi import aml

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


def dsdt(
    root: PciRoot, isa_slot: int, isa_devices: tuple[IsaDevice, ...], sleep_types: Mapping[int, int], vcpus: int
) -> bytes:
    """The definition block's content. `sleep_types` has what PM1_CNT calls each sleep state."""
    isa = aml.device("ISA", aml.name("_ADR", isa_slot << 16), *(chip.aml() for chip in isa_devices))
    processors = [
        aml.device(f"C{index:03X}", aml.name("_HID", "ACPI0007"), aml.name("_UID", index)) for index in range(vcpus)
    ]
    states = [aml.name(f"\\_S{state}", aml.package((kind, kind, 0, 0))) for state, kind in sorted(sleep_types.items())]
    return aml.scope("\\_SB", *processors, root.aml(isa)) + b"".join(states)
