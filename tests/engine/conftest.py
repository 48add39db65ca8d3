"""Machines of a few bytes, under every engine."""

import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest

from innkeeper import _core

Start = Callable[[str], None]
Run = Callable[[_core.Vcpu], tuple[str, str]]

CODE = 0x1000
HANDLER = 0x2000
GDT = 0x4000
IDT = 0x5000
STACK = 0x8000
RAM = 0xA0000  # the conventional 640 KiB

CODE_32 = 0xC09B
DATA_32 = 0xC093
RESCUE_SECONDS = 10.0


@cache
def probe() -> dict[str, Any]:
    return _core.kvm_probe()


@pytest.fixture
def kvm_probe() -> dict[str, Any]:
    return probe()


@pytest.fixture(params=["bt", "interp", "kvm"])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "kvm" and not probe()["usable"]:
        pytest.skip(f"KVM cannot be used here: {probe()['why']}")
    if name == "bt" and (unavailable := _core.bt_unavailable()) is not None:
        pytest.skip(f"binary translation cannot be used here: {unavailable}")
    return name


@pytest.fixture
def memory() -> _core.Memory:
    return _core.Memory([(0, RAM)])


@pytest.fixture
def vm(engine: str, memory: _core.Memory) -> _core.Vm:
    return _core.Vm(engine, memory, 1)


@pytest.fixture
def vcpu(vm: _core.Vm) -> _core.Vcpu:
    return vm.vcpu(0)


@pytest.fixture
def start_real(vcpu: _core.Vcpu, memory: _core.Memory) -> Start:
    """Puts the vCPU in real mode at the code given in hexadecimal, all segments at 0."""

    def start(code: str) -> None:
        memory.write(CODE, bytes.fromhex(code))
        state = vcpu.get_state()
        for segment in state["segments"]:
            segment["selector"] = segment["base"] = 0
        state["rip"] = CODE
        state["gpr"][4] = STACK
        vcpu.set_state(state)

    return start


@pytest.fixture
def start_protected(memory: _core.Memory) -> Callable[[_core.Vcpu, str], None]:
    """Puts a vCPU in flat 32-bit protected mode, without paging; vector 0x40 leads to `HANDLER`."""

    def start(vcpu: _core.Vcpu, code: str) -> None:
        memory.write(CODE, bytes.fromhex(code))
        memory.write(GDT + 8, 0x00CF9B00_0000FFFF.to_bytes(8, "little") + 0x00CF9300_0000FFFF.to_bytes(8, "little"))
        memory.write(IDT + 8 * 0x40, (0x8E00_0008_0000 | HANDLER).to_bytes(8, "little"))
        state = vcpu.get_state()
        for number, segment in enumerate(state["segments"]):
            is_code = number == 1
            segment["selector"] = 8 if is_code else 16
            segment["attributes"] = CODE_32 if is_code else DATA_32
            segment["limit"], segment["base"] = 0xFFFFFFFF, 0
        state["gdtr"] = {"base": GDT, "limit": 0x17}
        state["idtr"] = {"base": IDT, "limit": 0x7FF}
        state["cr0"] = 0x11
        state["rip"] = CODE
        state["gpr"][4] = STACK
        vcpu.set_state(state)

    return start


@pytest.fixture
def run() -> Run:
    """Runs a vCPU; should it never come back, a kick makes the test fail instead of hang."""

    def run(vcpu: _core.Vcpu) -> tuple[str, str]:
        rescue = threading.Timer(RESCUE_SECONDS, vcpu.kick)
        rescue.start()
        try:
            return vcpu.run()
        finally:
            rescue.cancel()
            rescue.join()

    return run


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before
