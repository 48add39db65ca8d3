"""Processors as ACPI describes them: those that are there, and those that may be plugged in while the guest runs.

Spec: ACPI 6.5, 5.2.12.2 (the MADT's local APICs and their flags), 6.2.10 (_MAT), 6.3 and 8.4. The first processor, which starts the machine,
has no methods: it stays. What a guest's interpreter runs reads and writes the words of the chip for hot plug (`devices/cpu_hotplug.py`).
"""

import struct

from innkeeper.firmware.acpi import aml
from innkeeper.records import dataclass

# A processor's word, of 32 bits. Read: 0 plugged in │ 1 has come │ 2 shall go. Written: 1, 2 the guest was told │ 3 lets go │ 4 what
# became of it: 15-8 of which event, 23-16 how, in _OST's numbers
PLUGGED, ARRIVED, WANTED, EJECT, OUTCOME = (1 << bit for bit in range(5))
EVENT_SHIFT, STATUS_SHIFT, BYTE = 8, 16, 0xFF
LOCAL_APIC = 0
# Flags of a local APIC: 1 online capable: may be enabled while the guest runs │ 0 enabled
ENABLED, ONLINE_CAPABLE = 1 << 0, 1 << 1
STATUS_ALL = 0x0F  # present, enabled, shown, working
NOTIFY_DEVICE_CHECK, NOTIFY_EJECT_REQUEST = 1, 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Processors:
    """`possible` of them, of which those in `plugged` are there. APIC IDs and UIDs are their numbers.

    With `base` the others come and go by the registers from that port on, which general-purpose event `event` has the
    guest look at.
    """

    possible: int
    plugged: frozenset[int]
    base: int | None = None
    event: int = 0

    def local_apics(self) -> bytes:
        """The MADT's entries."""
        return b"".join(local_apic(index, there=index in self.plugged) for index in range(self.possible))

    def aml(self) -> bytes:
        """What goes into the system bus's scope."""
        if self.base is None:
            return b"".join(aml.device(device_name(index), *_identity(index)) for index in range(self.possible))
        registers = [_register(index) for index in range(self.possible)]
        return b"".join(
            (
                aml.port_registers("CPST", self.base, registers),
                aml.device(device_name(0), *_identity(0)),
                *(self._device(index) for index in range(1, self.possible)),
                aml.serialized("CPNT", 0, *(self._look(index) for index in range(1, self.possible))),
            )
        )

    def handler(self) -> bytes:
        """The event's method."""
        if self.base is None:
            return b""
        return aml.scope("\\_GPE", aml.method(f"_E{self.event:02X}", 0, aml.call("\\_SB.CPNT")))

    @staticmethod
    def _device(index: int) -> bytes:
        register = aml.path(_register(index))
        event, status = (aml.and_(argument, aml.integer(BYTE)) for argument in aml.ARGUMENTS[:2])
        outcome = aml.or_(
            aml.or_(aml.shift_left(event, aml.integer(EVENT_SHIFT)), aml.shift_left(status, aml.integer(STATUS_SHIFT))),
            aml.integer(OUTCOME),
        )

        def either(there: bytes, not_there: bytes) -> tuple[bytes, bytes]:
            return aml.if_bits(register, aml.integer(PLUGGED), aml.return_(there)), aml.return_(not_there)

        apics = (aml.buffer(local_apic(index, there=there)) for there in (True, False))
        return aml.device(
            device_name(index),
            *_identity(index),
            aml.method("_STA", 0, *either(aml.integer(STATUS_ALL), aml.integer(0))),
            aml.method("_MAT", 0, *either(*apics)),
            aml.method("_EJ0", 1, aml.store(aml.integer(EJECT), register)),
            aml.method("_OST", 3, aml.store(outcome, register)),
        )

    @staticmethod
    def _look(index: int) -> bytes:
        """Tells the guest what there is to hear of one, and the register that it was told."""
        register, device, seen = aml.path(_register(index)), aml.path(device_name(index)), aml.LOCALS[0]
        told = [
            aml.if_bits(
                seen,
                aml.integer(bit),
                aml.store(aml.integer(bit), register),
                aml.notify(device, aml.integer(what)),
            )
            for bit, what in ((ARRIVED, NOTIFY_DEVICE_CHECK), (WANTED, NOTIFY_EJECT_REQUEST))
        ]
        return aml.store(register, seen) + b"".join(told)


def local_apic(index: int, *, there: bool) -> bytes:
    """An entry of the MADT, and what _MAT gives."""
    return struct.pack("<BBBBI", LOCAL_APIC, 8, index, index, ENABLED if there else ONLINE_CAPABLE)


def device_name(index: int) -> str:
    return f"C{index:03X}"


def _register(index: int) -> str:
    return f"P{index:03X}"


def _identity(index: int) -> tuple[bytes, bytes]:
    return aml.name("_HID", "ACPI0007"), aml.name("_UID", index)
