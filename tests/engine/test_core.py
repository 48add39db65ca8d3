"""The Rust core through its Python face: memory, machines, state, the host."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from innkeeper import _core

Start = Callable[[str], None]
StartVcpu = Callable[[_core.Vcpu, str], None]

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


# ---- memory ----------------------------------------------------------------------------------------


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


# ---- machines --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "vcpus"), [("warp", 1), ("bt", 0), ("interp", 0), ("interp", 256), ("kvm", 0)])
def test_a_machine_that_cannot_be_is_refused(memory: _core.Memory, name: str, vcpus: int) -> None:
    with pytest.raises(ValueError, match=r"no engine|vCPUs"):
        _core.Vm(name, memory, vcpus)


@pytest.mark.parametrize("code_cache_mib", [0, 1025])
def test_a_code_cache_that_cannot_be_is_refused(memory: _core.Memory, code_cache_mib: int) -> None:
    with pytest.raises(ValueError, match=f"{code_cache_mib} MiB of code cache; a vCPU has 1 to 1024"):
        _core.Vm("bt", memory, 1, code_cache_mib=code_cache_mib)


def test_an_engine_that_does_not_trace_has_nothing_to_tell(vm: _core.Vm, vcpu: _core.Vcpu, start_real: Start) -> None:
    start_real("faf4")
    vcpu.kick()
    vcpu.run()

    assert vm.trace() == []
    assert not any(vm.flight_record())


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


# ---- state -----------------------------------------------------------------------------------------


def test_state_goes_out_and_in(vcpu: _core.Vcpu, start_protected: StartVcpu) -> None:
    start_protected(vcpu, "f4")
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


# ---- the host --------------------------------------------------------------------------------------


def test_the_probe_answers_every_question(kvm_probe: dict[str, Any]) -> None:
    answers = kvm_probe
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
