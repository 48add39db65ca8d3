"""Whole machines on the real engines: each boot protocol's state at the entry point, resets, typing."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from innkeeper.config import ConsoleConfig, ConsoleKind, EngineChoice, MachineConfig
from innkeeper.console import MemoryConsole
from innkeeper.engine import bt_unavailable, kvm_probe
from innkeeper.errors import ConfigError
from innkeeper.machine import Machine, OutcomeKind
from innkeeper.testing.guests import CRASH, POWER_OFF, SPIN, flat_guest, say
from tests.firmware.conftest import MIB, bzimage, elf64, multiboot_header, pvh_note

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

Run = Callable[..., tuple[Machine, MemoryConsole]]


@cache
def kvm_is_usable() -> str:
    """Empty if so, else why not."""
    probe = kvm_probe()
    return "" if probe["usable"] else str(probe["why"])


@pytest.fixture(params=[EngineChoice.BT, EngineChoice.INTERP, EngineChoice.KVM])
def engine(request: pytest.FixtureRequest) -> EngineChoice:
    choice: EngineChoice = request.param
    if choice is EngineChoice.KVM and kvm_is_usable():
        pytest.skip(f"KVM cannot be used here: {kvm_is_usable()}")
    if choice is EngineChoice.BT and (unavailable := bt_unavailable()) is not None:
        pytest.skip(f"binary translation cannot be used here: {unavailable}")
    return choice


@pytest.fixture
def run(engine: EngineChoice, tmp_path: Path) -> Iterator[Run]:
    machines = []

    def start(image: bytes, **changes: object) -> tuple[Machine, MemoryConsole]:
        kernel = tmp_path / "kernel"
        kernel.write_bytes(image)
        values: dict[str, object] = {
            "kernel": kernel,
            "append": "console=ttyS0",
            "memory_mib": 16,
            "engine": engine,
            "console": ConsoleConfig(kind=ConsoleKind.MEMORY),
            "timeout_s": LIMIT_S,
            **changes,
        }
        console = MemoryConsole()
        machine = Machine(MachineConfig(**values), console=console)  # type: ignore[arg-type]
        machines.append(machine)
        machine.start()
        return machine, console

    yield start
    for machine in machines:
        machine.close()


@pytest.mark.parametrize("protocol", KERNELS)
def test_a_kernel_finds_what_its_protocol_promises(run: Run, protocol: str) -> None:
    image, words = KERNELS[protocol]

    machine, console = run(image)

    assert machine.wait().kind is OutcomeKind.POWERED_OFF
    assert console.output == words


def test_typing_a_reset_and_typing_again(run: Run) -> None:
    machine, console = run(flat_guest(ECHO))

    console.send(b"abr")
    console.wait_for(b"abr", timeout_s=LIMIT_S)
    while machine.statistics()["resets"] == 0:
        assert machine.running
    console.send(b"cp")

    assert machine.wait().kind is OutcomeKind.POWERED_OFF
    assert console.output == b"abrcp"


def test_where_nothing_is_reads_as_ones(run: Run) -> None:
    machine, console = run(flat_guest(ECHO))

    console.send(b"xp")

    assert machine.wait().kind is OutcomeKind.POWERED_OFF
    assert console.output == b"xFp"


def test_a_triple_fault_resets_unless_told_otherwise(run: Run) -> None:
    machine, console = run(flat_guest(say(b"once ") + CRASH), no_reboot=True)

    assert machine.wait().kind is OutcomeKind.TRIPLE_FAULT
    assert console.output == b"once "


def test_a_triple_fault_starts_the_guest_over(run: Run) -> None:
    machine, console = run(flat_guest(say(b".") + CRASH))
    console.wait_for(b"...", timeout_s=LIMIT_S)

    machine.stop()

    assert machine.wait().kind is OutcomeKind.STOPPED
    assert machine.statistics()["resets"] >= 2


def test_a_guest_that_spins_with_interrupts_off_ends_at_its_time(run: Run) -> None:
    machine, _ = run(flat_guest(SPIN), timeout_s=0.2)

    assert machine.wait().kind is OutcomeKind.TIMEOUT


def test_other_vcpus_wait_until_they_are_called(run: Run) -> None:
    machine, console = run(flat_guest(say(b"alone") + POWER_OFF), vcpus=3)

    assert machine.wait().kind is OutcomeKind.POWERED_OFF
    assert console.output == b"alone"


def test_the_ledger_counts_ports(run: Run) -> None:
    machine, _ = run(flat_guest(say(b"12345") + POWER_OFF))
    machine.wait()

    ledger = machine.statistics()

    assert ledger["vcpus"][0]["ports"]["out 0x3f8"] == 5
    assert ledger["vcpus"][0]["ports"]["out 0x604"] == 1


@pytest.mark.parametrize("memory_mib", [0, 1, 10**9])
def test_memory_that_cannot_be_is_refused(run: Run, memory_mib: int) -> None:
    with pytest.raises(ConfigError, match=f"memory is {memory_mib} MiB"):
        run(flat_guest(SPIN), memory_mib=memory_mib)


def test_memory_above_the_hole_is_there(run: Run) -> None:
    machine, _ = run(flat_guest(POWER_OFF), memory_mib=8192)

    assert machine.wait().kind is OutcomeKind.POWERED_OFF
