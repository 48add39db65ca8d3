"""The Rust core through its Python face: the same guests of a few bytes under both engines."""

import gc
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from innkeeper import _core

CODE = 0x1000
HANDLER = 0x2000
RESULT = 0x3000
GDT = 0x4000
IDT = 0x5000
STACK = 0x8000
HOLE = 0xA0000  # where the conventional 640 KiB end, and MMIO therefore begins
PORT = 0x510

CODE_32 = 0xC09B
DATA_32 = 0xC093
RESCUE_SECONDS = 10.0


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


@cache
def probe() -> dict[str, Any]:
    return _core.kvm_probe()


@pytest.fixture(params=["interp", "kvm"])
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "kvm" and not probe()["usable"]:
        pytest.skip(f"KVM cannot be used here: {probe()['why']}")
    return name


@pytest.fixture
def memory() -> _core.Memory:
    return _core.Memory([(0, HOLE)])


def start_real_mode(vcpu: _core.Vcpu, memory: _core.Memory, code: bytes) -> None:
    """Puts the vCPU at `code` in real mode, all segments at 0."""
    memory.write(CODE, code)
    state = vcpu.get_state()
    for segment in state["segments"]:
        segment["selector"] = segment["base"] = 0
    state["rip"] = CODE
    state["gpr"][4] = STACK
    vcpu.set_state(state)


def start_protected(vcpu: _core.Vcpu, memory: _core.Memory, code: bytes) -> None:
    """Puts the vCPU at `code` in flat 32-bit protected mode without paging; vector 0x40 leads to `HANDLER`."""
    memory.write(CODE, code)
    memory.write(GDT + 8, (0x00CF9B00_0000FFFF).to_bytes(8, "little") + (0x00CF9300_0000FFFF).to_bytes(8, "little"))
    memory.write(IDT + 8 * 0x40, (0x8E00_0008_0000 | HANDLER).to_bytes(8, "little"))
    state = vcpu.get_state()
    for number, segment in enumerate(state["segments"]):
        code_segment = number == 1
        segment["selector"] = 8 if code_segment else 16
        segment["attributes"] = CODE_32 if code_segment else DATA_32
        segment["limit"], segment["base"] = 0xFFFFFFFF, 0
    state["gdtr"] = {"base": GDT, "limit": 0x17}
    state["idtr"] = {"base": IDT, "limit": 0x7FF}
    state["cr0"] = 0x11
    state["rip"] = CODE
    state["gpr"][4] = STACK
    vcpu.set_state(state)


def run(vcpu: _core.Vcpu) -> tuple[str, str]:
    """Runs the vCPU; should it never come back, a kick makes the test fail instead of hang."""
    rescue = threading.Timer(RESCUE_SECONDS, vcpu.kick)
    rescue.start()
    try:
        return vcpu.run()
    finally:
        rescue.cancel()
        rescue.join()


@pytest.fixture
def vm(engine: str, memory: _core.Memory) -> _core.Vm:
    return _core.Vm(engine, memory, 1)


@pytest.fixture
def vcpu(vm: _core.Vm) -> _core.Vcpu:
    return vm.vcpu(0)


# ---- memory ---------------------------------------------------------------------------------------


def test_memory_gives_back_what_was_written() -> None:
    memory = _core.Memory([(0, 0x2000), (1 << 32, 0x1000)])

    memory.write(0x1FFE, b"ab")
    memory.write(1 << 32, b"cd")

    assert (memory.read(0x1FFD, 3), memory.read(1 << 32, 2)) == (b"\0ab", b"cd")
    assert (memory.size, memory.ranges) == (0x3000, [(0, 0x2000), (1 << 32, 0x1000)])
    memory.clear()
    assert memory.read(0x1FFD, 3) == b"\0\0\0"


def test_an_access_may_cross_from_one_range_into_the_next() -> None:
    memory = _core.Memory([(0, 0x1000), (0x1000, 0x1000)])
    memory.write(0xFFE, b"wxyz")
    assert memory.read(0xFFD, 6) == b"\0wxyz\0"


