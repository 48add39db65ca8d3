"""The ACPI tables: checksums, links, what iasl says of them, and a snapshot of what they say."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from innkeeper.firmware.acpi import aml
from innkeeper.memory import FlatMemory
from innkeeper.platforms import PcBoard, Surroundings
from innkeeper.platforms.pc import ACPI_TABLES
from innkeeper.testing import FakeClock, ScriptedVm

SNAPSHOT = Path(__file__).parent / "acpi-pc.dsl"
iasl = shutil.which("iasl")
needs_iasl = pytest.mark.skipif(iasl is None, reason="iasl is not there; it comes with Debian's acpica-tools")


class Nobody:
    def power_off(self) -> None: ...
    def reset(self) -> None: ...
    def suspend(self) -> None: ...
    def wake(self) -> None: ...
    def leave(self, status: int, /) -> None: ...
    def write(self, data: bytes, /) -> None: ...


class Sockets:
    """With some of the processors that there may be."""

    def __init__(self, possible: int, plugged: int) -> None:
        self.possible, self.plugged = possible, frozenset(range(plugged))

    def ejected(self, index: int, /) -> None: ...
    def answered(self, index: int, status: int, /) -> None: ...
    def take_on(self, plugged: frozenset[int], /) -> None: ...


def tables(vcpus: int = 2, plugged: int = 1) -> dict[str, bytes]:
    """The pc board's tables by signature, found as a guest finds them."""
    memory, nobody = FlatMemory([(0xC0000, 0x40000)]), Nobody()
    around = Surroundings(
        buses=ScriptedVm(memory),
        memory=memory,
        clock=FakeClock(),
        console=nobody,
        control=nobody,
        sockets=Sockets(vcpus, plugged),
    )
    rsdp = PcBoard(around, memory_mib=512, vcpus=vcpus).write_tables()
    found = {"RSDP": memory.read(rsdp, 36)}
    rsdt, xsdt = struct.unpack_from("<I", found["RSDP"], 16)[0], struct.unpack_from("<Q", found["RSDP"], 24)[0]
    listed = list(struct.unpack_from("<2Q", memory.read(xsdt, 52), 36))
    fadt = memory.read(listed[0], 276)
    for at in (rsdt, xsdt, *listed, *struct.unpack_from("<II", fadt, 36)):
        head = memory.read(at, 8)
        found[head[:4].decode()] = memory.read(at, struct.unpack_from("<I", head, 4)[0])
    return found


def test_every_table_is_found_and_sums_to_zero() -> None:
    found = tables()

    assert set(found) == {"RSDP", "RSDT", "XSDT", "FACP", "FACS", "DSDT", "APIC"}
    assert {name: sum(data) & 0xFF for name, data in found.items() if name != "FACS"} == dict.fromkeys(
        set(found) - {"FACS"}, 0
    )
    assert sum(found["RSDP"][:20]) & 0xFF == 0
    assert found["RSDP"][:8] == b"RSD PTR "


def test_both_roots_list_the_same_tables() -> None:
    found = tables()

    assert list(struct.unpack_from("<2I", found["RSDT"], 36)) == list(struct.unpack_from("<2Q", found["XSDT"], 36))


@pytest.mark.parametrize("vcpus", [1, 2, 64])
def test_there_is_a_local_apic_for_each_vcpu(vcpus: int) -> None:
    found = tables(vcpus)

    assert found["APIC"].count(b"\x00\x08") >= vcpus
    apics, flags, at = [], [], 44
    while at < len(found["APIC"]):
        kind, length = found["APIC"][at : at + 2]
        if kind == 0:
            apics.append(found["APIC"][at + 3])
            flags.append(found["APIC"][at + 4])
        at += length
    assert apics == list(range(vcpus))
    assert flags == [1, *[2] * (vcpus - 1)]  # enabled; the others are online capable
    assert found["DSDT"].count(b"ACPI0007") == vcpus
    assert sum(len(data) for data in found.values()) < ACPI_TABLES[1]


@needs_iasl
@pytest.mark.parametrize("vcpus", [1, 2, 64])
@pytest.mark.parametrize("name", ["APIC", "DSDT", "FACP", "FACS", "RSDT", "XSDT"])
def test_iasl_takes_a_table_apart_and_puts_it_together_again(tmp_path: Path, name: str, vcpus: int) -> None:
    (tmp_path / f"{name}.aml").write_bytes(tables(vcpus)[name])

    apart = run_iasl(tmp_path, "-d", f"{name}.aml")
    together = run_iasl(tmp_path, "-we", f"{name}.dsl")

    assert "0 Errors, 0 Warnings" in together
    for complaint in ("Error", "Warning", "nvalid", "mismatch", "ncorrect"):
        assert complaint not in apart.replace("0 Errors, 0 Warnings", "")


@needs_iasl
def test_the_dsdt_says_what_it_said_before(tmp_path: Path) -> None:
    """Regenerate with INNKEEPER_SNAPSHOT=1 when it is meant to change."""
    (tmp_path / "DSDT.aml").write_bytes(tables()["DSDT"])
    run_iasl(tmp_path, "-d", "DSDT.aml")
    text = (tmp_path / "DSDT.dsl").read_text()

    if os.environ.get("INNKEEPER_SNAPSHOT"):
        SNAPSHOT.write_text(essence(text))
    assert essence(text) == SNAPSHOT.read_text()


def essence(text: str) -> str:
    """A disassembly less its dated head and the long list of interrupt routes."""
    lines = [line.rstrip() for line in text[text.index("DefinitionBlock") :].splitlines()]
    start = next(i for i, line in enumerate(lines) if "Name (_PRT" in line)
    end = next(i for i in range(start, len(lines)) if lines[i].endswith("})"))
    return "\n".join(lines[:start] + lines[end + 1 :]) + "\n"


def test_every_pin_of_every_slot_has_its_route() -> None:
    routes = tables()["DSDT"]

    for slot in range(32):
        for pin in range(4):
            address = aml.integer(slot << 16 | 0xFFFF)
            assert aml.package((address, pin, 0, 16 + (slot + pin) % 8)) in routes


def run_iasl(folder: Path, *arguments: str) -> str:
    assert iasl is not None
    done = subprocess.run([iasl, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("length", [0, 61, 62, 63, 64, 4092, 4093, 4094, 4095, 70000])
def test_package_lengths_count_themselves(length: int) -> None:
    term = aml.scope("AB", b"\0" * length)[1:]
    more = term[0] >> 6
    said = term[0] & 0x3F if not more else term[0] & 0xF | int.from_bytes(term[1 : 1 + more], "little") << 4

    assert said == len(term)


@pytest.mark.parametrize(
    ("value", "code"),
    [(0, "00"), (1, "01"), (2, "0a02"), (0x100, "0b0001"), (0x10000, "0c00000100"), (1 << 32, "0e0000000001000000")],
)
def test_integers_take_their_shortest_form(value: int, code: str) -> None:
    assert aml.integer(value).hex() == code


def test_what_aml_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 64 bits"):
        aml.integer(1 << 64)
    with pytest.raises(ValueError, match="more than four letters"):
        aml.path("TOOLONG")


def test_names_are_padded_and_joined() -> None:
    assert aml.path("A") == b"A___"
    assert aml.path("\\_SB.PCI0.ISA") == b"\\\x2f\x03_SB_PCI0ISA_"
