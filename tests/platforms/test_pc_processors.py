"""Processors of the pc board that come and go: what a guest is told, and its registers as ACPI's methods use them."""

import struct
from collections.abc import Callable

import pytest
from tests.platforms.test_pc import Outside

from innkeeper.devices import cpu_hotplug
from innkeeper.errors import ConfigError, HostError
from innkeeper.firmware.acpi import processors as described
from innkeeper.machine.vcpu_sockets import VcpuSockets
from innkeeper.memory import FlatMemory
from innkeeper.platforms import KeptState, PcBoard, Surroundings
from innkeeper.platforms.pc import PORTS
from innkeeper.testing import FakeClock, ScriptedVm

BASE = PORTS["cpu hotplug"][0]
GPE_STATUS, GPE_ENABLE, EVENT = 0x60C, 0x60E, 1 << 2
SCI = 9
ARRIVED, WANTED, EJECT = 2, 4, 8
THERE, MAY_COME = 1, 2  # in the MADT
BUSY = 0x10 | 3 << 8 | 0x82 << 16


class Threads:
    """That run nothing."""

    def __init__(self) -> None:
        self.running, self.paused = {0, 1}, False

    def plug(self, index: int, prepare: Callable[[], None], /) -> bool:
        if not self.paused:
            prepare()
            self.running.add(index)
        return not self.paused

    def unplug(self, index: int, /) -> None:
        self.running.discard(index)

    def wait_for_end(self, index: int, /) -> None:
        assert index not in self.running


class Rig:
    """A board with two of four processors."""

    def __init__(self) -> None:
        self.memory = FlatMemory([(0, 0xA0000), (0xC0000, 0x40000)])
        self.vm, self.threads = ScriptedVm(self.memory, [[]] * 4), Threads()
        self.sockets, self.powered_on = VcpuSockets(4, 2), list[int]()
        self.build(None)

    def build(self, kept: KeptState | None) -> None:
        outside = Outside()
        around = Surroundings(
            buses=self.vm,
            memory=self.memory,
            clock=FakeClock(),
            console=outside,
            control=outside,
            sockets=self.sockets,
        )
        self.board = PcBoard(around, memory_mib=512, vcpus=4, kept=kept)
        self.sockets.connect(self.vm, self.powered_on.append, self.board.processors.registers)
        self.sockets.begin(self.threads)

    def reset(self, *, sleeps: bool = False) -> None:
        kept = self.board.kept_over_sleep() if sleeps else self.board.kept_over_reset()
        self.sockets.disconnect()
        self.board.unplug()
        if not sleeps:
            self.sockets.power_on()
            self.vm.unplugged.clear()
        self.build(kept)

    def word(self, index: int) -> int:
        return self.vm.ports.read(BASE + 4 * index, 4)

    def write(self, index: int, value: int) -> None:
        self.vm.ports.write(BASE + 4 * index, 4, value)

    def event(self) -> bool:
        """Whether the guest was told to look; then it has."""
        status = self.vm.ports.read(GPE_STATUS, 2)
        self.vm.ports.write(GPE_STATUS, 2, status)
        return bool(status & EVENT)

    def madt(self) -> list[int]:
        """The flags of each local APIC."""
        rsdp = self.board.write_tables()
        xsdt = struct.unpack_from("<Q", self.memory.read(rsdp, 36), 24)[0]
        _, madt = struct.unpack_from("<2Q", self.memory.read(xsdt, 52), 36)
        table = self.memory.read(madt, struct.unpack_from("<I", self.memory.read(madt, 8), 4)[0])
        assert sum(table) & 0xFF == 0
        return [struct.unpack_from("<I", table, 44 + 8 * index + 4)[0] for index in range(4)]

    def counted(self) -> int:
        """By firmware."""
        self.vm.ports.write(0x510, 2, 0x0005)
        low, high = (self.vm.ports.read(0x511, 1) for _ in range(2))
        self.vm.ports.write(0x70, 1, 0x5F)
        assert self.vm.ports.read(0x71, 1) < (low | high << 8)
        return low | high << 8


def test_the_chip_and_the_methods_mean_the_same_bits() -> None:
    for name in ("PLUGGED", "ARRIVED", "WANTED", "EJECT", "OUTCOME", "EVENT_SHIFT", "STATUS_SHIFT"):
        assert getattr(cpu_hotplug, name) == getattr(described, name)


def test_those_that_may_come_are_described_and_not_there() -> None:
    rig = Rig()
    assert rig.madt() == [THERE, THERE, MAY_COME, MAY_COME]
    assert [rig.word(index) for index in range(5)] == [1, 1, 0, 0, 0]
    assert rig.vm.unplugged == {2, 3}
    assert rig.counted() == 2


def test_a_processor_that_comes_is_reset_announced_and_interrupts_the_guest() -> None:
    rig = Rig()
    rig.vm.ports.write(GPE_ENABLE, 2, EVENT)
    rig.sockets.set_count(3)
    assert rig.vm.gsis[SCI]
    assert rig.event()
    assert (rig.word(2), rig.word(3)) == (1 | ARRIVED, 0)
    assert (rig.vm.unplugged, rig.powered_on, rig.threads.running) == ({3}, [2], {0, 1, 2})
    assert rig.madt() == [THERE, THERE, THERE, MAY_COME]
    assert rig.counted() == 3


