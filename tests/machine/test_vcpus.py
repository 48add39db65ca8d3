"""vCPUs that come and go on the real engines, with guests of a few instructions."""

import threading
from pathlib import Path

import pytest

from innkeeper.config import ConsoleConfig, ConsoleKind, EngineChoice, GdbConfig, MachineConfig
from innkeeper.errors import HostError
from innkeeper.machine import Machine, OutcomeKind
from innkeeper.testing.guests import HALT, SPIN, flat_guest, say
from tests.machine.conftest import RunImage

LIMIT_S = 60.0
# At 8000h, for the second vCPU: mov dx, 3F8h; mov al, 'a'; out dx, al; jmp $. Then: local APIC on; mov dx, AD04h;
# again: in eax, dx; test al, 2; jz again; mov eax, 2; out dx, eax; ICR high = 1; INIT; SIPI to page 8;
# wait: in eax, dx; test al, 4; jz wait; mov eax, 8; out dx, eax; jmp again
STARTS_AND_EJECTS = bytes.fromhex(
    "c70500800000baf803b0 c7050480000061eeebfe c705f000e0feff010000 66ba04ad"
    "eda80274fb b802000000ef c7051003e0fe00000001 c7050003e0fe00450000 c7050003e0fe08460000"
    "eda80474fb b808000000ef ebca"
)
# INIT and SIPI to all others, then the same again and again
CALLS_EVERYBODY = bytes.fromhex(
    "c70500800000baf803b0 c7050480000061eeebfe c705f000e0feff010000 c7050003e0fe00450c00 c7050003e0fe08460c00 ebea"
)
# mov dx, AD04h; again: mov eax, 8; out dx, eax; jmp again
EJECTS = bytes.fromhex("66ba04ad b808000000ef ebf8")


@pytest.fixture
def run(run_image: RunImage) -> RunImage:
    """Machines whose kernel is nothing but some code."""
    return lambda code, **changes: run_image(flat_guest(code), **({"timeout_s": LIMIT_S} | changes))


def there(machine: Machine) -> list[int]:
    return [vcpu["number"] for vcpu in machine.live.figures()["vcpus"]]


def threads() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("vcpu-"))


def ran(machine: Machine) -> list[int]:
    """How much each vCPU has done, in the engine's own measure."""
    measures = ("instructions", "blocks", "host_entries")
    return [sum(ledger.get(name, 0) for name in measures) for ledger in machine.statistics()["vcpus"]]


def test_a_vcpu_starts_anew_each_time_that_it_comes(run: RunImage) -> None:
    machine, console = run(STARTS_AND_EJECTS, max_vcpus=2)
    for _ in range(10):
        machine.live.set_vcpus(2)
        console.wait_for(b"a", timeout_s=LIMIT_S)
        assert there(machine) == [0, 1]
        machine.live.set_vcpus(1)
        assert there(machine) == [0]
    assert console.output == b"a" * 10


def test_one_that_is_not_there_has_no_thread_and_starts_at_no_call(run: RunImage) -> None:
    machine, console = run(CALLS_EVERYBODY, vcpus=2, max_vcpus=4)
    console.wait_for(b"a", timeout_s=LIMIT_S)
    assert threads() == ["vcpu-0", "vcpu-1"]
    assert machine.live.figures()["vcpus_maximum"] == 4
    while ran(machine)[1] == 0:  # it counts when it comes out of its loop
        assert machine.running
    assert ran(machine)[2:] == [0, 0]
    machine.live.set_vcpus(3)
    assert threads() == ["vcpu-0", "vcpu-1", "vcpu-2"]


def test_those_that_are_not_there_keep_no_machine_alive(run: RunImage) -> None:
    machine, _ = run(HALT, max_vcpus=8)
    assert machine.wait(LIMIT_S).kind is OutcomeKind.HALTED


def test_a_guest_that_always_ejects_harms_nobody(run: RunImage) -> None:
    machine, _ = run(EJECTS, max_vcpus=2)
    for _ in range(100):
        machine.live.set_vcpus(2)
        while there(machine) != [0]:
            pass
    assert machine.running


def test_a_guest_that_gives_none_back_loses_them_at_the_reset(run: RunImage) -> None:
    machine, _ = run(SPIN, vcpus=3, max_vcpus=4)
    sockets = machine.live.there().sockets
    with pytest.raises(HostError, match="has not given vCPUs 1, 2 back"):
        sockets.set_count(1, patience_s=0.01)
    machine.reset()
    while there(machine) != [0]:
        assert machine.running
    machine.live.set_vcpus(4)
    machine.reset()
    while machine.statistics()["resets"] < 2:
        assert machine.running
    machine.live.set_vcpus(4)  # which waits for the board
    assert there(machine) == [0, 1, 2, 3]


def test_a_machine_that_stands_still_says_so(run: RunImage) -> None:
    machine, console = run(say(b"x") + SPIN, max_vcpus=2)
    console.wait_for(b"x", timeout_s=LIMIT_S)
    machine.suspend()
    with pytest.raises(HostError, match="stands still"):
        machine.live.set_vcpus(2)
    machine.resume()
    machine.live.set_vcpus(2)
    assert there(machine) == [0, 1]


def test_gdb_finds_those_that_there_are(tmp_path: Path) -> None:
    kernel = tmp_path / "kernel"
    kernel.write_bytes(flat_guest(SPIN))
    config = MachineConfig(
        kernel=kernel,
        memory_mib=16,
        engine=EngineChoice.INTERP,
        vcpus=2,
        max_vcpus=4,
        gdb=GdbConfig(path=tmp_path / "gdb"),
        console=ConsoleConfig(kind=ConsoleKind.NONE),
        timeout_s=LIMIT_S,
    )
    with Machine(config) as machine:
        machine.start()
        with pytest.raises(HostError, match="that gdb may have stopped; start it without --gdb"):
            machine.live.set_vcpus(1)
        assert there(machine) == [0, 1]
