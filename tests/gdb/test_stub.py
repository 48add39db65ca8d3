"""gdb's commands, against a machine that stands still."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.gdb import Stopped, Watching, WatchKind
from innkeeper.gdb import registers as regs
from innkeeper.gdb.stub import Stub
from innkeeper.testing.engine import reset_state

if TYPE_CHECKING:
    from innkeeper._core import CpuState


class Still:
    """A target of two vCPUs and 4 KiB at 1000h that notes what is asked of it."""

    def __init__(self) -> None:
        self.states = [reset_state(), reset_state()]
        self.memory = bytearray(4096)
        self.asked: list[object] = []

    def vcpus(self) -> int:
        return 2

    def state(self, vcpu: int, /) -> CpuState:
        return deepcopy(self.states[vcpu])

    def set_state(self, vcpu: int, state: CpuState, /) -> None:
        self.states[vcpu] = state

    def read(self, vcpu: int | None, gva: int, length: int, /) -> bytes:
        if vcpu is None:
            return b"physical"[:length]
        return bytes(self.memory[gva - 0x1000 :][:length]) if 0x1000 <= gva < 0x2000 else b""

    def write(self, _vcpu: int | None, gva: int, data: bytes, /) -> bool:
        if not 0x1000 <= gva <= 0x2000 - len(data):
            return False
        self.memory[gva - 0x1000 : gva - 0x1000 + len(data)] = data
        return True

    def set_stops(self, breakpoints: frozenset[int], watches: frozenset[Watching], /) -> None:
        self.asked.append((breakpoints, watches))

    def resume(self, stepping: int | None, /) -> None:
        self.asked.append(("resume", stepping))

    def interrupt(self) -> None:
        self.asked.append("interrupt")

    def stopped(self) -> Stopped | None:
        return Stopped(1, "breakpoint")

    def ended(self) -> bool:
        return False

    def watch(self, changed: Callable[[], None] | None, /) -> None: ...
    def reset(self) -> None:
        self.asked.append("reset")

    def kill(self) -> None:
        self.asked.append("kill")


@pytest.fixture
def target() -> Still:
    return Still()


@pytest.fixture
def stub(target: Still) -> Stub:
    return Stub(target)


def test_the_description_has_every_register_once_and_in_order() -> None:
    root = ET.fromstring(regs.description().partition("<target>")[1] + regs.description().partition("<target>")[2])
    found = [(reg.get("name"), int(reg.get("regnum", "-1"))) for reg in root.iter("reg")]
    assert found == [(register.name, number) for number, register in enumerate(regs.REGISTERS)]
    assert len({name for name, _ in found}) == len(found)


def test_registers_can_be_read_together_and_written_one_by_one(stub: Stub, target: Still) -> None:
    names = [register.name for register in regs.REGISTERS]
    for name, value in (("rbx", 0x1122334455667788), ("rip", 0xFFF0), ("xmm3", 1 << 100), ("cr3", 0x5000)):
        register = regs.REGISTERS[names.index(name)]
        packet = f"P{names.index(name):x}={value.to_bytes(register.size, 'little').hex()}"
        assert stub.answer(packet.encode()) == b"OK"
        assert stub.answer(f"p{names.index(name):x}".encode()) == value.to_bytes(register.size, "little").hex().encode()
    everything = stub.answer(b"g")
    assert everything is not None
    assert len(everything) == 2 * sum(register.size for register in regs.REGISTERS)
    assert stub.answer(b"G" + everything) == b"OK"
    assert target.states[0]["gpr"][3] == 0x1122334455667788
    assert stub.answer(f"P{names.index('cs'):x}=10000000".encode()) == b"E16"


def test_the_upper_halves_are_zero_in_their_initial_state() -> None:
    state, ymm = reset_state(), next(register for register in regs.REGISTERS if register.name == "ymm2h")
    state["xsave"] = bytes(512) + bytes(64) + b"\xff" * 256
    assert regs.read(state, ymm) == 0
    assert regs.write(state, ymm, 5)
    assert regs.read(state, ymm) == 5


def test_memory_goes_both_ways_as_far_as_it_is_mapped(stub: Stub) -> None:
    assert stub.answer(b"M1010,2:abcd") == b"OK"
    assert stub.answer(b"X1012,2:\x01}") == b"OK"
    assert stub.answer(b"m1010,4") == b"abcd017d"
    assert stub.answer(b"m1ffe,8") == b"0000"
    assert stub.answer(b"m9000,4") == b"E0e"
    assert stub.answer(b"M1fff,2:abcd") == b"E0e"
    assert stub.answer(b"M1010,3:abcd") == b"E16"


def test_memory_can_be_read_by_physical_address(stub: Stub) -> None:
    assert stub.answer(b"qqemu.PhyMemMode") == b"0"
    assert stub.answer(b"Qqemu.PhyMemMode:1") == b"OK"
    assert stub.answer(b"qqemu.PhyMemMode") == b"1"
    assert stub.answer(b"m9000,4") == b"phys".hex().encode()
    assert stub.answer(b"Qqemu.PhyMemMode:0") == b"OK"
    assert stub.answer(b"m9000,4") == b"E0e"


def test_breakpoints_and_watches_are_passed_on_as_a_whole(stub: Stub, target: Still) -> None:
    assert stub.answer(b"Z1,1000,1") == b"OK"
    assert stub.answer(b"Z3,1800,8") == b"OK"
    assert target.asked[-1] == (frozenset({0x1000}), frozenset({Watching(0x1800, 8, WatchKind.READ)}))
    assert stub.stop_reply(Stopped(1, "read 0x1800")) == b"T05thread:2;rwatch:1800;"
    assert stub.answer(b"z1,1000,1") == b"OK"
    assert stub.answer(b"z3,1800,8") == b"OK"
    assert target.asked[-1] == (frozenset(), frozenset())
    assert stub.answer(b"Z9,0,1") == b""


def test_breakpoints_are_limited(stub: Stub) -> None:
    answers = [stub.answer(f"Z1,{at:x},1".encode()) for at in range(4100)]
    assert (answers[4095], answers[4096]) == (b"OK", b"E16")


@pytest.mark.parametrize(
    ("packet", "stepping"), [(b"c", None), (b"s", 0), (b"vCont;c", None), (b"vCont;s:2;c", 1), (b"vCont;C05", None)]
)
def test_going_on(stub: Stub, target: Still, packet: bytes, stepping: int | None) -> None:
    assert stub.answer(packet) is None
    assert target.asked == [("resume", stepping)]


def test_threads_are_vcpus(stub: Stub) -> None:
    assert stub.answer(b"qfThreadInfo") == b"m1,2"
    assert stub.answer(b"Hg2") == b"OK"
    assert stub.answer(b"qC") == b"QC2"
    assert stub.answer(b"Hg3") == b"E16"
    assert stub.answer(b"T3") == b"E16"
    assert stub.answer(b"?") == b"T05thread:2;hwbreak:;"
    words = stub.answer(b"qThreadExtraInfo,2")
    assert words is not None
    assert bytes.fromhex(words.decode()) == b"vCPU 1, runnable"


def test_the_description_comes_in_pieces(stub: Stub) -> None:
    first = stub.answer(b"qXfer:features:read:target.xml:0,100") or b""
    rest = stub.answer(b"qXfer:features:read:target.xml:100,ffff") or b""
    assert (first[:1], rest[:1]) == (b"m", b"l")
    assert (first[1:] + rest[1:]).decode() == regs.description()


def test_monitor_answers_in_words(stub: Stub, target: Still) -> None:
    def say(words: str) -> str:
        return bytes.fromhex((stub.answer(b"qRcmd," + words.encode().hex().encode()) or b"").decode()).decode()

    assert "cr0" in say("info registers")
    assert "vCPU 1: rip 0xfff0" in say("info vcpus")
    assert "no such command: 'dance'" in say("dance")
    say("system_reset")
    assert target.asked == ["reset"]


@given(st.binary(max_size=60))
def test_no_packet_raises(packet: bytes) -> None:
    Stub(Still()).answer(packet)


@given(
    st.sampled_from(["m", "M", "X", "Z", "z", "P", "p", "H", "T", "vCont;s:", "qXfer:"]),
    st.text("0123456789abcdef,:;=-", max_size=40),
)
def test_no_half_right_packet_raises(command: str, rest: str) -> None:
    Stub(Still()).answer((command + rest).encode())


def test_leaving_takes_the_stops_away_and_lets_go(stub: Stub, target: Still) -> None:
    stub.answer(b"Z1,1000,1")
    stub.leave()
    assert target.asked[-2:] == [(frozenset(), frozenset()), ("resume", None)]