def test_a_guest_gives_back_what_it_is_asked_for() -> None:
    rig = Rig()
    with pytest.raises(HostError, match="has not given vCPUs 1 back within 0 s; it may do so later"):
        rig.sockets.set_count(1, patience_s=0)
    assert rig.event()
    assert rig.word(1) == 1 | WANTED
    rig.write(1, WANTED)
    assert rig.word(1) == 1
    rig.write(1, EJECT)
    assert rig.sockets.plugged == rig.threads.running == {0}
    assert rig.word(1) == 0
    rig.sockets.left(1)  # as its thread says
    assert rig.vm.unplugged == {1, 2, 3}
    rig.sockets.set_count(2)
    assert (rig.word(1), rig.powered_on) == (1 | ARRIVED, [1])


def test_a_refusal_is_told_at_once() -> None:
    rig = Rig()
    ask, told = rig.sockets._registers, []

    class Eager:
        """A guest that answers before it is waited for."""

        def ask(self, index: int, /) -> None:
            told.append(index)
            assert ask is not None
            ask.ask(index)
            rig.write(index, BUSY | WANTED)

        def announce(self, index: int, /) -> None: ...
        def withdraw(self, index: int, /) -> None: ...

    rig.sockets._registers = Eager()
    with pytest.raises(HostError, match="the guest keeps vCPU 1, which it says is in use"):
        rig.sockets.set_count(1, patience_s=60)
    assert rig.sockets.plugged == {0, 1}
    assert (told, rig.word(1)) == ([1], 1)


def test_a_request_is_taken_back() -> None:
    rig = Rig()
    with pytest.raises(HostError, match="may do so later"):
        rig.sockets.set_count(1, patience_s=0)
    rig.sockets.set_count(2)
    assert rig.word(1) == 1
    rig.reset()
    assert rig.sockets.plugged == {0, 1}


@pytest.mark.parametrize("index", [0, 2, 3, 4, 63])
def test_what_stays_or_is_not_there_cannot_be_ejected(index: int) -> None:
    rig = Rig()
    rig.write(index, EJECT)
    assert rig.sockets.plugged == rig.threads.running == {0, 1}


def test_a_reset_keeps_those_that_are_there_and_takes_what_was_asked_for() -> None:
    rig = Rig()
    rig.sockets.set_count(4)
    rig.reset()
    assert rig.madt() == [THERE] * 4
    assert [rig.word(index) for index in range(4)] == [1] * 4  # nothing is news to a guest that starts
    with pytest.raises(HostError, match="vCPUs 2, 3 back"):
        rig.sockets.set_count(2, patience_s=0)
    rig.reset()
    assert (rig.madt(), rig.vm.unplugged) == ([THERE, THERE, MAY_COME, MAY_COME], {2, 3})
    assert not rig.event()


def test_a_guest_that_sleeps_hears_of_changes_when_it_wakes() -> None:
    rig = Rig()
    rig.sockets.set_count(3)
    rig.write(2, ARRIVED)
    with pytest.raises(HostError, match="vCPUs 2 back"):
        rig.sockets.set_count(2, patience_s=0)
    rig.sockets.set_count(4)
    rig.reset(sleeps=True)
    assert rig.event()
    assert [rig.word(index) & ~1 for index in range(4)] == [0, 0, 0, ARRIVED]
    assert rig.vm.unplugged == set()


def test_numbers_that_cannot_be_are_refused() -> None:
    rig = Rig()
    for count in (-1, 0, 5):
        with pytest.raises(ConfigError, match=f"{count} vCPUs are asked for; the machine was started with room for 4"):
            rig.sockets.set_count(count)
    rig.threads.paused = True
    with pytest.raises(HostError, match="stands still; inn resume"):
        rig.sockets.set_count(3)
    assert rig.sockets.plugged == {0, 1}
    fixed = VcpuSockets(2, 2, fixed=True)
    fixed.set_count(2)
    with pytest.raises(HostError, match="cannot change the vCPUs of a machine that gdb"):
        fixed.set_count(1)


def test_a_machine_that_is_restored_has_the_processors_that_it_had() -> None:
    rig, other = Rig(), Rig()
    rig.sockets.set_count(4)
    rig.write(1, EJECT)
    registers, others = rig.board.processors.registers, other.board.processors.registers
    assert registers is not None and others is not None  # noqa: PT018
    others.restore(registers.state())
    assert other.sockets.plugged == {0, 2, 3}
    assert other.vm.unplugged == {1}
    with pytest.raises(ValueError, match="vCPUs 1 are plugged in; it must be 0 and others below 4"):
        others.restore(registers.state() | {"plugged": 2})


def test_a_board_with_one_processor_has_no_registers() -> None:
    outside, memory = Outside(), FlatMemory([(0, 0xA0000), (0xC0000, 0x40000)])
    vm = ScriptedVm(memory)
    around = Surroundings(
        buses=vm, memory=memory, clock=FakeClock(), console=outside, control=outside, sockets=VcpuSockets(1, 1)
    )
    board = PcBoard(around, memory_mib=512, vcpus=1)
    assert "cpu hotplug" not in board.devices_by_name()
    assert vm.ports.read(BASE, 4) == 0xFFFF_FFFF
    board.unplug()
    assert vm.ports.regions() == []