@pytest.mark.parametrize(("gpa", "length"), [(0xFFF, 2), (0x1000, 1), (1 << 63, 1), (0, 1 << 62), ((1 << 64) - 1, 2)])
def test_what_is_not_all_ram_is_refused(gpa: int, length: int) -> None:
    memory = _core.Memory([(0, 0x1000)])
    with pytest.raises(ValueError, match="not all RAM"):
        memory.read(gpa, length)
    if length < 0x1000:
        with pytest.raises(ValueError, match="not all RAM"):
            memory.write(gpa, bytes(length))


@pytest.mark.parametrize("ranges", [[(0, 12)], [(1, 0x1000)], [(0, 0)], [(0x1000, 0x1000), (0, 0x1000)]])
def test_bad_ranges_are_refused(ranges: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="memory slot"):
        _core.Memory(ranges)


def test_more_memory_than_the_host_can_map_is_a_memory_error() -> None:
    with pytest.raises(MemoryError, match="cannot map"):
        _core.Memory([(0, 1 << 60)])


# ---- machines -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "vcpus"), [("bt", 1), ("interp", 0), ("interp", 256), ("kvm", 0)])
def test_a_machine_that_cannot_be_is_refused(memory: _core.Memory, name: str, vcpus: int) -> None:
    with pytest.raises(ValueError, match=r"no engine|vCPUs"):
        _core.Vm(name, memory, vcpus)


def test_vcpus_start_in_their_reset_state(engine: str, memory: _core.Memory) -> None:
    vm = _core.Vm(engine, memory, 2)
    first, second = vm.vcpu(0).get_state(), vm.vcpu(1).get_state()
    assert (first["activity"], second["activity"]) == ("runnable", "wait-for-sipi")
    assert (first["segments"][1]["base"], first["rip"]) == (0xFFFF0000, 0xFFF0)
    assert first["cr0"] & 1 == 0
    assert vm.tsc_khz > 100_000
    with pytest.raises(IndexError):
        vm.vcpu(2)


def test_regions_that_overlap_are_refused(vm: _core.Vm) -> None:
    vm.map_ports(PORT, 8, Recorder())
    vm.map_mmio(HOLE, 0x1000, Recorder())
    for base, size in [(PORT + 7, 2), (PORT, 0), (0x20, 1), (0xFFFF, 2), ((1 << 64) - 1, 2)]:
        with pytest.raises(ValueError, match="ports"):
            vm.map_ports(base, size, Recorder())
    for base, size in [(HOLE + 0xFFF, 1), (0xFEC00000, 4)]:
        with pytest.raises(ValueError, match="MMIO"):
            vm.map_mmio(base, size, Recorder())
    vm.unmap_ports(PORT)
    with pytest.raises(ValueError, match="nothing is mapped"):
        vm.unmap_ports(PORT)
    with pytest.raises(ValueError, match="nothing is mapped"):
        vm.unmap_ports(0x20)  # the engine's own
    vm.map_ports(PORT + 7, 2, Recorder())
    vm.unmap_mmio(HOLE)


def test_a_device_needs_both_methods(vm: _core.Vm) -> None:
    with pytest.raises(AttributeError):
        vm.map_ports(PORT, 1, object())  # type: ignore[arg-type]


def test_a_machine_whose_device_knows_it_is_collected(engine: str) -> None:
    class Owner(Recorder):
        def __init__(self, vm: _core.Vm) -> None:
            super().__init__()
            self.vcpu = vm.vcpu(0)

    vm = _core.Vm(engine, _core.Memory([(0, 0x1000)]), 1)
    owner = Owner(vm)
    vm.map_ports(PORT, 1, owner)
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is not None  # the machine holds it

    del vm
    gc.collect()

    assert gone() is None


# ---- accesses -------------------------------------------------------------------------------------


