"""Accesses of a guest to Python devices, and devices that raise, under every engine."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from innkeeper import _core

Start = Callable[[str], None]
Run = Callable[[_core.Vcpu], tuple[str, str]]

CODE = 0x1000
RESULT = 0x3000
PORT = 0x510
HOLE = 0xA0000  # where RAM ends, and MMIO therefore begins


class Recorder:
    """A chip that remembers what was written, and reads as something that tells offset and size."""

    def __init__(self) -> None:
        self.writes: list[tuple[int, int, int]] = []

    def read(self, offset: int, size: int, /) -> int:
        return 0x1122334455667788 + offset + (size << 32)

    def write(self, offset: int, size: int, value: int, /) -> None:
        self.writes.append((offset, size, value))


class Raising(Recorder):
    """A chip whose every access raises."""

    def read(self, offset: int, size: int, /) -> int:
        raise LookupError(f"read {offset} {size}")

    def write(self, offset: int, size: int, value: int, /) -> None:
        raise LookupError(f"write {offset} {size} {value:#x}")


# ---- accesses --------------------------------------------------------------------------------------


def test_port_accesses_of_every_size_reach_the_device(
    vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory, start_real: Start, run: Run
) -> None:
    # mov dx,0x510; mov eax,0xAABBCCDD; out dx,al; out dx,ax; out dx,eax;
    # inc dx; in al,dx; mov [0x3000],al; in ax,dx; mov [0x3002],ax; in eax,dx; mov [0x3004],eax; cli; hlt
    code = "ba1005 66b8ddccbbaa ee ef 66ef 42 ec a20030 ed a30230 66ed 66a30430 fa f4"
    start_real(code)
    device = Recorder()
    vm.map_ports(PORT, 8, device)

    assert run(vcpu) == ("halt", "")

    assert device.writes == [(0, 1, 0xDD), (0, 2, 0xCCDD), (0, 4, 0xAABBCCDD)]
    assert memory.read(RESULT, 8) == bytes.fromhex("8900 8977 89776655")
    (statistics,) = vm.statistics()["vcpus"]
    assert statistics["ports"] == {"in 0x511": 3, "out 0x510": 3}
    assert (statistics["port_reads"], statistics["port_writes"]) == (3, 3)


def test_a_string_access_is_one_access_per_element(
    vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory, start_real: Start, run: Run
) -> None:
    # mov dx,0x510; mov si,0x3000; mov cx,3; rep outsw; mov di,0x3010; mov cx,5; rep insb; cli; hlt
    start_real("ba1005 be0030 b90300 f36f bf1030 b90500 f36c fa f4")
    memory.write(RESULT, bytes([1, 2, 3, 4, 5, 6]))
    device = Recorder()
    vm.map_ports(PORT, 8, device)

    assert run(vcpu) == ("halt", "")

    assert device.writes == [(0, 2, 0x0201), (0, 2, 0x0403), (0, 2, 0x0605)]
    assert memory.read(RESULT + 0x10, 6) == b"\x88\x88\x88\x88\x88\0"


def test_mmio_accesses_reach_the_device(
    vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory, start_real: Start, run: Run
) -> None:
    # mov ax,0xA000; mov ds,ax; mov eax,0xAABBCCDD; mov [0],al; mov [2],ax; mov [4],eax;
    # mov eax,[8]; mov es:[0x3000],eax; cli; hlt
    code = "b800a0 8ed8 66b8ddccbbaa a20000 a30200 66a30400 66a10800 2666a30030 fa f4"
    start_real(code)
    device = Recorder()
    vm.map_mmio(HOLE, 0x100, device)

    assert run(vcpu) == ("halt", "")

    assert device.writes == [(0, 1, 0xDD), (2, 2, 0xCCDD), (4, 4, 0xAABBCCDD)]
    assert memory.read(RESULT, 4) == (0x55667790).to_bytes(4, "little")
    (statistics,) = vm.statistics()["vcpus"]
    assert (statistics["mmio_reads"], statistics["mmio_writes"]) == (1, 3)


def test_what_nobody_claims_reads_as_all_ones(
    vcpu: _core.Vcpu, memory: _core.Memory, start_real: Start, run: Run
) -> None:
    # mov dx,0x1234; out dx,eax; in eax,dx; mov [0x3000],eax; mov ax,0xB000; mov ds,ax; mov [0],ax; mov ax,[0];
    # mov es:[0x3004],ax; cli; hlt
    code = "ba3412 66ef 66ed 66a30030 b800b0 8ed8 a30000 a10000 26a30430 fa f4"
    start_real(code)
    assert run(vcpu) == ("halt", "")
    assert memory.read(RESULT, 6) == b"\xff" * 6


def test_an_unmapped_device_is_not_called_again(vm: _core.Vm, vcpu: _core.Vcpu, start_real: Start, run: Run) -> None:
    class Once(Recorder):
        def write(self, offset: int, size: int, value: int, /) -> None:
            super().write(offset, size, value)
            vm.unmap_ports(PORT)

    device = Once()
    vm.map_ports(PORT, 1, device)
    start_real("ba1005 ee ee fa f4")
    assert run(vcpu) == ("halt", "")
    assert len(device.writes) == 1


# ---- devices that raise ----------------------------------------------------------------------------


def test_what_a_device_raises_comes_out_of_run(
    vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory, start_real: Start, run: Run
) -> None:
    # mov dx,0x510; out dx,al; in al,dx; mov [0x3000],al; cli; hlt
    start_real("ba1005 ee ec a20030 fa f4")
    vm.map_ports(PORT, 1, Raising())
    with pytest.raises(LookupError, match="write 0 1"):
        run(vcpu)
    assert vcpu.get_state()["rip"] == CODE + 4
    with pytest.raises(LookupError, match="read 0 1"):
        run(vcpu)
    assert vcpu.get_state()["rip"] == CODE + 5

    assert run(vcpu) == ("halt", "")
    assert memory.read(RESULT, 1) == b"\xff"


@pytest.mark.parametrize(("value", "raised"), [("7", TypeError), (-1, OverflowError), (1 << 64, OverflowError)])
def test_a_device_must_read_as_a_64_bit_number(
    vm: _core.Vm, vcpu: _core.Vcpu, value: Any, raised: type[Exception], start_real: Start, run: Run
) -> None:
    class Odd(Recorder):
        def read(self, offset: int, size: int, /) -> int:
            del offset, size
            number: int = value
            return number

    start_real("ba1005 ec ebfe")
    vm.map_ports(PORT, 1, Odd())
    with pytest.raises(raised):
        run(vcpu)


def test_a_kick_while_a_device_raises_is_not_lost(vm: _core.Vm, vcpu: _core.Vcpu, start_real: Start, run: Run) -> None:
    class KickAndRaise(Raising):
        def write(self, offset: int, size: int, value: int, /) -> None:
            vcpu.kick()
            super().write(offset, size, value)

    start_real("ba1005 ee ebfe")
    vm.map_ports(PORT, 1, KickAndRaise())
    with pytest.raises(LookupError):
        run(vcpu)
    assert run(vcpu) == ("kicked", "")


def test_a_second_exception_in_one_string_access_goes_to_the_hook(
    vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory, monkeypatch: pytest.MonkeyPatch, start_real: Start, run: Run
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: seen.append(str(hook.exc_value)))
    raised: list[str] = []
    # mov dx,0x510; mov si,0x3000; mov cx,3; rep outsb; cli; hlt
    start_real("ba1005 be0030 b90300 f36e fa f4")
    memory.write(RESULT, b"\1\2\3")
    vm.map_ports(PORT, 1, Raising())
    for _ in range(3):  # how many elements come before a kick is heard is the engine's business
        try:
            assert run(vcpu) == ("halt", "")
            break
        except LookupError as error:
            raised.append(str(error))
    assert raised[0] == "write 0 1 0x1"
    assert sorted(raised + seen) == [f"write 0 1 {value:#x}" for value in (1, 2, 3)]
