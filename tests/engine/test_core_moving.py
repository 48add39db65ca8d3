"""Memory that moves while a guest looks at it, under every engine."""

import threading
import time
from collections.abc import Callable

import pytest

from innkeeper import _core

StartProtected = Callable[[_core.Vcpu, str], None]
Run = Callable[[_core.Vcpu], tuple[str, str]]

PORT = 0x510
HERE, THERE = 0xE000_0000, 0xD000_0000
PAGE = 0x1000
RESULT = 0x6000


class Mover:
    """A chip that moves memory when it is written to: 1 away, 2 there, 3 here, 4 here as ROM."""

    def __init__(self, vm: _core.Vm, ram: _core.Ram) -> None:
        self.vm = vm
        self.ram = ram
        self.at: int | None = None
        self.writes: list[tuple[int, int, int]] = []

    def place(self, gpa: int | None, *, read_only: bool = False) -> None:
        if self.at is not None:
            self.vm.unmap_ram(self.at)
        self.at = gpa
        if gpa is not None:
            self.vm.map_ram(gpa, self.ram, read_only=read_only)

    def read(self, offset: int, size: int, /) -> int:  # noqa: ARG002 - a chip that is the same everywhere
        return 0xDE

    def write(self, offset: int, size: int, value: int, /) -> None:  # noqa: ARG002 - one register
        self.place({1: None, 2: THERE}.get(value, HERE), read_only=value == 4)