def test_port_accesses_of_every_size_reach_the_device(vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    # mov dx,0x510; mov eax,0xAABBCCDD; out dx,al; out dx,ax; out dx,eax;
    # inc dx; in al,dx; mov [0x3000],al; in ax,dx; mov [0x3002],ax; in eax,dx; mov [0x3004],eax; cli; hlt
    code = "ba1005 66b8ddccbbaa ee ef 66ef 42 ec a20030 ed a30230 66ed 66a30430 fa f4"
    start_real_mode(vcpu, memory, bytes.fromhex(code))
    device = Recorder()
    vm.map_ports(PORT, 8, device)

    assert run(vcpu) == ("halt", "")

    assert device.writes == [(0, 1, 0xDD), (0, 2, 0xCCDD), (0, 4, 0xAABBCCDD)]
    assert memory.read(RESULT, 8) == bytes.fromhex("8900 8977 89776655")
    (statistics,) = vm.statistics()["vcpus"]
    assert statistics["ports"] == {"in 0x511": 3, "out 0x510": 3}
    assert (statistics["port_reads"], statistics["port_writes"]) == (3, 3)


def test_a_string_access_is_one_access_per_element(vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    # mov dx,0x510; mov si,0x3000; mov cx,3; rep outsw; mov di,0x3010; mov cx,5; rep insb; cli; hlt
    start_real_mode(vcpu, memory, bytes.fromhex("ba1005 be0030 b90300 f36f bf1030 b90500 f36c fa f4"))
    memory.write(RESULT, bytes([1, 2, 3, 4, 5, 6]))
    device = Recorder()
    vm.map_ports(PORT, 8, device)

    assert run(vcpu) == ("halt", "")

    assert device.writes == [(0, 2, 0x0201), (0, 2, 0x0403), (0, 2, 0x0605)]
    assert memory.read(RESULT + 0x10, 6) == b"\x88\x88\x88\x88\x88\0"


def test_mmio_accesses_reach_the_device(vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    # mov ax,0xA000; mov ds,ax; mov eax,0xAABBCCDD; mov [0],al; mov [2],ax; mov [4],eax;
    # mov eax,[8]; mov es:[0x3000],eax; cli; hlt
    code = "b800a0 8ed8 66b8ddccbbaa a20000 a30200 66a30400 66a10800 2666a30030 fa f4"
    start_real_mode(vcpu, memory, bytes.fromhex(code))
    device = Recorder()
    vm.map_mmio(HOLE, 0x100, device)

    assert run(vcpu) == ("halt", "")

    assert device.writes == [(0, 1, 0xDD), (2, 2, 0xCCDD), (4, 4, 0xAABBCCDD)]
    assert memory.read(RESULT, 4) == (0x55667790).to_bytes(4, "little")
    (statistics,) = vm.statistics()["vcpus"]
    assert (statistics["mmio_reads"], statistics["mmio_writes"]) == (1, 3)


def test_what_nobody_claims_reads_as_all_ones(vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    # mov dx,0x1234; out dx,eax; in eax,dx; mov [0x3000],eax; mov ax,0xB000; mov ds,ax; mov [0],ax; mov ax,[0];
    # mov es:[0x3004],ax; cli; hlt
    code = "ba3412 66ef 66ed 66a30030 b800b0 8ed8 a30000 a10000 26a30430 fa f4"
    start_real_mode(vcpu, memory, bytes.fromhex(code))
    assert run(vcpu) == ("halt", "")
    assert memory.read(RESULT, 6) == b"\xff" * 6


def test_an_unmapped_device_is_not_called_again(vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    class Once(Recorder):
        def write(self, offset: int, size: int, value: int, /) -> None:
            super().write(offset, size, value)
            vm.unmap_ports(PORT)

    device = Once()
    vm.map_ports(PORT, 1, device)
    start_real_mode(vcpu, memory, bytes.fromhex("ba1005 ee ee fa f4"))
    assert run(vcpu) == ("halt", "")
    assert len(device.writes) == 1


# ---- exits ----------------------------------------------------------------------------------------


def test_a_triple_fault_is_a_shutdown(vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    start_protected(vcpu, memory, bytes.fromhex("0f0b"))  # ud2
    state = vcpu.get_state()
    state["idtr"] = {"base": 0, "limit": 0}
    vcpu.set_state(state)
    assert run(vcpu) == ("shutdown", "")


def test_a_kick_ends_a_spinning_guest_while_python_goes_on(vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    start_real_mode(vcpu, memory, bytes.fromhex("ebfe"))
    exits: list[tuple[str, str]] = []
    thread = threading.Thread(target=lambda: exits.append(vcpu.run()))
    thread.start()
    deadline = time.monotonic() + RESCUE_SECONDS
    while time.monotonic() < deadline:  # this thread runs, so the guest's does not hold the GIL
        try:
            vcpu.get_state()
        except RuntimeError:
            break
    with pytest.raises(RuntimeError, match="running"):
        vcpu.get_state()

    vcpu.kick()
    thread.join(RESCUE_SECONDS)

    assert exits == [("kicked", "")]
    assert vcpu.get_state()["rip"] == CODE


def test_a_kick_before_run_is_not_lost(vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    start_real_mode(vcpu, memory, bytes.fromhex("ebfe"))
    vcpu.kick()
    vm.vcpu(0).kick()  # another object for the same vCPU
    assert run(vcpu) == ("kicked", "")
    vm.vcpu(0).kick()
    assert run(vcpu) == ("kicked", "")


def test_a_kick_from_a_device_lets_the_access_complete(vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    class Kicking(Recorder):
        def read(self, offset: int, size: int, /) -> int:
            vcpu.kick()
            return 0x5A + offset + 0 * size

    # mov dx,0x510; in al,dx; jmp $
    start_real_mode(vcpu, memory, bytes.fromhex("ba1005 ec ebfe"))
    vm.map_ports(PORT, 1, Kicking())
    assert run(vcpu) == ("kicked", "")
    state = vcpu.get_state()
    assert (state["rip"], state["gpr"][0] & 0xFF) == (CODE + 4, 0x5A)


# ---- devices that raise ---------------------------------------------------------------------------


def test_what_a_device_raises_comes_out_of_run(vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    # mov dx,0x510; out dx,al; in al,dx; mov [0x3000],al; cli; hlt
    start_real_mode(vcpu, memory, bytes.fromhex("ba1005 ee ec a20030 fa f4"))
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
    vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory, value: Any, raised: type[Exception]
) -> None:
    class Odd(Recorder):
        def read(self, offset: int, size: int, /) -> int:
            del offset, size
            number: int = value
            return number

    start_real_mode(vcpu, memory, bytes.fromhex("ba1005 ec ebfe"))
    vm.map_ports(PORT, 1, Odd())
    with pytest.raises(raised):
        run(vcpu)


def test_a_kick_while_a_device_raises_is_not_lost(vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    class KickAndRaise(Raising):
        def write(self, offset: int, size: int, value: int, /) -> None:
            vcpu.kick()
            super().write(offset, size, value)

    start_real_mode(vcpu, memory, bytes.fromhex("ba1005 ee ebfe"))
    vm.map_ports(PORT, 1, KickAndRaise())
    with pytest.raises(LookupError):
        run(vcpu)
    assert run(vcpu) == ("kicked", "")


def test_a_second_exception_in_one_string_access_goes_to_the_hook(
    vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: seen.append(str(hook.exc_value)))
    raised: list[str] = []
    # mov dx,0x510; mov si,0x3000; mov cx,3; rep outsb; cli; hlt
    start_real_mode(vcpu, memory, bytes.fromhex("ba1005 be0030 b90300 f36e fa f4"))
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


# ---- state ----------------------------------------------------------------------------------------


def test_state_goes_out_and_in(vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    start_protected(vcpu, memory, b"\xf4")
    state = vcpu.get_state()
    state["gpr"] = [0x0101010101010101 * number for number in range(16)]
    state["rflags"] = 0x8D7
    state["cr2"] = 0xDEADB000
    state["segments"][4]["base"] = 0x12345000
    state["dr"][0] = 0x4000
    lstar = next(index for index, (msr, _) in enumerate(state["msrs"]) if msr == 0xC0000082)
    state["msrs"][lstar] = (0xC0000082, 0xFFFF800000001234)

    vcpu.set_state(state)

    again = vcpu.get_state()
    for key in ("gpr", "rip", "rflags", "segments", "gdtr", "idtr", "cr0", "cr2", "efer", "dr", "activity"):
        assert again[key] == state[key], key
    assert (0xC0000082, 0xFFFF800000001234) in again["msrs"]


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("activity", "asleep", ValueError),
        ("gpr", [0] * 15, TypeError),
        ("rip", -1, TypeError),
        ("segments", None, TypeError),
        ("cr3", ..., KeyError),
    ],
)
def test_a_state_in_the_wrong_shape_is_refused(
    vcpu: _core.Vcpu, field: str, value: object, error: type[Exception]
) -> None:
    state: Any = vcpu.get_state()
    if value is ...:
        del state[field]
    else:
        state[field] = value
    with pytest.raises(error, match=field):
        vcpu.set_state(state)


# ---- interrupts and other processors --------------------------------------------------------------


@pytest.fixture
def halting_handler(memory: _core.Memory) -> None:
    """mov byte [0x3000],1; cli; hlt, in 16-bit code."""
    memory.write(HANDLER, bytes.fromhex("c606003001 fa f4"))


@pytest.mark.usefixtures("halting_handler")
def test_a_line_interrupts_the_guest(vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    class Line(Recorder):
        def write(self, offset: int, size: int, value: int, /) -> None:
            super().write(offset, size, value)
            vm.set_irq(4, True)
            vm.set_irq(4, False)

    # The PIC at vector 0x20, all masked but IRQ 4; sti; mov dx,0x510; out dx,al; jmp $
    pic = "b011e620 b020e621 b004e621 b001e621 b0efe621"
    start_real_mode(vcpu, memory, bytes.fromhex(pic + "fb ba1005 ee ebfe"))
    memory.write(4 * 0x24, HANDLER.to_bytes(4, "little"))
    vm.map_ports(PORT, 1, Line())
    assert run(vcpu) == ("halt", "")
    assert memory.read(RESULT, 1) == b"\1"


def test_a_message_interrupts_the_guest(vm: _core.Vm, vcpu: _core.Vcpu, memory: _core.Memory) -> None:
    class Message(Recorder):
        def write(self, offset: int, size: int, value: int, /) -> None:
            super().write(offset, size, value)
            vm.signal_msi(0xFEE00000, 0x40)

    # The APIC on by its spurious-vector register; sti; mov edx,0x510; out dx,al; jmp $
    start_protected(vcpu, memory, bytes.fromhex("c705f000e0feff010000 fb ba10050000 ee ebfe"))
    memory.write(HANDLER, bytes.fromhex("c6050030000001 fa f4"))  # mov byte [0x3000],1; cli; hlt
    vm.map_ports(PORT, 1, Message())
    assert run(vcpu) == ("halt", "")
    assert memory.read(RESULT, 1) == b"\1"


def test_a_second_vcpu_starts_by_init_and_sipi(engine: str, memory: _core.Memory) -> None:
    vm = _core.Vm(engine, memory, 2)
    first, second = vm.vcpu(0), vm.vcpu(1)
    memory.write(HANDLER, bytes.fromhex("c606003077 fa f4"))  # 16-bit mov byte [0x3000],0x77; cli; hlt
    # ICR: INIT, then SIPI to page 2, both to APIC 1; wait: cmp byte [0x3000],0x77; jne wait; cli; hlt
    icr = "c7051003e0fe00000001 c7050003e0fe00450000 c7050003e0fe02460000"
    start_protected(first, memory, bytes.fromhex(icr + "803d0030000077 75f7 fa f4"))
    exits: list[tuple[str, str]] = []
    thread = threading.Thread(target=lambda: exits.append(run(second)))
    thread.start()

    assert run(first) == ("halt", "")

    thread.join(RESCUE_SECONDS)
    assert exits == [("halt", "")]
    state = second.get_state()
    assert (state["segments"][1]["base"], state["rip"], state["activity"]) == (HANDLER, 7, "halted")


# ---- the host -------------------------------------------------------------------------------------


def test_the_probe_answers_every_question() -> None:
    answers = probe()
    kinds: dict[str, type] = {
        "usable": bool,
        "why": str,
        "backend": str,
        "api_version": int,
        "ring0_native": bool,
        "ring0_mips": float,
        "syscall": bool,
        "paging_32bit": bool,
        "int3": bool,
        "cpuid_masking": bool,
        "tsc_offset": bool,
        "seconds": float,
    }
    assert {key: type(value) for key, value in answers.items()} == kinds
    perfect = all(answers[key] for key, kind in kinds.items() if kind is bool)
    assert bool(answers["why"]) is not perfect
    assert answers["seconds"] < 5


def test_the_hosts_features_are_named() -> None:
    features = _core.host_features()
    assert {"sse4.2", "avx2", "popcnt"} <= features.keys()
    assert all(isinstance(there, bool) for there in features.values())


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before
