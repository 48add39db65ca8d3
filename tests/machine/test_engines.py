"""Whole machines on the real engines: each boot protocol's state at the entry point, resets, typing."""

import pytest

from innkeeper.errors import ConfigError
from innkeeper.machine import OutcomeKind
from innkeeper.testing.guests import CRASH, POWER_OFF, SPIN, flat_guest, say
from tests.firmware.conftest import MIB, bzimage, elf64, multiboot_header, pvh_note
from tests.machine.conftest import RunImage

LIMIT_S = 30.0
START = MIB + 0x100

# What each guest does in its own words: say one letter of each thing that its protocol hands over, load
# the segment registers again from the GDT, say "!", power off.
LINUX = bytes.fromhex(
    # the header's "HdrS" (from RSI), the command line, the RSDP
    "baf80300008a8605020000ee8b9e280200008a03ee488b5e708a03eeb8180000008ed88ed0bc008000006a10488d05030000005048cbb021baf8030000eeba04060000b80034000066efebfe"
)
PVH = bytes.fromhex(
    # the start info's magic (from EBX), the command line, the RSDP
    "baf80300008b03ee8b4b188a01ee8b4b208a01eeb8180000008ed88ed0bc00800000e8000000005883c0086a1050cbb021baf8030000eeba04060000b80034000066efebfe"
)
MULTIBOOT = bytes.fromhex(
    # the loader's magic (in EAX, plus "0"), the command line (from EBX)
    "baf80300000430ee8b4b108a01eeb8180000008ed88ed0bc00800000e8000000005883c0086a1050cbb021baf8030000eeba04060000b80034000066efebfe"
)
# Echoes what is typed; then "p" powers off, "r" resets, "x" touches ports and memory where nothing is.
ECHO = bytes.fromhex(
    "bafd030000eca80174fbbaf8030000ecee3c7074263c7274303c7875e3ba99990000edefa1000000d0a3000000d04075cfb046baf8030000eeebc5ba04060000b80034000066efebfebaf90c0000b006eeebfe"
)

KERNELS = {
    "linux": (bzimage(bytes(0x200) + LINUX.ljust(0xE00, b"\0")), b"ScR!"),
    "pvh": (elf64([(MIB, bytes(0x100) + PVH, 0x1000)], note=pvh_note(START)), b"xcR!"),
    "multiboot": (elf64([(MIB, multiboot_header().ljust(0x100, b"\0") + MULTIBOOT, 0x1000)], START), b"2/!"),
}


@pytest.fixture
def run(run_image: RunImage) -> RunImage:
    """Machines whose kernel hears of their serial port."""
    return lambda image, **changes: run_image(image, **({"append": "console=ttyS0", "timeout_s": LIMIT_S} | changes))


@pytest.mark.parametrize("protocol", KERNELS)
def test_a_kernel_finds_what_its_protocol_promises(run: RunImage, protocol: str) -> None:
    image, words = KERNELS[protocol]

    machine, console = run(image)

    assert machine.wait().kind is OutcomeKind.POWERED_OFF
    assert console.output == words


def test_typing_a_reset_and_typing_again(run: RunImage) -> None:
    machine, console = run(flat_guest(ECHO))

    console.send(b"abr")
    console.wait_for(b"abr", timeout_s=LIMIT_S)
    while machine.statistics()["resets"] == 0:
        assert machine.running
    console.send(b"cp")

    assert machine.wait().kind is OutcomeKind.POWERED_OFF
    assert console.output == b"abrcp"


def test_where_nothing_is_reads_as_ones(run: RunImage) -> None:
    machine, console = run(flat_guest(ECHO))

    console.send(b"xp")

    assert machine.wait().kind is OutcomeKind.POWERED_OFF
    assert console.output == b"xFp"


def test_a_triple_fault_resets_unless_told_otherwise(run: RunImage) -> None:
    machine, console = run(flat_guest(say(b"once ") + CRASH), no_reboot=True)

    assert machine.wait().kind is OutcomeKind.TRIPLE_FAULT
    assert console.output == b"once "


def test_a_triple_fault_starts_the_guest_over(run: RunImage) -> None:
    machine, console = run(flat_guest(say(b".") + CRASH))
    console.wait_for(b"...", timeout_s=LIMIT_S)

    machine.stop()

    assert machine.wait().kind is OutcomeKind.STOPPED
    assert machine.statistics()["resets"] >= 2


def test_a_guest_that_spins_with_interrupts_off_ends_at_its_time(run: RunImage) -> None:
    machine, _ = run(flat_guest(SPIN), timeout_s=0.2)

    assert machine.wait().kind is OutcomeKind.TIMEOUT


def test_other_vcpus_wait_until_they_are_called(run: RunImage) -> None:
    machine, console = run(flat_guest(say(b"alone") + POWER_OFF), vcpus=3)

    assert machine.wait().kind is OutcomeKind.POWERED_OFF
    assert console.output == b"alone"


def test_the_ledger_counts_ports(run: RunImage) -> None:
    machine, _ = run(flat_guest(say(b"12345") + POWER_OFF))
    machine.wait()

    ledger = machine.statistics()

    assert ledger["vcpus"][0]["ports"]["out 0x3f8"] == 5
    assert ledger["vcpus"][0]["ports"]["out 0x604"] == 1


@pytest.mark.parametrize("memory_mib", [0, 1, 10**9])
def test_memory_that_cannot_be_is_refused(run: RunImage, memory_mib: int) -> None:
    with pytest.raises(ConfigError, match=f"memory is {memory_mib} MiB"):
        run(flat_guest(SPIN), memory_mib=memory_mib)


def test_memory_above_the_hole_is_there(run: RunImage) -> None:
    machine, _ = run(flat_guest(POWER_OFF), memory_mib=8192)

    assert machine.wait().kind is OutcomeKind.POWERED_OFF