class Flash:
    """What is under ROM: hears writes."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, int, int]] = []

    def read(self, offset: int, size: int, /) -> int:  # noqa: ARG002 - a chip that is the same everywhere
        return 0x77

    def write(self, offset: int, size: int, value: int, /) -> None:
        self.writes.append((offset, size, value))


@pytest.fixture
def mover(vm: _core.Vm, memory: _core.Memory) -> Mover:
    chip = Mover(vm, memory.device_ram(2 * PAGE))
    vm.map_ports(PORT, 1, chip)
    chip.place(HERE)
    return chip


def test_a_guest_sees_memory_go_and_come(
    vcpu: _core.Vcpu, memory: _core.Memory, mover: Mover, start_protected: StartProtected, run: Run
) -> None:
    # mov dx,0x510; mov byte [HERE],0x5A; mov al,[HERE]; mov [0x6000],al
    # mov al,1; out dx,al; mov al,[HERE]; mov [0x6001],al            ; nothing there
    # mov al,2; out dx,al; mov al,[HERE]; mov [0x6002],al; mov al,[THERE]; mov [0x6003],al
    # mov byte [THERE],0x5B; mov al,3; out dx,al; mov al,[HERE]; mov [0x6004],al; cli; hlt
    start_protected(
        vcpu,
        "66ba1005 c605000000e05a a0000000e0 a200600000"
        "b001 ee a0000000e0 a201600000"
        "b002 ee a0000000e0 a202600000 a0000000d0 a203600000"
        "c605000000d05b b003 ee a0000000e0 a204600000 fa f4",
    )

    assert run(vcpu) == ("halt", "")

    assert memory.read(RESULT, 5) == bytes.fromhex("5affff5a5b")
    assert mover.ram.read(0, 1) == b"\x5b"


def test_writes_to_rom_reach_the_device_under_it(
    vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory, mover: Mover, start_protected: StartProtected, run: Run
) -> None:
    # mov dx,0x510; mov al,4; out dx,al; mov byte [HERE],9; mov word [HERE+2],0x1234; lock inc dword [HERE+4];
    # mov al,[HERE]; mov [0x6000],al; mov al,1; out dx,al; mov al,[HERE]; mov [0x6001],al; cli; hlt
    start_protected(
        vcpu,
        "66ba1005 b004 ee c605000000e009 66c705020000e03412 f0ff05040000e0"
        "a0000000e0 a200600000 b001 ee a0000000e0 a201600000 fa f4",
    )
    flash = Flash()
    vm.map_mmio(HERE, 2 * PAGE, flash)
    mover.ram.write(0, b"\x5a\0\0\0\xff\0\0\0")

    assert run(vcpu) == ("halt", "")

    assert memory.read(RESULT, 2) == b"\x5a\x77"
    assert mover.ram.read(0, 8) == b"\x5a\0\0\0\xff\0\0\0"
    assert flash.writes == [(0, 1, 9), (2, 2, 0x1234), (4, 4, 0x100)]


def test_code_runs_from_memory_that_moved_under_it(
    vcpu: _core.Vcpu, memory: _core.Memory, mover: Mover, start_protected: StartProtected, run: Run
) -> None:
    """Twice the same addresses, with other code behind them."""
    # mov dx,0x510; call HERE; mov [0x6000],al; mov al,2; out dx,al; call THERE; mov [0x6001],al;
    # mov byte [THERE+1],0x33; mov al,3; out dx,al; call HERE; mov [0x6002],al; cli; hlt
    start_protected(
        vcpu,
        "66ba1005 b8000000e0 ffd0 a200600000 b002 ee b8000000d0 ffd0 a201600000"
        "c605010000d033 b003 ee b8000000e0 ffd0 a202600000 fa f4",
    )
    mover.ram.write(0, bytes.fromhex("b011 c3"))  # mov al,0x11; ret

    assert run(vcpu) == ("halt", "")

    assert memory.read(RESULT, 3) == b"\x11\x11\x33"


def test_memory_moves_while_another_thread_looks(
    vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory, mover: Mover, start_protected: StartProtected
) -> None:
    """A guest that polls memory sees it replaced, however often, and never what was there before."""
    # l: mov eax,[HERE]; mov [0x6000],eax; cmp eax,[0x6010]; jne l; mov [0x6004],eax; jmp l
    start_protected(vcpu, "a1000000e0 a300600000 3b0510600000 75ee a304600000 ebe7")
    thread = threading.Thread(target=vcpu.run)
    thread.start()
    try:
        for number in range(1, 101):
            ram = memory.device_ram(PAGE)
            ram.write(0, number.to_bytes(4, "little"))
            memory.write(RESULT + 0x10, number.to_bytes(4, "little"))
            vm.unmap_ram(HERE)
            vm.map_ram(HERE, ram)
            mover.ram = ram
            deadline = time.monotonic() + 10
            while memory.read(RESULT + 4, 4) != number.to_bytes(4, "little"):
                assert time.monotonic() < deadline, number
    finally:
        vcpu.kick()
        thread.join()


def test_a_machine_made_anew_over_the_same_memory_notices_code_that_changes(
    engine: str, memory: _core.Memory, start_protected: StartProtected, run: Run
) -> None:
    for _ in range(3):
        vm = _core.Vm(engine, memory, 1)
        vcpu = vm.vcpu(0)
        # call 0x1020; mov [0x6000],al; mov byte [0x1021],0x33; call 0x1020; mov [0x6001],al; cli; hlt
        start_protected(vcpu, "e81b000000 a200600000 c6052110000033 e80a000000 a201600000 fa f4")
        memory.write(0x1020, bytes.fromhex("b011 c3"))
        assert run(vcpu) == ("halt", "")
        assert memory.read(RESULT, 2) == b"\x11\x33"


def test_the_adapter_area_is_movable_ram() -> None:
    memory = _core.Memory([(0, 0xA0000), (0xC0000, 0x40000)])
    vm = _core.Vm("interp", memory, 1)
    memory.write(0xF0000, b"abc")
    shadow = memory.movable_ram(0xC0000)
    vm.unmap_ram(0xC0000)
    assert memory.ranges == [(0, 0xA0000)]
    vm.map_ram(0xE0000, shadow, offset=0x20000, size=0x4000)
    vm.map_ram(0xF0000, shadow, offset=0x30000)
    assert memory.read(0xF0000, 3) == b"abc"
    assert memory.size == 0xE0000
    with pytest.raises(ValueError, match="0xe0000 with 0x20000 bytes"):
        vm.map_ram(0xE0000, shadow, size=0x20000)
    with pytest.raises(ValueError, match="memory slot"):
        memory.movable_ram(0)


def test_device_ram_ends_with_its_last_handle() -> None:
    memory = _core.Memory([(0, 0xA0000)])
    vm = _core.Vm("interp", memory, 1)
    for _ in range(100):
        ram = memory.device_ram(64 << 20)
        ram.write((64 << 20) - 1, b"x")
        vm.map_ram(HERE, ram)
        assert memory.read(HERE + (64 << 20) - 1, 1) == b"x"
        del ram
        with pytest.raises(ValueError, match="not all RAM"):
            memory.read(HERE, 1)
    with pytest.raises(ValueError, match="no room for 0x20000000 bytes"):
        memory.device_ram(512 << 20)
    with pytest.raises(ValueError, match="whole pages"):
        memory.device_ram(12)
